"""Events and served calls across sessions, newest first: the time index, merged from every shard."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, Final

from django.core import signing

from sessions_dynamo import schema
from sessions_dynamo.errors import boto_errors
from sessions_dynamo.reading import entries
from sessions_dynamo.reading.entries import Entry, Item, Show
from sessions_dynamo.schema import EventKind
from sessions_dynamo.store import batches
from sessions_dynamo.store.events import EventStore

_SALT: Final = "sessions_dynamo.event_list"  # Of cursors that are out: a name that no move changes.
MAX_ROWS: Final = 1000
"""Index rows that a filtered page reads before it offers to go on."""
MAX_READS: Final = 5
"""BatchGetItem requests of a filtered page: of 1,000 rows, as many are looked at as these hold."""

Positions = dict[str, list[str]]
"""By shard: time, session id and key of the last row that was passed; empty where there is no more."""


@dataclass(frozen=True, slots=True)
class EventPage:
    """One page, newest first; the cursor of the next, ``None`` on the last; and how many index rows were passed."""

    entries: list[Entry]
    next_cursor: str | None
    rows_read: int
    back_to: datetime | None
    """The time of the oldest row that was passed."""


def page(
    store: EventStore,
    *,
    show: Show = Show.ALL,
    type_: str = "",
    before: datetime | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> EventPage:
    """A page without messages: one Query a shard, one BatchGetItem, and with a filter at most ``MAX_READS``.

    A filter may leave a page short while there is more: then ``next_cursor`` goes on from there. A cursor that is
    damaged, or of another filter, raises ``ValueError``.
    """
    # With the time too: DynamoDB refuses a start key that lies outside of the key condition.
    salt = repr((_SALT, show.value, type_, before and entries.to_ms(before)))
    filtered = show is not Show.ALL or bool(type_)
    walk = _Walk(
        store,
        _decode(cursor, salt) if cursor else {},
        before,
        limit=2 * MAX_ROWS // schema.SHARDS if filtered else limit + 1,
    )
    test, found = entries.shows(show, type_), list[Entry]()
    at_once, reads = (batches.GET_SIZE, MAX_READS) if filtered else (limit, 1)
    for keys in islice(walk.keys(show, at_once), reads):
        found += [entry for entry in entries.get_many(store, keys) if test(entry)]
        if len(found) >= limit:
            break
    return EventPage(
        entries=found,
        next_cursor=None if walk.is_finished else signing.dumps(walk.positions, salt=salt, compress=True),
        rows_read=walk.passed,
        back_to=entries.from_ms(walk.oldest) if walk.oldest else None,
    )


class _Walk:
    """The index's rows, newest first, as far as one Query a shard reaches; knows what it has passed."""

    def __init__(self, store: EventStore, positions: Positions, before: datetime | None, *, limit: int) -> None:
        self.positions = positions
        self.passed = 0
        self.oldest = 0
        self._store = store
        self._before = before
        self._limit = limit
        self._shards = [str(number) for number in range(schema.SHARDS)]
        with ThreadPoolExecutor(schema.SHARDS) as pool:
            self._read = dict(zip(self._shards, pool.map(self._query, self._shards), strict=True))
        for shard, (rows, more) in self._read.items():
            if not rows and not more:
                positions[shard] = []

    @property
    def is_finished(self) -> bool:
        """Whether every row of every shard was passed."""
        return all(self.positions.get(shard) == [] for shard in self._shards)

    def keys(self, show: Show, at_once: int) -> Iterator[list[Item]]:
        """The keys of rows that a filter may show, so many at once."""
        keys: list[Item] = []
        for row in self._rows():
            # An index row has no type, but its key tells an event from a call.
            is_call = schema.kind_of(row["session_id"]["S"], row["event_id"]["S"]) is EventKind.CALL
            if show not in {Show.CALLS, Show.EVENTS} or is_call == (show is Show.CALLS):
                keys.append({key.name: row[key.name] for key in schema.EVENTS.keys})
            if len(keys) == at_once:
                yield keys
                keys = []
            if self.passed >= MAX_ROWS:
                break
        if keys:
            yield keys

    def _rows(self) -> Iterator[Item]:
        merged = heapq.merge(
            *(
                [(-int(row["timestamp"]["N"]), number, place, row) for place, row in enumerate(self._read[shard][0], 1)]
                for number, shard in enumerate(self._shards)
            )
        )
        for at, number, place, row in merged:
            shard = self._shards[number]
            rows, more = self._read[shard]
            is_last = place == len(rows)
            self.passed += 1
            self.oldest = -at
            self.positions[shard] = [] if is_last and not more else _position(row)
            yield row
            if is_last and more:
                return  # What the shard holds next may be newer than the next row of another.

    def _query(self, shard: str) -> tuple[list[Item], bool]:
        position = self.positions.get(shard)
        if position == []:
            return [], False
        query: dict[str, Any] = {
            "TableName": self._store.table,
            "IndexName": schema.TIMESTAMP_INDEX.name,
            "KeyConditionExpression": "#shard = :shard",
            "ExpressionAttributeNames": {"#shard": "shard"},
            "ExpressionAttributeValues": {":shard": {"S": shard}},
            "ScanIndexForward": False,
            "Limit": self._limit,
        }
        if self._before is not None:
            query["KeyConditionExpression"] += " AND #at < :before"
            query["ExpressionAttributeNames"]["#at"] = "timestamp"
            query["ExpressionAttributeValues"][":before"] = {"N": str(entries.to_ms(self._before))}
        if position:
            at, session_id, key = position
            query["ExclusiveStartKey"] = {
                "shard": {"S": shard},
                "timestamp": {"N": at},
                "session_id": {"S": session_id},
                "event_id": {"S": key},
            }
        with boto_errors(self._store.table):
            answer = self._store.dynamodb.query(**query)
        return answer["Items"], "LastEvaluatedKey" in answer


def _position(row: Item) -> list[str]:
    return [row["timestamp"]["N"], row["session_id"]["S"], row["event_id"]["S"]]


def _decode(cursor: str, salt: str) -> Positions:
    try:
        positions: Positions = signing.loads(cursor, salt=salt)
    except (signing.BadSignature, ValueError) as exc:
        raise ValueError("This page's cursor is damaged: begin again at the newest entries.") from exc
    return positions
