"""Put one session back, from a file of ``sessions_export`` or from an on-demand backup of the tables."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from django.core.management.base import CommandError, CommandParser
from django.template.defaultfilters import filesizeformat

from sessions_dynamo import schema
from sessions_dynamo.backups import on_demand, restores
from sessions_dynamo.backups.descriptions import NAME_LENGTH, Backup
from sessions_dynamo.backups.restores import RestorePlan
from sessions_dynamo.checks import DYNAMODB
from sessions_dynamo.client import dynamodb
from sessions_dynamo.conf import conf
from sessions_dynamo.management import arguments
from sessions_dynamo.management.base import SessionsCommand
from sessions_dynamo.management.console import (
    Waiting,
    both_tables,
    command_errors,
    interrupted,
    interruptible,
    location,
    step_line,
)
from sessions_dynamo.management.questions import confirm, on_terminal
from sessions_dynamo.tables import removal
from sessions_dynamo.tables.names import NamedTable
from sessions_dynamo.transfer import one_session
from sessions_dynamo.transfer.export_files import STANDARD, seekable
from sessions_dynamo.transfer.one_session import OneSession

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

Both = tuple[NamedTable, NamedTable]

TEMPORARY: Final = "-restored-{stamp}-one"
"""The end of the names of tables that are read and deleted; the policy ``operate`` allows names with ``-restored-``."""
_STAMP: Final = re.compile(r"\d{8}-\d{6}", re.ASCII)


class Command(SessionsCommand):
    help = (
        "Puts one session back, with its state, values and events, from a file of sessions_export or from an on-demand"
        " backup, which is restored to temporary tables, read, and deleted there. Its life begins again. A session that"
        " lives is left alone."
    )
    requires_system_checks = (DYNAMODB,)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("session", metavar="ID", help="the session's id")
        parser.add_argument(
            "--from",
            dest="source",
            required=True,
            metavar="FILE|BACKUP",
            help="a file of sessions_export, '-' for standard input, or a backup: its name, its ARN, or a set's stamp",
        )
        parser.add_argument("--dry-run", action="store_true", help="say what would be done; no backup is restored")
        parser.add_argument("--overwrite", action="store_true", help="replace the session even where it lives")
        life = parser.add_mutually_exclusive_group()
        life.add_argument(
            "--ttl",
            type=arguments.hours,
            metavar="HOURS",
            help="how long it lives from now unless it is used; default: SESSION_TTL_HOURS, its events EVENT_TTL_HOURS",
        )
        life.add_argument("--keep-ttl", action="store_true", help="let it expire when it would have")
        parser.add_argument("--yes", action="store_true", help="do not ask before a backup is restored")
        arguments.add_where(parser)

    def handle(self, *_: Any, **options: Any) -> None:
        self.waiting = Waiting(self.stdout)
        with command_errors(options["region"]), interruptible("Interrupted. Run the same command again: it goes on."):
            client, both = dynamodb(options["region"]), both_tables(options)
            session_id: str = options["session"]
            if not schema.is_session_id(session_id):
                raise CommandError(f"{session_id[:128]!r} is no session's id.")
            self._say(f"DynamoDB: {location(client)}")
            former = self._former(session_id, both, client, options)
            if _is_file(options["source"]):
                self._put(self._of_file(options["source"], session_id), former, both, client, options)
                return
            plans = self._plans(options["source"], both, client)
            if options["dry_run"]:
                self._say("Nothing was restored. What the backup has of the session is known once it is.")
                return
            self._confirm(plans, options)
            with self._restored(plans, client, options) as temporary:
                self._say(f"Read: session {session_id} from {temporary[0].name} and {temporary[1].name}")
                found = one_session.of_tables(session_id, temporary, client=client)
            self._put(found, former, both, client, options)

    # --- Where it comes from ----------------------------------------------------------------------------------

    def _former(
        self, session_id: str, both: Both, client: DynamoDBClient, options: dict[str, Any]
    ) -> OneSession | None:
        """What stands, judged before anything is restored."""
        former = one_session.standing(session_id, both, client=client)
        if former is None:
            self._say(f"Stands: no session {session_id} in {both[0].name}")
            return None
        state = "live" if former.is_live else "ended" if former.has_ended else "expired"
        self._say(f"Stands: {state}, {_counted(former)}, expires {former.expires_at.isoformat(timespec='seconds')}")
        if former.is_live and not options["overwrite"]:
            raise CommandError(
                f"Session {session_id} lives in {both[0].name}: --overwrite replaces it, with all that it holds now."
                " Nothing was changed."
            )
        return former

    def _of_file(self, name: str, session_id: str) -> OneSession:
        try:
            with seekable(name) as file:
                return one_session.of_export(file, session_id)
        except OSError as exc:
            raise CommandError(
                f"{name} cannot be read: {exc.strerror}. Give a file of sessions_export, or a backup as"
                " 'manage.py dynamodb_backup list' shows it."
            ) from exc

    def _plans(self, source: str, both: Both, client: DynamoDBClient) -> list[RestorePlan]:
        """Both tables' restores, from the two backups of one set."""
        backups = _backups(source, both, client)
        plans = []
        for backup in backups:
            origin = restores.from_backup(backup, client=client)
            suffix = TEMPORARY.format(stamp=origin.stamp)
            target = origin.table.name[: NAME_LENGTH - len(suffix)] + suffix
            plans.append(restores.plan(origin, target, client=client))
            self._say(f"Plan: restore {origin} to {target}, read the session, delete {target}")
        return plans

    def _confirm(self, plans: Sequence[RestorePlan], options: dict[str, Any]) -> None:
        size = sum(planned.source.backup.size_bytes or 0 for planned in plans if planned.source.backup)
        cost = (
            f"AWS restores whole tables: {filesizeformat(size)} here, charged by the GB, in minutes to hours.".replace(
                "\xa0", " "
            )
        )
        if options["yes"]:
            self._say(cost)
            return
        if not on_terminal():
            raise CommandError(f"{cost} Add --yes to go on. Nothing was changed.")
        confirm(cost)

    @contextmanager
    def _restored(
        self, plans: Sequence[RestorePlan], client: DynamoDBClient, options: dict[str, Any]
    ) -> Iterator[Both]:
        """The temporary tables, which are deleted when the block ends, but at Ctrl-C: another run goes on with them."""
        names = [planned.target.name for planned in plans]
        width = max(map(len, names))
        try:
            for step in restores.apply_bare(plans, client, progress=self.waiting):
                self.waiting.clear()
                self._say(step_line(step, self.style, width))
            self.waiting.clear()
            yield plans[0].target, plans[1].target
        except KeyboardInterrupt:
            again = shlex.join(_words(options))
            delete = f"manage.py dynamodb_teardown --delete --sessions-table {names[0]} --events-table {names[1]}"
            raise interrupted(
                f"Interrupted. {' and '.join(names)} may stand, and cost storage. To go on: {again}. To delete them:"
                f" {delete}."
            ) from None
        except BaseException:
            self._delete(names, client, width)
            raise
        self._delete(names, client, width)

    def _delete(self, names: Sequence[str], client: DynamoDBClient, width: int) -> None:
        for name in names:
            step = removal.delete_table(name, client=client, progress=self.waiting)
            self.waiting.clear()
            self._say(step_line(step, self.style, width))

    # --- Where it goes ----------------------------------------------------------------------------------------

    def _put(
        self,
        found: OneSession,
        former: OneSession | None,
        both: Both,
        client: DynamoDBClient,
        options: dict[str, Any],
    ) -> None:
        if not options["keep_ttl"]:
            life = options["ttl"] or timedelta(hours=conf.SESSION_TTL_HOURS)
            event_life = options["ttl"] or timedelta(hours=conf.EVENT_TTL_HOURS)
            found = one_session.begun_again(found, life, event_life=event_life)
        self._say(f"Found: {_counted(found)}, as of {found.exported_at}")
        until = found.expires_at.isoformat(timespec="seconds")
        self._say(f"Plan: write it to {both[0].name} and {both[1].name}, to expire {until} unless it is used")
        if found.has_ended:
            self._say(self.style.WARNING("It had been ended by then: staff can read it, clients get 404."))
        elif not found.is_live:
            self._say(self.style.WARNING("Its ttl has passed: clients get 404. Leave out --keep-ttl to let it live."))
        if options["dry_run"]:
            self._say("Nothing was written. Next: the same command without --dry-run")
            return
        gone = one_session.put(found, former, both, client=client, overwrite=options["overwrite"])
        replaced = f", {gone:,} items of what stood are gone" if former else ""
        self._say(f"Now: session {options['session']} is there, {_counted(found)}{replaced}.")

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()


def _is_file(source: str) -> bool:
    """Whether a source is meant as a file: standard input, one that exists, or a name such as no backup has."""
    return source == STANDARD or Path(source).is_file() or "/" in source.partition("arn:")[0] or ".jsonl" in source


def _backups(source: str, both: Both, client: DynamoDBClient) -> list[Backup]:
    """The backups of both tables that a stamp, or one of the two, names."""
    stamp = source
    if not _STAMP.fullmatch(source):
        one = on_demand.find(source, client=client)
        if one.stamp is None:
            raise CommandError(
                f"Backup {one.name} is of one table, and its name has no stamp that another's would share:"
                " dynamodb_restore restores it whole, and sessions_export --session takes a session out of that."
            )
        stamp = one.stamp
    found = next((each for each in on_demand.sets(both, client=client) if each.stamp == stamp), None)
    if found is None or not found.complete:
        raise CommandError(
            f"There is no set {stamp} with an AVAILABLE backup of {both[0].name} and of {both[1].name}:"
            " 'manage.py dynamodb_backup list' shows those that there are."
        )
    return list(found.backups)


def _counted(one: OneSession) -> str:
    state = len(one.session.get("state", {}).get("M", {}))
    return f"{state:,} keys of state, {len(one.beside):,} items beside it, {len(one.events):,} of events"


def _words(options: dict[str, Any]) -> list[str]:
    """This command, with the options that it was given."""
    words = ["python", "manage.py", "sessions_restore", options["session"], "--from", options["source"]]
    words += [flag for flag in ("--overwrite", "--keep-ttl", "--yes") if options[flag[2:].replace("-", "_")]]
    if options["ttl"]:
        words += ["--ttl", f"{options['ttl'].total_seconds() / 3600:g}"]
    for option in ("sessions_table", "events_table", "region"):
        if options[option]:
            words += [f"--{option.replace('_', '-')}", options[option]]
    return words
