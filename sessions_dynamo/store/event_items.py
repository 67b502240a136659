"""An event's items: one, or several when its text is over ``PART_BYTES``, and the event that they are again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sessions_dynamo import schema
from sessions_dynamo.errors import EventTooLarge
from sessions_dynamo.schema import EventKind
from sessions_dynamo.store.times import from_ms, to_ms

PART_BYTES: Final = 350 * 1024
"""The text of one item; DynamoDB refuses items over 400 KB."""


MAX_EVENT_BYTES: Final = 16 * 1024 * 1024


Item = dict[str, Any]


EVENT_KINDS: Final = frozenset({EventKind.EVENT, EventKind.END})
"""The end of a stream is its last event: the response."""


@dataclass(frozen=True, slots=True)
class Event:
    """One stored event. ``data`` is JSON text, empty for a priming event; ``retry`` is in milliseconds."""

    session_id: str
    stream_id: str
    sequence: int
    event_type: str
    """The JSON-RPC method, or ``response``, ``error`` or ``priming``."""
    data: str
    timestamp: datetime
    retry: int | None = None
    last: int | None = field(default=None, compare=False)
    """Of a stream's end: the sequence of the event before it, -1 without one. What has a higher one lies behind it."""

    @property
    def event_id(self) -> str:
        """What the wire calls the event's id, and a client returns as ``Last-Event-ID``."""
        return schema.event_id(self.stream_id, self.sequence)


def cut(text: str) -> list[str]:
    """A text in parts of at most ``PART_BYTES`` of UTF-8, no character divided. Raises ``EventTooLarge``."""
    raw = text.encode()
    if len(raw) > MAX_EVENT_BYTES:
        raise EventTooLarge(f"An event of {len(raw)} bytes is over the limit of {MAX_EVENT_BYTES}.")
    parts: list[str] = []
    while len(raw) > PART_BYTES:
        end = PART_BYTES
        while raw[end] & 0xC0 == 0x80:  # A continuation byte: the character began earlier.
            end -= 1
        parts.append(raw[:end].decode())
        raw = raw[end:]
    return [*parts, raw.decode()]


def encode(event: Event, ttl: Item) -> tuple[Item, list[Item]]:
    """The item of an event, and the items of its further parts; raises ``EventTooLarge``.

    One ``ttl`` for all: a part that expired before the rest would leave half a text.
    """
    texts = cut(event.data)
    item: Item = {
        "session_id": {"S": event.session_id},
        "event_id": {"S": event.event_id},
        "event_type": {"S": event.event_type},
        "data": {"S": texts[0]},
        "timestamp": {"N": str(to_ms(event.timestamp))},
        "shard": {"S": schema.shard(event.session_id)},
        schema.TTL_ATTRIBUTE: ttl,
    }
    if event.retry is not None:
        item["retry"] = {"N": str(event.retry)}
    if event.last is not None:
        item["last"] = {"N": str(event.last)}
    if len(texts) > 1:
        item["parts"] = {"N": str(len(texts) - 1)}
    return item, [
        {
            "session_id": {"S": event.session_id},
            "event_id": {"S": schema.part_id(event.event_id, number)},
            "data": {"S": text},
            schema.TTL_ATTRIBUTE: ttl,
        }
        for number, text in enumerate(texts[1:], 1)
    ]


def join(items: Iterable[Item]) -> Iterator[Event]:
    """Events of items in key order, parts joined; leases and what waits behind them are passed over."""
    pending: list[Item] = []
    for item in items:
        kind = schema.kind_of(item["session_id"]["S"], item["event_id"]["S"])
        if kind is EventKind.PART and pending:
            pending.append(item)
            continue
        yield from whole(pending)
        pending = [item] if kind in EVENT_KINDS else []
    yield from whole(pending)


def whole(items: Sequence[Item]) -> Iterator[Event]:
    """The event of an item and the parts that stand behind it; nothing while parts of it are missing.

    Other parts may stand there too: of an event that is being stored, its parts first, or deleted.
    """
    if not items:
        return
    first, by_key = items[0], {item["event_id"]["S"]: item for item in items[1:]}
    event_id = first["event_id"]["S"]
    count = int(first["parts"]["N"]) if "parts" in first else 0
    keys = [schema.part_id(event_id, number) for number in range(1, count + 1)]
    position = schema.parse_event_id(event_id)
    if position is None or not by_key.keys() >= set(keys):
        return
    yield Event(
        session_id=first["session_id"]["S"],
        stream_id=position[0],
        sequence=position[1],
        event_type=first["event_type"]["S"],
        data="".join(item["data"]["S"] for item in (first, *(by_key[key] for key in keys))),
        timestamp=from_ms(int(first["timestamp"]["N"])),
        retry=int(first["retry"]["N"]) if "retry" in first else None,
        last=int(first["last"]["N"]) if "last" in first else None,
    )


def before_their_end(events: Sequence[Event]) -> list[Event]:
    """Events without those that lie behind their stream's end, where that is among them.

    An owner that stood still for longer than its lease may have put them down when others had ended its stream.
    """
    last = {event.stream_id: event.last for event in events if event.last is not None}
    if not last:
        return list(events)
    return [
        event
        for event in events
        if event.sequence == schema.END_SEQUENCE or event.sequence <= last.get(event.stream_id, event.sequence)
    ]


def by_time(session_id: str, items: Iterable[Item]) -> tuple[dict[tuple[int, str], list[str]], list[str]]:
    """The keys of each event and its parts, by the event's time and key; and those that lie behind a stream's end."""
    found: dict[tuple[int, str], list[str]] = {}
    last: dict[str, int] = {}
    keys: list[str] = []
    for item in items:
        key = item["event_id"]["S"]
        kind = schema.kind_of(session_id, key)
        if kind in EVENT_KINDS:
            keys = found[int(item["timestamp"]["N"]), key] = [key]
            if "last" in item:
                last[key.removesuffix(".~")] = int(item["last"]["N"])
        elif kind is EventKind.PART and keys and key.startswith(f"{keys[0]}."):
            keys.append(key)
    if not last:
        return found, []
    behind = [
        event
        for event in found
        if (place := schema.parse_event_id(event[1]))
        and schema.END_SEQUENCE > place[1] > last.get(place[0], schema.END_SEQUENCE)
    ]
    return found, [key for event in behind for key in found.pop(event)]
