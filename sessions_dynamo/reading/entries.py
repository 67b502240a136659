"""What happened, one entry at a time, as staff read it: an event of a stream, or a served call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from sessions_dynamo import schema
from sessions_dynamo.errors import boto_errors
from sessions_dynamo.schema import EventKind
from sessions_dynamo.store import batches, calls
from sessions_dynamo.store.calls import Call
from sessions_dynamo.store.event_items import EVENT_KINDS, PART_BYTES
from sessions_dynamo.store.events import EventStore

Item = dict[str, Any]

SUMMARY: Final = (
    "session_id",
    "event_id",
    "timestamp",
    "event_type",
    "parts",
    "method",
    "tool",
    "outcome",
    "duration_ms",
    "request_bytes",
    "response_bytes",
)
"""What a list of many sessions' entries reads of each: everything but its message."""

MAX_KEY_BYTES: Final = 1024
"""Of a sort key: DynamoDB refuses to be asked for a longer one."""


class Show(StrEnum):
    """Which entries a list shows."""

    ALL = "all"
    FAILED = "failed"
    CALLS = "calls"
    EVENTS = "events"


@dataclass(frozen=True, slots=True)
class Entry:
    """An event or a served call. Both sort, within a session, by ``order``."""

    session_id: str
    key: str
    """The item's sort key: an event's id, or a call's."""
    at: datetime
    type: str
    """An event's type, or a call's method."""
    call: Call | None = None
    data: str | None = None
    """An event's JSON text, its first part where it has several; ``None`` where it was not read."""
    parts: int = 0
    """Further parts of an event's text, ``PART_BYTES`` each but the last."""

    @property
    def order(self) -> tuple[int, str]:
        """What a session's entries sort by, in time."""
        return to_ms(self.at), self.key

    @property
    def is_end(self) -> bool:
        """Whether it is a stream's end: its response."""
        return schema.is_end_id(self.key)

    @property
    def is_failed(self) -> bool:
        """Whether a call failed or a stream ended in an error."""
        return self.call.outcome != "ok" if self.call else self.type == "error"

    @property
    def stream_id(self) -> str | None:
        """An event's stream."""
        position = schema.parse_event_id(self.key)
        return position[0] if position else None

    @property
    def sequence(self) -> int | None:
        """An event's place in its stream; ``None`` for an end and for a call."""
        position = schema.parse_event_id(self.key)
        return position[1] if position and position[1] != schema.END_SEQUENCE else None

    @property
    def size(self) -> int | None:
        """The bytes of an event's text, as far as they are known; with further parts it is at least so many."""
        if self.parts:
            return self.parts * PART_BYTES
        return None if self.data is None else len(self.data.encode())


def decode(item: Item) -> Entry | None:
    """The entry of an item; ``None`` for every other kind of item, and for what looks like one and is none of ours."""
    kind = schema.kind_of(item["session_id"]["S"], item["event_id"]["S"])
    call = None
    if kind is EventKind.CALL:
        if not {"timestamp", "method", "outcome", "duration_ms", "request_bytes", "response_bytes"} <= item.keys():
            return None
        call = calls.decode(item)
    elif kind not in EVENT_KINDS or not {"timestamp", "event_type"} <= item.keys():
        return None
    return Entry(
        session_id=item["session_id"]["S"],
        key=item["event_id"]["S"],
        at=from_ms(int(item["timestamp"]["N"])),
        type=call.method if call else item["event_type"]["S"],
        call=call,
        data=item["data"]["S"] if "data" in item else None,
        parts=int(item["parts"]["N"]) if "parts" in item else 0,
    )


def shows(show: Show, type_: str = "") -> Callable[[Entry], bool]:
    """The test of a filter: the kind, and a type that is an event's type, a call's method or its tool."""

    def test(entry: Entry) -> bool:
        if show is Show.FAILED and not entry.is_failed:
            return False
        if show in {Show.CALLS, Show.EVENTS} and (entry.call is not None) != (show is Show.CALLS):
            return False
        return not type_ or type_ == entry.type or (entry.call is not None and type_ == entry.call.tool)

    return test


def get(store: EventStore, session_id: str, key: str) -> Entry | None:
    """One entry, by a consistent read; of a large event its first part. ``None`` where there is none. One request."""
    if len(key.encode()) > MAX_KEY_BYTES:
        return None
    with boto_errors(store.table):
        answer = store.dynamodb.get_item(
            TableName=store.table,
            Key={"session_id": {"S": session_id}, "event_id": {"S": key}},
            ConsistentRead=True,
        )
    return decode(answer["Item"]) if "Item" in answer else None


def get_many(store: EventStore, keys: Iterable[Item], *, projection: Sequence[str] = SUMMARY) -> list[Entry]:
    """The entries at these keys, those that are still there, in the keys' order: one request for 100."""
    keys = list(keys)
    items = store.drive(batches.get(store.table, keys, projection=projection))
    found = {_identity(item): decode(item) for item in items}
    return [entry for key in keys if (entry := found.get(_identity(key))) is not None]


def _identity(key: Item) -> tuple[str, str]:
    return key["session_id"]["S"], key["event_id"]["S"]


def to_ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def from_ms(at: int) -> datetime:
    return datetime.fromtimestamp(at / 1000, UTC)
