"""On-demand backups of both tables: make them, list them, describe one, delete them."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.serializers.json import DjangoJSONEncoder
from django.template.defaultfilters import filesizeformat

from sessions_dynamo.backups import descriptions, on_demand
from sessions_dynamo.backups.descriptions import Backup, BackupDetails
from sessions_dynamo.checks import DYNAMODB
from sessions_dynamo.client import dynamodb
from sessions_dynamo.conf import conf
from sessions_dynamo.management import arguments
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
from sessions_dynamo.tables.steps import Step

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

ACTIONS: Final = ("create", "list", "describe", "delete")


class Command(BaseCommand):
    help = (
        "Backs up both tables under one time stamp (create, the default), lists backups, describes one or deletes some."
        " 'dynamodb_restore' restores them to new tables."
    )
    requires_system_checks = (DYNAMODB,)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", nargs="?", choices=ACTIONS, default="create", help="default: create")
        parser.add_argument("backups", nargs="*", metavar="BACKUP", help="describe, delete: a backup's name or ARN")
        parser.add_argument("--table", metavar="NAME", help="create: one of both tables; list: any table, there or not")
        parser.add_argument("--all-tables", action="store_true", help="list: the backups of every table in the region")
        parser.add_argument("--no-wait", action="store_true", help="create: do not wait until they are AVAILABLE")
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
        if conf.DYNAMODB_EMBEDDED:
            self.stdout.write(
                "They end with the embedded DynamoDB: 'manage.py sessions_export' makes a file that stays."
            )
        if any(backup.status != "AVAILABLE" for backup in made):
            self.stdout.write("Next: python manage.py dynamodb_backup list, until they are AVAILABLE")
        elif len(made) > 1:
            self.stdout.write(f"To restore them: python manage.py dynamodb_restore --set {made[0].stamp}")
        else:
            self.stdout.write(f"To restore it: python manage.py dynamodb_restore {made[0].name}")

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
        elif newest := on_demand.newest_set(both, client=client):
            self.stdout.write(f"Newest of both tables: python manage.py dynamodb_restore --set {newest.stamp}")

    def _describe(self, names: Sequence[str], client: DynamoDBClient) -> None:
        details = [on_demand.describe(on_demand.find(name, client=client).arn, client=client) for name in names]
        if self.json:
            self._print_json({"backups": details})
            return
        self.stdout.write(f"DynamoDB: {location(client)}")
        for detail in details:
            for label, value in _lines(detail):
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

    def _table(self, found: Sequence[Backup]) -> None:
        for backup in found:
            status = f"{backup.status:9}"
            if backup.status != "AVAILABLE":
                status = self.style.WARNING(status)
            created = backup.created_at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
            self.stdout.write(f"{created}  {status}  {backup.type:10}  {_size(backup.size_bytes):>9}  {backup.name}")

    def _report(self, step: Step, width: int) -> None:
        self.waiting.clear()
        self._say(step_line(step, self.style, width))

    def _say(self, line: str) -> None:
        if not self.json:
            self.stdout.write(line)
            self.stdout.flush()

    def _print_json(self, document: dict[str, Iterable[Any]]) -> None:
        plain = {name: [_plain(value) for value in values] for name, values in document.items()}
        self.stdout.write(json.dumps(plain, cls=DjangoJSONEncoder, indent=2))


def _refuse_nonsense(options: dict[str, Any]) -> None:
    """Options that another action has are refused: silently ignored, they would promise what does not happen."""
    action, named = options["action"], options["backups"]
    if action in ("describe", "delete") and not named:
        raise CommandError(f"Name the backup to {action}: 'manage.py dynamodb_backup list' shows them.")
    if action in ("create", "list") and named:
        raise CommandError(f"'{action}' takes no backup's name: {' '.join(named)}. Did you mean describe or delete?")
    allowed = {
        "table": ("create", "list"),
        "all_tables": ("list",),
        "no_wait": ("create",),
        "yes": ("delete",),
    }
    for option, actions in allowed.items():
        if options[option] and action not in actions:
            raise CommandError(f"--{option.replace('_', '-')} belongs to {' and '.join(actions)}, not to {action}.")
    if options["table"] and options["all_tables"]:
        raise CommandError("--table and --all-tables contradict each other.")


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


def _lines(detail: BackupDetails) -> Iterable[tuple[str, Any]]:
    """What the engine told of a backup, label by label."""
    backup, ttl = detail.backup, detail.time_to_live
    capacity = None
    if detail.read_capacity is not None:
        capacity = f"{detail.read_capacity} read, {detail.write_capacity} write"
    lines: dict[str, Any] = {
        "name": backup.name,
        "ARN": backup.arn,
        "status": backup.status,
        "type": backup.type,
        "made": backup.created_at.astimezone(UTC).isoformat(sep=" "),
        "expires": backup.expires_at.astimezone(UTC).isoformat(sep=" ") if backup.expires_at else None,
        "size": _size(backup.size_bytes) if backup.size_bytes is not None else None,
        "table": f"{backup.table}, created {detail.table_created_at.astimezone(UTC).isoformat(sep=' ')}",
        "key": ", ".join(detail.keys),
        "items": detail.item_count,
        "table's size": _size(detail.table_size_bytes) if detail.table_size_bytes is not None else None,
        "billing": detail.billing_mode,
        "capacity": capacity,
        "indexes": ", ".join(detail.indexes) if detail.indexes else None,
        "stream": detail.stream_view_type,
        "ttl": f"{ttl.status} on {ttl.attribute}" if ttl and ttl.attribute else ttl and ttl.status,
        "KMS key": detail.encryption_key_arn,
    }
    return ((label, value) for label, value in lines.items() if value is not None)


def _size(size: int | None) -> str:
    return "" if size is None else filesizeformat(size).replace("\xa0", " ")


def _plain(value: Any) -> dict[str, Any]:
    """A value's fields, without what the engine did not tell."""
    return dataclasses.asdict(
        value, dict_factory=lambda pairs: {name: field for name, field in pairs if field is not None}
    )
