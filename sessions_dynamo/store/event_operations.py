"""What is asked of the events table: what a session's streams carried, in order, for replay and for people.

An event is one item, or several when its text is over ``PART_BYTES``. A session's events sort as they happened:
stream ids begin with the time, and sequences have a fixed width.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final, Self

from sessions_dynamo import metrics, schema
from sessions_dynamo.conf import conf, forget_on_change
from sessions_dynamo.errors import StorageError
from sessions_dynamo.operations import Operation
from sessions_dynamo.schema import EventKind
from sessions_dynamo.store import batches, queries
from sessions_dynamo.store.event_items import EVENT_KINDS, Event, Item, before_their_end, by_time, encode, join, whole
from sessions_dynamo.store.times import seconds

logger = logging.getLogger(__name__)

TRIM_SHARE: Final = 10
"""A session's events are trimmed once in ``max_events / TRIM_SHARE`` events, on average."""


class EventOperations:
    """Stores, replays, counts and trims events. One serves a whole process, whatever drives it."""

    def __init__(self, table: str, *, event_ttl: timedelta, max_events: int) -> None:
        self.table = table
        self.event_ttl = event_ttl
        self.max_events = max_events

    @classmethod
    def from_settings(cls) -> Self:
        """The operations on the table that the settings describe."""
        return cls(
            conf.DYNAMODB_EVENTS_TABLE,
            event_ttl=timedelta(hours=conf.EVENT_TTL_HOURS),
            max_events=conf.MAX_EVENTS_PER_SESSION,
        )

    def store(self, session_id: str, event_type: str, data: str, *, retry: int | None = None) -> Operation[Event]:
        """Store one event as a stream of its own; its id sorts after every earlier one's."""
        event = Event(session_id, schema.time_ordered_id(), 0, event_type, data, datetime.now(UTC), retry)
        yield from self.append([event])
        return event

    def append(self, events: Sequence[Event]) -> Operation[None]:
        """Store events of one session: one BatchWriteItem for each 25 items.

        The caller owns their streams and numbers their sequences. Raises ``EventTooLarge`` before any write.
        """
        encoded = [self.encode(event) for event in events]
        # The parts first: whoever sees an event sees all of it.
        yield from batches.put(self.table, [part for _, parts in encoded for part in parts])
        yield from batches.put(self.table, [item for item, _ in encoded])
        if events:
            yield from self.trim_by_chance(events[0].session_id, len(events))

    def after(self, session_id: str, event_id: str, *, limit: int | None = None) -> Operation[list[Event]]:
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
        return (yield from self._read(session_id, first, last, limit=limit))

    def since(self, session_id: str, event_id: str = "0", *, limit: int | None = None) -> Operation[list[Event]]:
        """The session's events of all streams that sort after an id, in order; by default all of them."""
        return self._read(session_id, f"{event_id}~", schema.STREAMS_END, limit=limit)

    def recent(self, session_id: str, limit: int = 50) -> Operation[list[Event]]:
        """The session's newest events, at most ``limit``, oldest first."""

        def newest(items: Iterable[Item]) -> list[Event]:
            events: list[Event] = []
            parts: list[Item] = []
            for item in items:
                kind = schema.kind_of(session_id, item["event_id"]["S"])
                if kind is EventKind.PART:
                    parts.append(item)
                elif kind in EVENT_KINDS:
                    events += whole([item, *parts])
                    parts = []
            return before_their_end(events)[:limit]

        items = yield from self._query(
            session_id,
            "0",
            schema.STREAMS_END,
            newest_first=True,
            page=limit,
            enough=lambda items: len(newest(items)) == limit,
        )
        return newest(items)[::-1]

    def get(self, session_id: str, event_id: str) -> Operation[Event | None]:
        """One event, whole; ``None`` where there is none, or parts of it are missing. One request for 1 MB."""
        if schema.parse_event_id(event_id) is None:
            return None
        return next(join((yield from self._query(session_id, event_id, f"{event_id}.:"))), None)

    def newest(self, session_id: str, stream_id: str) -> Operation[int]:
        """The sequence of a stream's newest event, its end apart; -1 without one. One request."""
        first, last = schema.event_id(stream_id, 0), schema.end_id(stream_id)
        items = yield from self._query(
            session_id,
            first,
            last,
            newest_first=True,
            keys_only=True,
            page=10,
            enough=lambda items: any(_is_of_sequence(item) for item in items),
        )
        return next((_sequence(item) for item in items if _is_of_sequence(item)), -1)

    def count(self, session_id: str) -> Operation[int]:
        """How many events the session has stored; what lies behind a stream's end is none."""
        items = yield from self._query(session_id, "0", schema.STREAMS_END, keys_only=True)
        return len(by_time(session_id, items)[0])

    def delete_before(self, session_id: str, event_id: str) -> Operation[int]:
        """Delete the session's events that sort before an id; how many there were."""
        items = yield from self._query(session_id, "0", event_id, keys_only=True)
        keys = [item["event_id"]["S"] for item in items]
        return (
            yield from self._delete(session_id, [key for key in keys if key < event_id and _is_event(session_id, key)])
        )

    def trim(self, session_id: str) -> Operation[int]:
        """Delete the oldest events over ``max_events``; how many.

        By their own time, not by their stream's: a standalone stream is as old as its session. Where the end of a
        stream goes its lease goes too, so that nobody takes the stream for one whose worker died.
        """
        items = yield from self._query(session_id, "0", schema.STREAMS_END, keys_only=True)
        keys_by_event, behind = by_time(session_id, items)
        oldest = sorted(keys_by_event)[: -self.max_events]
        ended = [key.removesuffix(".~") for _, key in oldest if schema.kind_of(session_id, key) is EventKind.END]
        yield from self._delete(session_id, [key for event in oldest for key in keys_by_event[event]] + behind)
        yield from self._delete(session_id, [schema.lease_id(stream_id) for stream_id in ended])
        return len(oldest)

    def trim_by_chance(self, session_id: str, stored: int) -> Operation[None]:
        """Trim once in so many events stored; never raises for a trim that failed.

        By chance rather than by a counter: no read, no shared state, and right for any number of workers.
        """
        metrics.count("EventsStored", stored)  # Here, because every way of storing ends here.
        if random.random() * self.max_events < TRIM_SHARE * stored:  # noqa: S311
            try:
                yield from self.trim(session_id)
            except StorageError as exc:
                # The events are stored, which is what was asked for; a later trim finds the same ones.
                logger.warning("The events of a session were not trimmed: %s", exc)

    def delete(self, session_id: str) -> Operation[int]:
        """Delete every item of the session, of every kind; how many there were."""
        query: queries.Query | None = self._keys(session_id)
        deleted, keys = 0, list[Item]()
        while query is not None:
            page = yield from queries.query_page(query)
            query = page.following
            keys += page.items
            # What does not fill a batch waits for the next page.
            ready = len(keys) - len(keys) % batches.WRITE_SIZE if query else len(keys)
            deleted += yield from batches.delete(self.table, keys[:ready])
            del keys[:ready]
        return deleted

    def item_keys(self, session_id: str) -> Operation[list[Item]]:
        """The key of every item that the session has, of every kind: what ``delete`` would delete."""
        return (yield from queries.query_all(**self._keys(session_id)))

    # --- Inside -----------------------------------------------------------------------------------------------

    def encode(self, event: Event) -> tuple[Item, list[Item]]:
        """The item of an event stored now, and the items of its further parts; raises ``EventTooLarge``."""
        return encode(event, self._ttl())

    def _ttl(self) -> Item:
        return seconds(datetime.now(UTC) + self.event_ttl)

    def _partition(self, session_id: str) -> dict[str, Any]:
        """A Query of all that the session has, expired or not."""
        return {
            "TableName": self.table,
            "KeyConditionExpression": "session_id = :session",
            "ExpressionAttributeValues": {":session": {"S": session_id}},
            "ConsistentRead": True,
        }

    def _keys(self, session_id: str) -> dict[str, Any]:
        return self._partition(session_id) | {"ProjectionExpression": "session_id, event_id"}

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
        enough: Callable[[list[Item]], bool] | None = None,
    ) -> Operation[list[Item]]:
        if first > last:  # Nothing sorts between them, and DynamoDB refuses to be asked.
            return []
        query = self._between(session_id, first, last) | {"ScanIndexForward": not newest_first}
        if keys_only:
            query["ProjectionExpression"] = "session_id, event_id, #timestamp, #last"
            query["ExpressionAttributeNames"] |= {"#timestamp": "timestamp", "#last": "last"}
        if page is not None:
            query["Limit"] = page
        return (yield from queries.query_all(enough=enough, **query))

    def _read(self, session_id: str, first: str, last: str, *, limit: int | None) -> Operation[list[Event]]:
        if limit is None:
            return before_their_end(list(join((yield from self._query(session_id, first, last)))))
        # One item more than events wanted: the last event is whole when the next item is another's.
        items = yield from self._query(
            session_id, first, last, page=limit + 1, enough=lambda items: len(list(join(items))) >= limit
        )
        return before_their_end(list(join(items))[:limit])

    def _delete(self, session_id: str, keys: Iterable[str]) -> Operation[int]:
        keys = list(keys)
        yield from batches.delete(
            self.table, [{"session_id": {"S": session_id}, "event_id": {"S": key}} for key in keys]
        )
        return sum(schema.kind_of(session_id, key) in EVENT_KINDS for key in keys)


@cache
def default_operations() -> EventOperations:
    """The process's, made on first use."""
    return EventOperations.from_settings()


def _is_event(session_id: str, key: str) -> bool:
    """Whether an item is an event or part of one; a lease and what waits behind it outlive the events."""
    return schema.kind_of(session_id, key) in {*EVENT_KINDS, EventKind.PART}


def _sequence(item: Item) -> int:
    place = schema.parse_event_id(item["event_id"]["S"])
    return -1 if place is None else place[1]


def _is_of_sequence(item: Item) -> bool:
    return 0 <= _sequence(item) < schema.END_SEQUENCE


forget_on_change(default_operations.cache_clear, "DYNAMODB_", "AWS_", "EVENT_TTL_HOURS", "MAX_EVENTS_")
