"""What happened lately, told from the newest rows of the time indexes: one Query a shard, whatever the tables hold.

Index reads are eventually consistent. What has expired counts as gone, deleted or not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from sessions_dynamo import schema
from sessions_dynamo.errors import boto_errors
from sessions_dynamo.reading import entries, index_pages
from sessions_dynamo.schema import EventKind
from sessions_dynamo.store import batches
from sessions_dynamo.store.events import EventStore
from sessions_dynamo.store.sessions import SessionStore

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

MAX_ROWS: Final = 1000
"""Index rows of a sample, over all shards."""
MAX_CALLS: Final = 5 * batches.GET_SIZE
"""Served calls whose items are read for their outcome, in 5 requests; no index has it."""

Item = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Sample:
    """When things of one sort happened, newest first: all of them since ``since``.

    ``is_cut`` where there were more than a sample holds, so that ``since`` is later than was asked for.
    """

    times: tuple[datetime, ...]
    since: datetime
    is_cut: bool = False

    def after(self, moment: datetime) -> int:
        """How many were at a moment or later; at least so many, where the sample is cut short of it."""
        return sum(at >= moment for at in self.times)

    def reaches(self, moment: datetime) -> bool:
        """Whether the sample has everything since a moment."""
        return self.since <= moment


@dataclass(frozen=True, slots=True)
class Traffic:
    """Stored events, and answered ``tools/call`` requests, among them those that failed."""

    events: Sample
    tool_calls: Sample
    tool_errors: Sample


def created(store: SessionStore, since: datetime) -> Sample:
    """When the sessions that are still stored were created."""
    return _sample(_rows(store.dynamodb, store.table, schema.CREATED_AT_INDEX, since))


def active(store: SessionStore, since: datetime) -> Sample:
    """When sessions were last active, to the minute; terminated ones are among them. Only those within the TTL."""
    oldest = datetime.now(UTC) - store.session_ttl
    return _sample(_rows(store.dynamodb, store.table, schema.LAST_ACTIVITY_INDEX, max(since, oldest)))


def traffic(store: EventStore, since: datetime) -> Traffic:
    """Events and tool calls within their TTL. At most 5 BatchGetItems besides the Queries, for the calls' outcomes."""
    oldest = datetime.now(UTC) - store.event_ttl
    found = _rows(store.dynamodb, store.table, schema.TIMESTAMP_INDEX, max(since, oldest))
    calls = _narrowed(found, lambda row: _kind(row) is EventKind.CALL)
    if len(calls.rows) > MAX_CALLS:
        read = calls.rows[:MAX_CALLS]
        calls = _Found(read, _at(read[-1], calls.sort), calls.sort, is_cut=True)
    keys = [{key.name: row[key.name] for key in schema.EVENTS.keys} for row in calls.rows]
    served = [entry for entry in entries.get_many(store, keys) if entry.call and entry.call.method == "tools/call"]

    def sample(times: Iterable[datetime]) -> Sample:
        return Sample(tuple(times), calls.since, calls.is_cut)

    return Traffic(
        events=_sample(_narrowed(found, lambda row: _kind(row) in (EventKind.EVENT, EventKind.END))),
        tool_calls=sample(entry.at for entry in served),
        tool_errors=sample(entry.at for entry in served if entry.is_failed),
    )


# --- Inside ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Found:
    """Rows of an index, newest first: all of them since ``since``."""

    rows: list[Item]
    since: datetime
    sort: str
    is_cut: bool


def _rows(dynamodb: DynamoDBClient, table: str, index: schema.Index, since: datetime) -> _Found:
    """The newest rows of every shard, as far back as all shards were read."""

    def read(shard: str) -> tuple[list[Item], bool]:
        with boto_errors(table):
            answer = dynamodb.query(
                TableName=table,
                IndexName=index.name,
                KeyConditionExpression="#shard = :shard AND #sort >= :since",
                # By placeholder: "shard" and "timestamp" are reserved words.
                ExpressionAttributeNames={"#shard": index.partition.name, "#sort": index.sort.name},
                ExpressionAttributeValues={":shard": {"S": shard}, ":since": {"N": str(entries.to_ms(since))}},
                ScanIndexForward=False,
                Limit=MAX_ROWS // len(index_pages.SHARDS),
            )
        return answer["Items"], "LastEvaluatedKey" in answer

    with ThreadPoolExecutor(len(index_pages.SHARDS)) as pool:
        answers = list(pool.map(read, index_pages.SHARDS))
    # A shard that has more is known back to its last row only, and so are all of them together.
    ends = [_at(rows[-1], index.sort.name) for rows, has_more in answers if rows and has_more]
    reached = max([since, *ends])
    rows = [row for found, _ in answers for row in found if _at(row, index.sort.name) >= reached]
    rows.sort(key=lambda row: int(row[index.sort.name]["N"]), reverse=True)
    return _Found(rows, reached, index.sort.name, is_cut=bool(ends))


def _narrowed(found: _Found, test: Callable[[Item], bool]) -> _Found:
    return _Found([row for row in found.rows if test(row)], found.since, found.sort, found.is_cut)


def _sample(found: _Found) -> Sample:
    return Sample(tuple(_at(row, found.sort) for row in found.rows), found.since, found.is_cut)


def _at(row: Item, sort: str) -> datetime:
    return entries.from_ms(int(row[sort]["N"]))


def _kind(row: Item) -> EventKind:
    return schema.kind_of(row["session_id"]["S"], row["event_id"]["S"])
