"""Restore both tables, or one, to new tables: from backups or to a point in time; safe to run again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError, CommandParser

from sessions_dynamo.backups import on_demand, restore_sources, restores
from sessions_dynamo.backups.restores import RestorePlan, Source
from sessions_dynamo.checks import DYNAMODB
from sessions_dynamo.client import dynamodb
from sessions_dynamo.errors import StorageError, TableMissing
from sessions_dynamo.management import arguments, backup_lines
from sessions_dynamo.management.base import SessionsCommand
from sessions_dynamo.management.console import Waiting, both_tables, command_errors, interruptible, location, step_line
from sessions_dynamo.tables import convergence
from sessions_dynamo.tables.describing import describe
from sessions_dynamo.tables.descriptions import TableDescription
from sessions_dynamo.tables.names import NamedTable
from sessions_dynamo.tables.steps import Outcome, Step

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

EPILOG = """
--swap prints the two lines of the service's environment. Set them, then restart every worker: a session goes on under
its old id, with what it held at the time of the backup. The former tables stay as they are.
"""


class Command(SessionsCommand):
    help = (
        "Restores both tables, or one, to new tables, and makes again what AWS leaves out of a restore: stream, TTL,"
        " tags, point-in-time recovery, deletion protection, auto scaling. Run it again after an interruption."
    )
    requires_system_checks = (DYNAMODB,)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.epilog = EPILOG
        parser.add_argument("backup", nargs="?", metavar="BACKUP", help="one backup's name or ARN: restores its table")
        parser.add_argument("--set", metavar="STAMP", help="both tables, from the backups that end in YYYYmmdd-HHMMSS")
        parser.add_argument("--latest", action="store_true", help="both tables, from the newest set of backups")
        parser.add_argument(
            "--point-in-time",
            metavar="TIME",
            help="both tables, or --table, as they were at an ISO 8601 time (UTC unless it names a zone), or 'latest'",
        )
        parser.add_argument("--table", metavar="NAME", help="with --point-in-time: this table only")
        parser.add_argument("--to", metavar="NAME", help="new name of one table; default: <table>-restored-<stamp>")
        parser.add_argument("--sessions-to", metavar="NAME", help="new name of the sessions table, of both")
        parser.add_argument("--events-to", metavar="NAME", help="new name of the events table, of both")
        parser.add_argument("--swap", action="store_true", help="print the environment that switches the service over")
        parser.add_argument("--plan", action="store_true", help="print what would be done, and stop")
        parser.add_argument("--no-wait", action="store_true", help="begin only; run again later to complete it")
        parser.add_argument("--json", action="store_true", help="print one JSON document and nothing else")
        arguments.add_where(parser)
        parser.add_argument("--environment", metavar="TAG", help="value of the Environment tag; default: the source's")

    def handle(self, *_: Any, **options: Any) -> None:
        _refuse_nonsense(options)
        self.json = options["json"]
        self.waiting = Waiting(self.stderr if self.json else self.stdout)
        with command_errors(options["region"]), interruptible():
            client = dynamodb(options["region"])
            both = both_tables(options)
            self._say(f"DynamoDB: {location(client)}")
            plans = self._plans(both, client, options)
            for line in _plan_lines(plans):
                self._say(f"Plan: {line}")
            again = _command(plans, options)
            begun = f"Interrupted. AWS goes on with a restore that it has begun; to complete it: {again}"
            with interruptible(begun):
                steps = [] if options["plan"] else self._apply(plans, again, client, options)
                standing = [] if options["plan"] else _standing(plans, client)
        pending, refused = any(step.outcome is Outcome.PENDING for step in steps), convergence.refusals(steps)
        environment = _environment(both, plans)
        if self.json:
            document = {
                "plan": list(_plan_lines(plans)),
                "steps": [{name: str(getattr(step, name)) for name in step.__slots__} for step in steps],
                "tables": [live.as_dict() for live in standing],
                "pending": pending,
                "environment": environment,
                "again": again,
            }
            self.stdout.write(json.dumps(document, indent=2))
        elif not options["plan"]:
            for live in standing:
                self.stdout.write(_stands(live))
            if all(step.outcome is Outcome.UNCHANGED for step in steps):
                self.stdout.write(
                    self.style.WARNING(
                        "An earlier run restored this already. What was written since is kept; to restore it anew,"
                        " choose other names."
                    )
                )
            if not refused:
                self._next(environment, pending, again, options["swap"])
        if refused:
            problems = " ".join(f"{step.table}, {step.aspect}: {step.detail}" for step in refused)
            raise CommandError(f"Restored, but not as its source was. {problems}\nOnce that is mended: {again}")

    # --- What to restore --------------------------------------------------------------------------------------

    def _plans(
        self, both: tuple[NamedTable, NamedTable], client: DynamoDBClient, options: dict[str, Any]
    ) -> list[RestorePlan]:
        """All plans before the first write: neither table is restored when one cannot be."""
        sources = self._sources(both, client, options)
        wanted = [options["to"]]
        if len(sources) > 1:
            wanted = [options["sessions_to"], options["events_to"]]
        plans = [
            restores.plan(source, target, client=client, environment=options["environment"])
            for source, target in zip(sources, wanted, strict=True)
        ]
        if len({planned.target.name for planned in plans}) < len(plans):
            raise CommandError(f"Both tables cannot be named {plans[0].target.name}.")
        return plans

    def _sources(
        self, both: tuple[NamedTable, NamedTable], client: DynamoDBClient, options: dict[str, Any]
    ) -> list[Source]:
        if options["backup"]:
            return [restores.from_backup(on_demand.find(options["backup"], client=client), client=client)]
        if when := options["point_in_time"]:
            at = None
            if when != "latest":
                at = restores.parse_time(when)
                self._say(f"Time: {at.isoformat(sep=' ')}")
            names = [options["table"]] if options["table"] else [table.name for table in both]
            return [restores.point_in_time(name, at, client=client) for name in names]
        complete = [found for found in on_demand.sets(both, client=client) if found.complete]
        stamp = options["set"]
        if options["latest"] and (former := on_demand.former_set(complete, both, client=client)):
            self._say(self.style.WARNING(backup_lines.of_former(former)))
        if options["latest"] or stamp:
            for found in complete:
                if options["latest"] or found.stamp == stamp:
                    return [restores.from_backup(backup, client=client) for backup in found.backups]
        stamps = ", ".join(found.stamp for found in complete[:5]) or "none yet: 'manage.py dynamodb_backup' makes one"
        of_both = " and ".join(table.name for table in both)
        problem = f"No complete set of backups {stamp or ''}".rstrip()
        if not (options["latest"] or stamp):
            problem = "Say what to restore: a backup's name or ARN, --set STAMP, --latest, or --point-in-time TIME"
        raise CommandError(f"{problem}. Complete sets of {of_both}: {stamps}.")

    # --- Restoring --------------------------------------------------------------------------------------------

    def _apply(
        self, plans: Sequence[RestorePlan], again: str, client: DynamoDBClient, options: dict[str, Any]
    ) -> list[Step]:
        width = max(len(planned.target.name) for planned in plans)
        try:
            return restores.apply(
                plans,
                client=client,
                patience=0 if options["no_wait"] else restores.PATIENCE,
                progress=self.waiting,
                report=lambda step: self._report(step, width),
            )
        except StorageError as exc:
            raise type(exc)(f"{exc}\nWhat was begun stands. To complete it: {again}") from exc.__cause__
        finally:
            self.waiting.clear()

    def _report(self, step: Step, width: int) -> None:
        self.waiting.clear()
        self._say(step_line(step, self.style, width))

    def _next(self, environment: dict[str, str], pending: bool, again: str, swap: bool) -> None:
        if pending:
            self.stdout.write("Some of it is pending.")
            self.stdout.write(f"Next: {again}")
        elif swap:
            self.stdout.write("To switch the service, set these and restart every worker:")
            for name, value in environment.items():
                self.stdout.write(f"{name}={value}")
        else:
            self.stdout.write(f"Next: {again} --swap")

    def _say(self, line: str) -> None:
        if not self.json:
            self.stdout.write(line)
            self.stdout.flush()


def _refuse_nonsense(options: dict[str, Any]) -> None:
    ways = {
        "BACKUP": options["backup"],
        "--set": options["set"],
        "--latest": options["latest"],
        "--point-in-time": options["point_in_time"],
    }
    given = [name for name, value in ways.items() if value]
    if len(given) > 1:
        raise CommandError(f"{' and '.join(given)} contradict each other: give one of them.")
    if options["table"] and "--point-in-time" not in given:
        raise CommandError("--table belongs to --point-in-time; a backup knows its table.")
    one = bool(options["backup"] or options["table"])
    if options["to"] and not one:
        raise CommandError("--to names one table, but both are restored: give --sessions-to and --events-to.")
    if one and (options["sessions_to"] or options["events_to"]):
        raise CommandError("--sessions-to and --events-to are for both tables; the one that is restored takes --to.")


def _plan_lines(plans: Sequence[RestorePlan]) -> Iterator[str]:
    for planned in plans:
        source, name, carried = planned.source, planned.target.name, planned.carried
        if planned.standing:
            yield f"{name} is {planned.standing}, an earlier run's restore of {source}: complete it, keep its items"
        else:
            yield f"restore {source} to {name}{_of(source)}"
        again = ", ".join(["stream", "TTL", "our tags", *(carried.lines() if carried else ())])
        of_source = "" if carried else f"; {source.table.name} no longer stands to tell what else it had"
        yield f"then make again on {name}: {again}{of_source}"
        if carried and carried.replica_regions:
            regions = ",".join(carried.replica_regions)
            yield f"not its replicas: add them before the switch, with 'manage.py dynamodb_setup --regions {regions}'"


def _of(source: Source) -> str:
    """When a backup was made, and how large it is: a set of empty tables is told by it."""
    backup = source.backup
    if backup is None:
        return ""
    size = "" if backup.size_bytes is None else f", {backup_lines.shown_size(backup.size_bytes)}"
    return f": made {restore_sources.shown(backup.created_at)}{size}"


def _standing(plans: Sequence[RestorePlan], client: DynamoDBClient) -> list[TableDescription]:
    found = []
    for planned in plans:
        # Right after a restore began, AWS may not show the table yet.
        with suppress(TableMissing):
            found.append(describe(planned.target.name, client))
    return found


def _stands(live: TableDescription) -> str:
    ttl, recovery = live.time_to_live, live.point_in_time_recovery
    parts = [
        live.status,
        f"{live.item_count} items" if live.item_count is not None else "",
        "stream on" if live.stream.enabled else "stream off",
        f"TTL {ttl.status}" if ttl else "",
        f"point-in-time recovery {recovery.status}" if recovery else "",
    ]
    return f"{live.name}: {', '.join(part for part in parts if part)}"


def _environment(both: tuple[NamedTable, NamedTable], plans: Sequence[RestorePlan]) -> dict[str, str]:
    """What the service must be told to serve the restored tables; a table that was not restored keeps its name."""
    names = {table.schema: table.name for table in both} | {
        planned.target.schema: planned.target.name for planned in plans
    }
    return {
        "DYNAMODB_SESSIONS_TABLE": names[both[0].schema],
        "DYNAMODB_EVENTS_TABLE": names[both[1].schema],
    }


def _command(plans: Sequence[RestorePlan], options: dict[str, Any]) -> str:
    """The command that continues this very restore, whatever was the newest when it began."""
    words = ["python", "manage.py", "dynamodb_restore"]
    first = plans[0].source
    if options["point_in_time"]:
        words += ["--point-in-time", first.at.isoformat() if first.at else "latest"]
    elif options["backup"]:
        words.append(options["backup"])
    else:
        words += ["--set", first.stamp]
    targets = [planned.target.name for planned in plans]
    words += ["--to", *targets] if len(targets) == 1 else ["--sessions-to", targets[0], "--events-to", targets[1]]
    for option in ("table", "sessions_table", "events_table", "region", "environment"):
        if options[option]:
            words += [f"--{option.replace('_', '-')}", options[option]]
    return shlex.join(words)
