"""What ``dynamodb_teardown`` offers, and its words for tables and plans."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Final

from django.template.defaultfilters import filesizeformat

from sessions_dynamo.tables import removal
from sessions_dynamo.tables.descriptions import TableDescription
from sessions_dynamo.tables.names import NamedTable


class Action(StrEnum):
    """What can be done, in the order in which it is done."""

    BACKUP = "backup"
    CLEAR_DATA = "clear_data"
    DISABLE_STREAMS = "disable_streams"
    DELETE = "delete"

    @property
    def flag(self) -> str:
        return f"--{self.replace('_', '-')}"


HELP: Final = {
    Action.CLEAR_DATA: "delete every item, keep the tables",
    Action.BACKUP: "create on-demand backups, and wait until they are AVAILABLE",
    Action.DISABLE_STREAMS: "turn DynamoDB Streams off",
    Action.DELETE: "delete the tables, and first their replicas in other regions",
}
FULL_CLEANUP: Final = (Action.BACKUP, Action.DELETE)
MENU: Final[tuple[tuple[str, Sequence[Action]], ...]] = (
    ("Clear data: delete every item, keep the tables", (Action.CLEAR_DATA,)),
    ("Create backups", (Action.BACKUP,)),
    ("Disable streams", (Action.DISABLE_STREAMS,)),
    ("Delete the tables", (Action.DELETE,)),
    ("Full cleanup: create backups, then delete the tables", FULL_CLEANUP),
    ("Leave everything as it is", ()),
)
_PLANS: Final = {
    Action.BACKUP: "back up",
    Action.CLEAR_DATA: "delete every item of",
    Action.DISABLE_STREAMS: "turn off the stream of",
    Action.DELETE: "delete table",
}
DESTRUCTIVE: Final = (Action.CLEAR_DATA, Action.DELETE)


def plan_line(action: Action, table: NamedTable, live: TableDescription) -> str:
    line = f"{_PLANS[action]} {table.name}"
    regions = ", ".join(removal.replica_regions(live))
    if regions and action is Action.CLEAR_DATA:
        line += f", and so of its replicas in {regions}"
    if regions and action is Action.DELETE:
        line += f", after its replicas in {regions}"
    return line


def standing_line(live: TableDescription, counted: int | None = None) -> str:
    """A table as it stands, in one line; ``counted`` is how many items it holds where that is known."""
    words = [live.status]
    if counted is not None:
        words.append(items(counted))
    elif live.item_count is not None:
        words.append(items(live.item_count))
    if counted is None and live.size_bytes is not None:
        words.append(filesizeformat(live.size_bytes).replace("\xa0", " "))
    words.append("stream on" if live.stream.enabled else "stream off")
    if regions := removal.replica_regions(live):
        words.append(f"replicas in {' '.join(regions)}")
    if live.deletion_protection:
        words.append("protected against deletion")
    return ", ".join(words)


def items(number: int) -> str:
    return f"{number:,} item" if number == 1 else f"{number:,} items"


def command_line(actions: Sequence[Action], options: dict[str, Any]) -> str:
    """This command, for these actions on the same tables."""
    words = ["python", "manage.py", "dynamodb_teardown", *(action.flag for action in actions)]
    words += ["--yes"] if options["yes"] else []
    for option in ("sessions_table", "events_table", "region"):
        if options[option]:
            words += [f"--{option.replace('_', '-')}", options[option]]
    return shlex.join(words)
