"""What is new since a page was read: the time index, asked again and again for little.

Calls are recorded a second late, the index follows its table later still, and clocks differ: each look goes
``OVERLAP_MS`` further back than the last one, and passes over what was shown already.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from django.core import signing

from sessions_dynamo import schema
from sessions_dynamo.errors import boto_errors
from sessions_dynamo.reading import entries
from sessions_dynamo.reading.entries import Entry, Item
from sessions_dynamo.store.events import EventStore

OVERLAP_MS: Final = 5_000
MAX_AGE_MS: Final = 60_000
"""A tail that was not asked for so long is broken off: it would read all that happened meanwhile."""
MAX_ROWS: Final = 1000
"""Index rows that one Query reads."""
MAX_NEWS: Final = 100
"""Entries of one answer: one BatchGetItem."""
MAX_SEEN: Final = 150

_SALT: Final = "sessions_dynamo.tails"  # Of cursors that are out: a name that no move changes.


@dataclass(frozen=True, slots=True)
class Tail:
    """From where the next look begins (epoch ms), what was shown since, and when the session was last looked at."""

    since: int
    seen: tuple[int, ...] = ()
    checked: int = 0

    @property
    def age_ms(self) -> int:
        return schema.now_ms() - self.since

    @property
    def is_broken(self) -> bool:
        """Whether it is too old to go on from."""
        return self.age_ms > MAX_AGE_MS

    def has_seen(self, entry: Entry) -> bool:
        """Whether an entry was shown."""
        return _digest(entry.session_id, entry.key) in self.seen

    def encode(self) -> str:
        """The tail as a URL carries it."""
        return signing.dumps([self.since, self.seen, self.checked], salt=_SALT, compress=True)


@dataclass(frozen=True, slots=True)
class News:
    """Entries, newest first, and the tail to go on with; ``missed`` when there was more than is followed."""

    entries: list[Entry]
    tail: Tail
    missed: bool = False


def decode(text: str) -> Tail:
    """The tail of a URL; raises ``ValueError`` for one that was not made here."""
    try:
        since, seen, checked = signing.loads(text, salt=_SALT)
    except (signing.BadSignature, ValueError) as exc:
        raise ValueError("What was shown last is not known: load the page again.") from exc
    return Tail(since, tuple(seen), checked)


def begin(shown: Iterable[Entry]) -> Tail:
    """The tail of a page that was read just now and shows the newest entries."""
    now = schema.now_ms()
    return _following(now, [(entry.order[0], _digest(entry.session_id, entry.key)) for entry in shown], checked=now)


def of_session(store: EventStore, session_id: str, tail: Tail) -> News:
    """A session's news: one Query, and one BatchGetItem where there are any."""
    rows, missed = _rows(store, schema.shard(session_id), tail.since, session_id)
    return _news(store, rows, tail, missed, projection=())


def of_all(store: EventStore, tail: Tail) -> News:
    """Every session's news, without messages: one Query a shard, and one BatchGetItem where there are any."""
    shards = [str(number) for number in range(schema.SHARDS)]
    with ThreadPoolExecutor(schema.SHARDS) as pool:
        read = list(pool.map(lambda shard: _rows(store, shard, tail.since, None), shards))
    return _news(store, [row for rows, _ in read for row in rows], tail, any(missed for _, missed in read))


def _rows(store: EventStore, shard: str, since: int, session_id: str | None) -> tuple[list[Item], bool]:
    query: dict[str, Any] = {
        "TableName": store.table,
        "IndexName": schema.TIMESTAMP_INDEX.name,
        "KeyConditionExpression": "#shard = :shard AND #at > :since",
        "ExpressionAttributeNames": {"#shard": "shard", "#at": "timestamp"},
        "ExpressionAttributeValues": {":shard": {"S": shard}, ":since": {"N": str(since)}},
        "ScanIndexForward": False,
        "Limit": MAX_ROWS if session_id else MAX_NEWS,
    }
    if session_id:
        query["FilterExpression"] = "session_id = :session"
        query["ExpressionAttributeValues"][":session"] = {"S": session_id}
    with boto_errors(store.table):
        answer = store.dynamodb.query(**query)
    return answer["Items"], "LastEvaluatedKey" in answer


def _news(
    store: EventStore, rows: list[Item], tail: Tail, missed: bool, *, projection: tuple[str, ...] = entries.SUMMARY
) -> News:
    now, seen = schema.now_ms(), set(tail.seen)
    stamped = sorted(
        ((int(row["timestamp"]["N"]), _digest(row["session_id"]["S"], row["event_id"]["S"]), row) for row in rows),
        key=lambda row: row[:2],
        reverse=True,
    )
    fresh = [row for _, digest, row in stamped if digest not in seen]
    keys = [{key.name: row[key.name] for key in schema.EVENTS.keys} for row in fresh[:MAX_NEWS]]
    found = entries.get_many(store, keys, projection=projection) if keys else []
    following = _following(now, [(at, digest) for at, digest, _ in stamped], checked=tail.checked)
    return News(found, following, missed or len(fresh) > MAX_NEWS)


def _following(now: int, shown: list[tuple[int, int]], *, checked: int) -> Tail:
    since = now - OVERLAP_MS
    recent = sorted((at, digest) for at, digest in shown if at > since)
    if len(recent) > MAX_SEEN:
        # Too many to carry along: look less far back, rather than show one twice.
        recent = recent[-MAX_SEEN:]
        since = recent[0][0]
        recent = [row for row in recent if row[0] > since]
    return Tail(since, tuple(digest for _, digest in recent), checked)


def _digest(session_id: str, key: str) -> int:
    return zlib.crc32(f"{session_id}/{key}".encode())
