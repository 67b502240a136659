"""On-demand backups of both tables: make them, once a day for a schedule, list them, describe one, delete them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from django.core.management.base import CommandError, CommandParser
from django.core.serializers.json import DjangoJSONEncoder

from sessions_dynamo.backups import daily, descriptions, on_demand
from sessions_dynamo.backups.descriptions import Backup
from sessions_dynamo.checks import DYNAMODB
from sessions_dynamo.client import dynamodb
from sessions_dynamo.conf import conf
from sessions_dynamo.errors import StorageError
from sessions_dynamo.management import arguments, backup_lines
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
from sessions_dynamo.tables import waiting
from sessions_dynamo.tables.names import NamedTable
from sessions_dynamo.tables.steps import Outcome, Step

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

ACTIONS: Final = ("create", "daily", "list", "describe", "delete")


class Command(SessionsCommand):
    help = (
        "Backs up both tables under one time stamp (create, the default), or does so once a day and takes older ones"
        " away (daily, for a schedule), lists backups, describes one or deletes some."
        " 'dynamodb_restore' restores them to new tables."
    )
    requires_system_checks = (DYNAMODB,)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", nargs="?", choices=ACTIONS, default="create", help="default: create")
        parser.add_argument("backups", nargs="*", metavar="BACKUP", help="describe, delete: a backup's name or ARN")
        parser.add_argument("--table", metavar="NAME", help="create: one of both tables; list: any table, there or not")
        parser.add_argument("--all-tables", action="store_true", help="list: the backups of every table in the region")
        parser.add_argument(
            "--no-wait", action="store_true", help="create, daily: do not wait until they are AVAILABLE"
        )
        parser.add_argument(
            "--seconds",
            type=arguments.seconds,
            help="daily: wait no longer than this; what is not AVAILABLE then is pending"
            f" (default: {waiting.PATIENCE:.0f})",
        )
        parser.add_argument(
            "--keep",
            type=arguments.count,
            metavar="DAYS",
            help="daily: delete the daily backups before the newest so many days that have a whole set (default: none)",
        )
        parser.add_argument("--dry-run", action="store_true", help="daily: make and delete nothing; say what would be")
        parser.add_argument("--yes", action="store_true", help="delete: do not ask")
        parser.add_argument("--json", action="store_true", help="print one JSON document and nothing else")
        arguments.add_where(parser)

    def handle(self, *_: Any, **options: Any) -> None:
        _refuse_nonsense(options)
        self.json = options["json"]
        self.waiting = Waiting(self.stderr if self.json else self.stdout)
        with command_errors(options["region"]), interruptible():
            client = dynamodb(options["region"])
            both = both_tables(options)
            match options["action"]:
                case "create":
                    self._create(_chosen(both, options["table"]), client, options)
                case "daily":
                    self._daily(both, client, options)
                case "list":
                    self._list(both, client, options)
                case "describe":
                    self._describe(options["backups"], client)
                case "delete":
                    self._delete(options["backups"], client, options["yes"])

    # --- Actions ----------------------------------------------------------------------------------------------

    def _create(self, chosen: Sequence[NamedTable], client: DynamoDBClient, options: dict[str, Any]) -> None:
        at = datetime.now(UTC)
        self._say(f"DynamoDB: {location(client)}")
        for table in chosen:
            self._say(f"Plan: back up {table.name} as {descriptions.backup_name(table.name, at)}")
        width = max(len(table.name) for table in chosen)
        try:
            made = on_demand.create(
                chosen,
                client=client,
                patience=0 if options["no_wait"] else waiting.PATIENCE,
                progress=self.waiting,
                report=lambda step: self._report(step, width),
                at=at,
            )
        except KeyboardInterrupt:
            self.waiting.clear()
            raise interrupted(
                "Interrupted. What AWS had been asked for is still made: 'manage.py dynamodb_backup list' shows it."
                " Run the command again for a whole new set."
            ) from None
        if self.json:
            self._print_json({"backups": made})
            return
        self._warn_of_end()
        if any(backup.status != "AVAILABLE" for backup in made):
            self.stdout.write("Next: python manage.py dynamodb_backup list, until they are AVAILABLE")
        elif len(made) > 1:
            self.stdout.write(f"To restore them: python manage.py dynamodb_restore --set {made[0].stamp}")
        else:
            self.stdout.write(f"To restore it: python manage.py dynamodb_restore {made[0].name}")

    def _daily(self, both: Sequence[NamedTable], client: DynamoDBClient, options: dict[str, Any]) -> None:
        at, keep = datetime.now(UTC), options["keep"]
        width = max(len(table.name) for table in both)
        self._say(f"DynamoDB: {location(client)}")
        standing = daily.of_day(both, at, client=client)
        for table in () if standing else both:
            self._say(f"Plan: back up {table.name} as {descriptions.backup_name(table.name, at, daily=True)}")
        if options["dry_run"]:
            for backup in standing:
                self._report(daily.step(backup, standing), width)
            surplus = daily.surplus(both, keep, client=client, coming=at) if keep else []
            for backup in surplus:
                self._say(f"Plan: delete {backup.name}")
            self._say("Dry run: nothing was made or deleted.")
            if self.json:
                self._print_json({"backups": standing, "to_delete": surplus})
            return
        patience = 0 if options["no_wait"] else options["seconds"] or waiting.PATIENCE
        try:
            made = daily.make(both, at, client=client, patience=patience, progress=self.waiting)
            for backup in made:
                self._report(daily.step(backup, standing), width)
            deleted = self._take_away(both, client, keep, width) if keep else []
        except KeyboardInterrupt:
            self.waiting.clear()
            raise interrupted(
                "Interrupted. What AWS had been asked for is still made: run the command again, and it goes on."
            ) from None
        if self.json:
            self._print_json({"backups": made, "deleted": deleted})
            return
        self._warn_of_end()
        if newest := on_demand.newest_set(both, client=client):
            self.stdout.write(f"Newest of both tables: python manage.py dynamodb_restore --set {newest.stamp}")

    def _take_away(self, both: Sequence[NamedTable], client: DynamoDBClient, keep: int, width: int) -> list[Backup]:
        deleted = []
        try:
            for backup, step in daily.take_away(daily.surplus(both, keep, client=client), client=client):
                self._report(step, width)
                deleted += [backup] if step.outcome is Outcome.DELETED else []
        except StorageError as exc:
            # Whoever is told of the failure has to know first that there is a backup.
            raise type(exc)(f"The day's set is made. Older ones were not all deleted: {exc}") from exc.__cause__
        return deleted

    def _list(self, both: Sequence[NamedTable], client: DynamoDBClient, options: dict[str, Any]) -> None:
        names: list[str | None] = [None] if options["all_tables"] else [table.name for table in both]
        if options["table"]:
            names = [options["table"]]
        found = [backup for name in names for backup in on_demand.list_backups(name, client=client)]
        found.sort(key=lambda backup: backup.created_at, reverse=True)
        if self.json:
            self._print_json({"backups": found})
            return
        self.stdout.write(f"DynamoDB: {location(client)}")
        self._table(found)
        if not found:
            where = ", ".join(name for name in names if name) or "any table"
            self.stdout.write(f"No backups of {where}. To make them: python manage.py dynamodb_backup")
        # What is asked next, in the night: the newest that restores both.
        elif whole := [one for one in on_demand.sets(both, client=client) if one.complete]:
            self.stdout.write(f"Newest of both tables: python manage.py dynamodb_restore --set {whole[0].stamp}")
            if former := on_demand.former_set(whole, both, client=client):
                self.stdout.write(self.style.WARNING(backup_lines.of_former(former)))

    def _describe(self, names: Sequence[str], client: DynamoDBClient) -> None:
        details = [on_demand.describe(on_demand.find(name, client=client).arn, client=client) for name in names]
        if self.json:
            self._print_json({"backups": details})
            return
        self.stdout.write(f"DynamoDB: {location(client)}")
        for detail in details:
            for label, value in backup_lines.described(detail):
                self.stdout.write(f"{label:16} {value}")

    def _delete(self, names: Sequence[str], client: DynamoDBClient, yes: bool) -> None:
        # All are found before the first is deleted.
        found = list(dict.fromkeys(on_demand.find(name, client=client) for name in names))
        self._say(f"DynamoDB: {location(client)}")
        if not self.json:
            self._table(found)
        if not yes:
            self._confirm(found)
        deleted = []
        try:
            for backup in found:
                deleted.append(on_demand.delete(backup.arn, client=client))
                self._say(f"{backup.name} {self.style.SUCCESS('deleted')}")
        except KeyboardInterrupt:
            left = ", ".join(backup.name for backup in found[len(deleted) :])
            raise interrupted(f"Interrupted. Not deleted, or not known to be: {left}. Run again with these.") from None
        if self.json:
            self._print_json({"deleted": deleted})

    # --- Words ------------------------------------------------------------------------------------------------

    def _confirm(self, found: Iterable[Backup]) -> None:
        if self.json or not sys.stdin.isatty():
            raise CommandError("To delete a backup cannot be undone: add --yes. Nothing was deleted.")
        self.stdout.write(self.style.WARNING("To delete a backup cannot be undone."))
        for backup in found:
            try:
                answer = input(f"Type the backup's name, {backup.name}, to go on: ").strip()
            except EOFError:
                answer = ""
            if answer != backup.name:
                raise CommandError("That is not the backup's name. Nothing was deleted.")

    def _table(self, found: Iterable[Backup]) -> None:
        for backup in found:
            self.stdout.write(backup_lines.row(backup, self.style))

    def _warn_of_end(self) -> None:
        if conf.DYNAMODB_EMBEDDED:
            self.stdout.write(
                "They end with the embedded DynamoDB: 'manage.py sessions_export' makes a file that stays."
            )

    def _report(self, step: Step, width: int) -> None:
        self.waiting.clear()
        self._say(step_line(step, self.style, width))

    def _say(self, line: str) -> None:
        if not self.json:
            self.stdout.write(line)
            self.stdout.flush()

    def _print_json(self, document: dict[str, Iterable[Any]]) -> None:
        plain = {name: [backup_lines.plain(value) for value in values] for name, values in document.items()}
        self.stdout.write(json.dumps(plain, cls=DjangoJSONEncoder, indent=2))


def _refuse_nonsense(options: dict[str, Any]) -> None:
    """Options that another action has are refused: silently ignored, they would promise what does not happen."""
    action, named = options["action"], options["backups"]
    if action in ("describe", "delete") and not named:
        raise CommandError(f"Name the backup to {action}: 'manage.py dynamodb_backup list' shows them.")
    if action in ("create", "daily", "list") and named:
        raise CommandError(f"'{action}' takes no backup's name: {' '.join(named)}. Did you mean describe or delete?")
    allowed = {
        "table": ("create", "list"),
        "all_tables": ("list",),
        "no_wait": ("create", "daily"),
        "seconds": ("daily",),
        "keep": ("daily",),
        "dry_run": ("daily",),
        "yes": ("delete",),
    }
    for option, actions in allowed.items():
        if options[option] and action not in actions:
            raise CommandError(f"--{option.replace('_', '-')} belongs to {' and '.join(actions)}, not to {action}.")
    if options["table"] and options["all_tables"]:
        raise CommandError("--table and --all-tables contradict each other.")
    if options["no_wait"] and options["seconds"]:
        raise CommandError("--no-wait and --seconds contradict each other.")


def _chosen(both: tuple[NamedTable, NamedTable], name: str | None) -> Sequence[NamedTable]:
    if not name:
        return both
    chosen = [table for table in both if table.name == name]
    if not chosen:
        raise CommandError(
            f"{name} is neither the sessions table, {both[0].name}, nor the events table, {both[1].name}:"
            " --sessions-table and --events-table name others."
        )
    return chosen
