"""The store of events: what a session's streams carried, in order, for replay and for people.

An event is one item, or several when its text is over ``PART_BYTES``. A session's events sort as they happened:
stream ids begin with the time, and sequences have a fixed width.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Self

from django.conf import settings
from django.core.signals import setting_changed

from sessions_dynamo import batches, client, metrics, pages, schema
from sessions_dynamo.errors import EventTooLarge, StorageError
from sessions_dynamo.schema import EventKind

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

logger = logging.getLogger(__name__)

PART_BYTES: Final = 350 * 1024
"""The text of one item; DynamoDB refuses items over 400 KB."""
MAX_EVENT_BYTES: Final = 16 * 1024 * 1024
TRIM_SHARE: Final = 10
"""A session's events are trimmed once in ``max_events / TRIM_SHARE`` events, on average."""

Item = dict[str, Any]

_EVENTS: Final = frozenset({EventKind.EVENT, EventKind.END})
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

    @property
    def event_id(self) -> str:
        """What the wire calls the event's id, and a client returns as ``Last-Event-ID``."""
        return schema.event_id(self.stream_id, self.sequence)


@dataclass(slots=True)
class Stored:
    """What the index tells of one session's items: since when there are any (ms), and how many are events."""

    since: int
    events: int = 0


class EventStore:
    """Stores, replays, counts and trims events. Thread-safe: one serves a whole process."""

    def __init__(self, dynamodb: DynamoDBClient, table: str, *, event_ttl: timedelta, max_events: int) -> None:
        self.dynamodb = dynamodb
        self.table = table
        self.event_ttl = event_ttl
        self.max_events = max_events

    @classmethod
    def from_settings(cls, *, quick: bool = False) -> Self:
        """The store that the settings describe; ``quick`` is for pages."""
        return cls(
            client.dynamodb(quick=quick),
            settings.DYNAMODB_EVENTS_TABLE,
            event_ttl=timedelta(hours=settings.EVENT_TTL_HOURS),
            max_events=settings.MAX_EVENTS_PER_SESSION,
        )

    def store(self, session_id: str, event_type: str, data: str, *, retry: int | None = None) -> Event:
        """Store one event as a stream of its own; its id sorts after every earlier one's."""
        event = Event(session_id, schema.time_ordered_id(), 0, event_type, data, datetime.now(UTC), retry)
        self.append([event])
        return event

    def append(self, events: Sequence[Event]) -> None:
        """Store events of one session: one BatchWriteItem for each 25 items.

        The caller owns their streams and numbers their sequences. Raises ``EventTooLarge`` before any write.
        """
        encoded = [self.encode(event) for event in events]
        # The parts first: whoever sees an event sees all of it.
        batches.put(self.dynamodb, self.table, [part for _, parts in encoded for part in parts])
        batches.put(self.dynamodb, self.table, [item for item, _ in encoded])
        if events:
            self.trim_by_chance(events[0].session_id, len(events))

    def after(self, session_id: str, event_id: str, *, limit: int | None = None) -> list[Event]:
        """The events of one stream after one of its events, in order; consistent. Empty for an id of no stream.

        Never another stream's events: Streamable HTTP, "Resumability and Redelivery".
        """
        position = schema.parse_event_id(event_id)
        if position is None:
            return []
        stream_id, sequence = position
        if sequence == schema.END_SEQUENCE:
            return []
        first, last = schema.event_id(stream_id, sequence + 1), schema.after_stream(stream_id)
        return self._read(session_id, first, last, limit=limit)

    def since(self, session_id: str, event_id: str = "0", *, limit: int | None = None) -> list[Event]:
        """The session's events of all streams that sort after an id, in order; by default all of them."""
        return self._read(session_id, f"{event_id}~", schema.STREAMS_END, limit=limit)

    def recent(self, session_id: str, limit: int = 50) -> list[Event]:
        """The session's newest events, at most ``limit``, oldest first."""
        items = self._query(session_id, "0", schema.STREAMS_END, newest_first=True, page=limit)
        newest: list[Event] = []
        parts: list[Item] = []
        for item in items:
            kind = schema.kind_of(session_id, item["event_id"]["S"])
            if kind is EventKind.PART:
                parts.append(item)
            elif kind in _EVENTS:
                newest += _whole([item, *parts])
                parts = []
                if len(newest) == limit:
                    break
        return newest[::-1]

    def get(self, session_id: str, event_id: str) -> Event | None:
        """One event, whole; ``None`` where there is none, or parts of it are missing. One request for 1 MB."""
        if schema.parse_event_id(event_id) is None:
            return None
        return next(_join(self._query(session_id, event_id, f"{event_id}.:")), None)

    def count(self, session_id: str) -> int:
        """How many events the session has stored."""
        query = self._between(session_id, "0", schema.STREAMS_END)
        query["FilterExpression"] += " AND attribute_exists(event_type)"
        return pages.count_all(self.dynamodb, **query)

    def delete_before(self, session_id: str, event_id: str) -> int:
        """Delete the session's events that sort before an id; how many there were."""
        keys = [item["event_id"]["S"] for item in self._query(session_id, "0", event_id, keys_only=True)]
        return self._delete(session_id, [key for key in keys if key < event_id and _is_event(session_id, key)])

    def trim(self, session_id: str) -> int:
        """Delete the oldest events over ``max_events``; how many.

        By their own time, not by their stream's: a standalone stream is as old as its session. Where the end of a
        stream goes its lease goes too, so that nobody takes the stream for one whose worker died.
        """
        keys_by_event: dict[tuple[int, str], list[str]] = {}
        keys: list[str] = []
        for item in self._query(session_id, "0", schema.STREAMS_END, keys_only=True):
            key = item["event_id"]["S"]
            kind = schema.kind_of(session_id, key)
            if kind in _EVENTS:
                keys = keys_by_event[int(item["timestamp"]["N"]), key] = [key]
            elif kind is EventKind.PART and keys and key.startswith(f"{keys[0]}."):
                keys.append(key)
        oldest = sorted(keys_by_event)[: -self.max_events]
        ended = [key.removesuffix(".~") for _, key in oldest if schema.kind_of(session_id, key) is EventKind.END]
        self._delete(session_id, [key for event in oldest for key in keys_by_event[event]])
        self._delete(session_id, [schema.lease_id(stream_id) for stream_id in ended])
        return len(oldest)

    def trim_by_chance(self, session_id: str, stored: int) -> None:
        """Trim once in so many events stored; never raises for a trim that failed.

        By chance rather than by a counter: no read, no shared state, and right for any number of workers.
        """
        metrics.count("EventsStored", stored)  # Here, because every way of storing ends here.
        if random.random() * self.max_events < TRIM_SHARE * stored:  # noqa: S311
            try:
                self.trim(session_id)
            except StorageError as exc:
                # The events are stored, which is what was asked for; a later trim finds the same ones.
                logger.warning("The events of a session were not trimmed: %s", exc)

    def delete(self, session_id: str) -> int:
        """Delete every item of the session, of every kind; how many there were."""
        query = self._partition(session_id) | {"ProjectionExpression": "session_id, event_id"}
        return batches.delete(self.dynamodb, self.table, pages.query_all(self.dynamodb, **query))

    def count_items(self, session_id: str) -> int:
        """How many items of every kind the session has: what ``delete`` would delete."""
        return pages.count_all(self.dynamodb, **self._partition(session_id))

    def stored_by_session(self, shard: str) -> dict[str, Stored]:
        """What one index shard's sessions have stored, by session, with what has expired and is not deleted yet.

        By one Query of the index, keys only and eventually consistent: no item is read.
        """
        index = schema.TIMESTAMP_INDEX
        found: dict[str, Stored] = {}
        for row in pages.query_all(
            self.dynamodb,
            TableName=self.table,
            IndexName=index.name,
            KeyConditionExpression="#shard = :shard",
            ExpressionAttributeNames={"#shard": index.partition.name},
            ExpressionAttributeValues={":shard": {"S": shard}},
        ):
            session_id, key = row["session_id"]["S"], row["event_id"]["S"]
            stored = found.setdefault(session_id, Stored(int(row[index.sort.name]["N"])))
            stored.events += schema.kind_of(session_id, key) in _EVENTS
        return found

    # --- Inside -----------------------------------------------------------------------------------------------

    def encode(self, event: Event) -> tuple[Item, list[Item]]:
        """The item of an event, and the items of its further parts; raises ``EventTooLarge``."""
        texts = cut(event.data)
        # One for all: a part that expired before the rest would leave half a text.
        ttl = self._ttl()
        return self._item(event, texts, ttl), list(self._parts(event, texts, ttl))

    def _item(self, event: Event, texts: Sequence[str], ttl: Item) -> Item:
        item: Item = {
            "session_id": {"S": event.session_id},
            "event_id": {"S": event.event_id},
            "event_type": {"S": event.event_type},
            "data": {"S": texts[0]},
            "timestamp": {"N": str(round(event.timestamp.timestamp() * 1000))},
            "shard": {"S": schema.shard(event.session_id)},
            schema.TTL_ATTRIBUTE: ttl,
        }
        if event.retry is not None:
            item["retry"] = {"N": str(event.retry)}
        if len(texts) > 1:
            item["parts"] = {"N": str(len(texts) - 1)}
        return item

    def _parts(self, event: Event, texts: Sequence[str], ttl: Item) -> Iterator[Item]:
        for number, text in enumerate(texts[1:], 1):
            yield {
                "session_id": {"S": event.session_id},
                "event_id": {"S": schema.part_id(event.event_id, number)},
                "data": {"S": text},
                schema.TTL_ATTRIBUTE: ttl,
            }

    def _ttl(self) -> Item:
        return {"N": str(int((datetime.now(UTC) + self.event_ttl).timestamp()))}

    def _partition(self, session_id: str) -> dict[str, Any]:
        """A Query of all that the session has, expired or not."""
        return {
            "TableName": self.table,
            "KeyConditionExpression": "session_id = :session",
            "ExpressionAttributeValues": {":session": {"S": session_id}},
            "ConsistentRead": True,
        }

    def _between(self, session_id: str, first: str, last: str) -> dict[str, Any]:
        """A Query that leaves out what has expired: Time to Live deletes late, and the parts of an event one by one."""
        return {
            "TableName": self.table,
            "KeyConditionExpression": "session_id = :session AND event_id BETWEEN :first AND :last",
            "FilterExpression": "#ttl > :now",
            "ExpressionAttributeNames": {"#ttl": schema.TTL_ATTRIBUTE},
            "ExpressionAttributeValues": {
                ":session": {"S": session_id},
                ":first": {"S": first},
                ":last": {"S": last},
                ":now": {"N": str(schema.now_ms() // 1000)},
            },
            "ConsistentRead": True,
        }

    def _query(
        self,
        session_id: str,
        first: str,
        last: str,
        *,
        newest_first: bool = False,
        keys_only: bool = False,
        page: int | None = None,
    ) -> Iterator[Item]:
        if first > last:  # Nothing sorts between them, and DynamoDB refuses to be asked.
            return iter(())
        query = self._between(session_id, first, last) | {"ScanIndexForward": not newest_first}
        if keys_only:
            query["ProjectionExpression"] = "session_id, event_id, #timestamp"
            query["ExpressionAttributeNames"] |= {"#timestamp": "timestamp"}
        if page is not None:
            query["Limit"] = page
        return pages.query_all(self.dynamodb, **query)

    def _read(self, session_id: str, first: str, last: str, *, limit: int | None) -> list[Event]:
        # One item more than events wanted: the last event is whole when the next item is another's.
        page = None if limit is None else limit + 1
        return list(islice(_join(self._query(session_id, first, last, page=page)), limit))

    def _delete(self, session_id: str, keys: Iterable[str]) -> int:
        keys = list(keys)
        batches.delete(
            self.dynamodb, self.table, [{"session_id": {"S": session_id}, "event_id": {"S": key}} for key in keys]
        )
        return sum(schema.kind_of(session_id, key) in _EVENTS for key in keys)


@cache
def default_store() -> EventStore:
    """The process's store, made on first use."""
    return EventStore.from_settings()


def _is_event(session_id: str, key: str) -> bool:
    """Whether an item is an event or part of one; a lease and what waits behind it outlive the events."""
    return schema.kind_of(session_id, key) in {*_EVENTS, EventKind.PART}


def cut(text: str) -> list[str]:
    """A text in parts of at most ``PART_BYTES`` of UTF-8, no character divided."""
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


def _join(items: Iterable[Item]) -> Iterator[Event]:
    """Events of items in key order, parts joined; leases and ends are passed over."""
    pending: list[Item] = []
    for item in items:
        kind = schema.kind_of(item["session_id"]["S"], item["event_id"]["S"])
        if kind is EventKind.PART and pending:
            pending.append(item)
            continue
        yield from _whole(pending)
        pending = [item] if kind in _EVENTS else []
    yield from _whole(pending)


def _whole(items: Sequence[Item]) -> Iterator[Event]:
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
        timestamp=datetime.fromtimestamp(int(first["timestamp"]["N"]) / 1000, UTC),
        retry=int(first["retry"]["N"]) if "retry" in first else None,
    )


def _forget(*, setting: str, **_: object) -> None:
    if setting.startswith(("DYNAMODB_", "AWS_")) or setting in {"EVENT_TTL_HOURS", "MAX_EVENTS_PER_SESSION"}:
        default_store.cache_clear()


setting_changed.connect(_forget)
