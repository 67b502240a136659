"""Empty the tables, stop their streams, or delete them; shows what exists before it touches anything."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.template.defaultfilters import filesizeformat

from sessions_dynamo import removal, tables
from sessions_dynamo.checks import DYNAMODB
from sessions_dynamo.client import dynamodb
from sessions_dynamo.descriptions import is_aws
from sessions_dynamo.errors import TableMissing
from sessions_dynamo.management.console import command_errors, location, step_line
from sessions_dynamo.steps import Outcome, Step
from sessions_dynamo.tables import NamedTable, TableDescription

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

ACTIONS = {
    "clear_data": "delete all items, keep the tables",
    "disable_streams": "turn off DynamoDB Streams",
    "delete": "delete the tables",
}
_DESTRUCTIVE = ("clear_data", "delete")


class Command(BaseCommand):
    help = "Clears the tables' data, disables their streams or deletes them. Without an option it asks."
    requires_system_checks = (DYNAMODB,)

    def add_arguments(self, parser: CommandParser) -> None:
        for action, text in ACTIONS.items():
            parser.add_argument(_flag(action), action="store_true", help=text)
        parser.add_argument("--yes", action="store_true", help="do not ask before data is lost")
        parser.add_argument("--sessions-table", metavar="NAME", help="default: DYNAMODB_SESSIONS_TABLE")
        parser.add_argument("--events-table", metavar="NAME", help="default: DYNAMODB_EVENTS_TABLE")
        parser.add_argument("--region", help="default: AWS_REGION")

    def handle(self, *_: Any, **options: Any) -> None:
        actions = [action for action in ACTIONS if options[action]]
        if not actions and not sys.stdin.isatty():
            flags = ", ".join(_flag(action) for action in ACTIONS)
            raise CommandError(f"Say what to do, with one or more of {flags}.")
        with command_errors(options["region"]):
            client = dynamodb(options["region"])
            self.stdout.write(f"DynamoDB: {location(client)}")
            both = tables.named_tables(options["sessions_table"], options["events_table"])
            standing = self._show(both, client)
            if not standing:
                return
            actions = actions or self._ask()
            if "delete" in actions:
                # Before anything is lost: neither table is touched when one of them cannot go.
                for live in standing.values():
                    removal.refuse_if_protected(live)
            if not options["yes"] and any(action in _DESTRUCTIVE for action in actions):
                self._confirm(standing, actions)
            width = max(len(table.name) for table in standing)
            for action in actions:
                for table in standing:
                    self.stdout.write(step_line(self._act(action, table, client), self.style, width))
                    self.stdout.flush()

    def _show(self, both: Iterable[NamedTable], client: DynamoDBClient) -> dict[NamedTable, TableDescription]:
        """Print what exists and return it."""
        standing = {}
        for table in both:
            try:
                live = standing[table] = tables.describe(table.name, client)
            except TableMissing:
                self.stdout.write(f"{table.name}: does not exist")
                continue
            size = filesizeformat(live.size_bytes or 0).replace("\xa0", " ")
            stream = "stream on" if live.stream.enabled else "stream off"
            self.stdout.write(f"{table.name}: {live.status}, {live.item_count} items, {size}, {stream}")
        if standing and is_aws(client):
            self.stdout.write("AWS refreshes the counts of items and bytes about every six hours.")
        return standing

    def _ask(self) -> list[str]:
        for number, text in enumerate(ACTIONS.values(), start=1):
            self.stdout.write(f"{number}. {text}")
        answer = input("What to do, such as 1 or 1,2 (nothing: leave all as it is)? ")
        numbers = [part.strip() for part in answer.split(",") if part.strip()]
        choices = dict(zip(map(str, range(1, len(ACTIONS) + 1)), ACTIONS, strict=True))
        if unknown := [number for number in numbers if number not in choices]:
            raise CommandError(f"There is no choice {', '.join(unknown)}. Nothing was changed.")
        return [action for number, action in choices.items() if number in numbers]

    def _confirm(self, standing: Iterable[NamedTable], actions: Iterable[str]) -> None:
        what = " and ".join(ACTIONS[action].partition(",")[0] for action in actions if action in _DESTRUCTIVE)
        if not sys.stdin.isatty():
            raise CommandError(f"To {what} cannot be undone: add --yes. Nothing was changed.")
        self.stdout.write(self.style.WARNING(f"To {what} cannot be undone."))
        for table in standing:
            if input(f"Type the table's name, {table.name}, to go on: ").strip() != table.name:
                raise CommandError("That is not the table's name. Nothing was changed.")

    def _act(self, action: str, table: NamedTable, client: DynamoDBClient) -> Step:
        match action:
            case "clear_data":
                count = removal.clear_data(table, client=client)
                return Step(table.name, "items", Outcome.DELETED if count else Outcome.UNCHANGED, f"{count} items")
            case "disable_streams":
                return removal.disable_stream(table.name, client=client)
            case _:
                return removal.delete_table(table.name, client=client)


def _flag(action: str) -> str:
    return "--" + action.replace("_", "-")
