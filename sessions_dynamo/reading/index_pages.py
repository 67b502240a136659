"""Reading the time indexes: list pages merged from every partition, both ways.

A page's cursor holds, for each partition, the key of an index row: rows of one minute share a sort key, so a time alone
could not tell where a page ended.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from django.core import signing

from sessions_dynamo import schema
from sessions_dynamo.errors import boto_errors

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

T = TypeVar("T")
Item = dict[str, Any]
Positions = Mapping[str, list[str]]
"""By partition: the index sort key and the table's key values of a row; empty for a partition that is exhausted."""

_SALT: Final = "sessions_dynamo.pages"  # Of cursors that are out: a name that no move changes.
SHARDS: Final = tuple(str(number) for number in range(schema.SHARDS))


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list, and the cursors of its neighbours; ``None`` on the last and on the first."""

    items: list[T]
    next_cursor: str | None
    previous_cursor: str | None = None
    rows: int = 0
    """Index rows that were looked at for it."""
    goes_on: str | None = None
    """The cursor to go on with, where a filter's limit of rows ended the page before it was full."""


@dataclass(frozen=True, slots=True)
class Span:
    """What of an index a list shows: partitions, and the sort keys between two times (ms), both included."""

    index: schema.Index
    partitions: tuple[str, ...] = SHARDS
    newest_first: bool = True
    since: int | None = None
    until: int | None = None


class Stretch:
    """Rows of a list from a cursor on, in the direction of reading: away from the first page, or back to it."""

    def __init__(
        self, span: Span, table: schema.Table, start: _Start, rows: dict[str, list[Item]], unread: set[str], limit: int
    ) -> None:
        self.is_backwards = start.is_backwards
        self._span = span
        self._table = table
        self._start = start
        self._rows = rows
        self._unread = unread
        self._merged = list(islice(self._merge(), limit))

    @property
    def keys(self) -> list[Item]:
        """The table's keys of the rows, in order."""
        return [{key.name: row[key.name] for key in self._table.keys} for _, row in self._merged]

    def cursors(self, taken: int, salt: str) -> tuple[str | None, str | None]:
        """The cursors of the previous and the next page, for a page that shows the first ``taken`` rows."""
        onward, back = self._onward(taken), self._back()
        before, after = (onward, back) if self.is_backwards else (back, onward)
        return _encode(before, salt), _encode(after, salt)

    def _merge(self) -> Iterator[tuple[str, Item]]:
        """The rows of all partitions in one order, as far as it is known."""
        # Ties are ordered by partition, and within one by the index, whichever the direction: else a page back would
        # not hold the rows of the page that it goes back to.
        sign = -1 if self._span.newest_first != self.is_backwards else 1
        turn = -1 if self.is_backwards else 1
        sort = self._span.index.sort.name

        def in_order(number: int, partition: str) -> Iterator[tuple[int, int, int, str, Item]]:
            for place, row in enumerate(self._rows[partition]):
                yield sign * int(row[sort]["N"]), turn * number, place, partition, row

        partitions = enumerate(self._span.partitions)
        for *_, place, partition, row in heapq.merge(*(in_order(number, name) for number, name in partitions)):
            yield partition, row
            if partition in self._unread and place == len(self._rows[partition]) - 1:
                return  # Its next row may come before those of the others.

    def _onward(self, taken: int) -> _Start | None:
        positions = dict(self._start.positions)
        left = {partition: len(rows) for partition, rows in self._rows.items()}
        for partition, row in self._merged[:taken]:
            left[partition] -= 1
            positions[partition] = self._position(row)
        for partition, number in left.items():
            if number == 0 and (partition not in self._unread or not self._rows[partition]):
                positions[partition] = []
        finished = all(positions.get(partition) == [] for partition in self._span.partitions)
        return None if finished else replace(self._start, positions=positions)

    def _back(self) -> _Start | None:
        """From the first row of each partition the other way; from the far end where there is none."""
        if not self._start.positions:
            return None
        positions = {partition: self._position(rows[0]) for partition, rows in self._rows.items() if rows}
        return replace(self._start, is_backwards=not self.is_backwards, positions=positions)

    def _position(self, row: Item) -> list[str]:
        return [row[self._span.index.sort.name]["N"], *(row[key.name]["S"] for key in self._table.keys)]


def read(
    dynamodb: DynamoDBClient,
    name: str,
    table: schema.Table,
    span: Span,
    *,
    limit: int,
    depth: int,
    cursor: str | None,
    salt: str,
) -> Stretch:
    """The first ``limit`` rows from a cursor on, of at most ``depth`` of each partition: one Query a partition.

    With a ``depth`` over ``limit`` there are that many, unless the list ends, and the cursors know whether it does. A
    cursor keeps the times of the span that its first page was read with. Raises ``ValueError`` for a cursor that was
    not made with this ``salt``.
    """
    start = _decode(cursor, salt) if cursor else _Start(since=span.since, until=span.until)
    span = replace(span, since=start.since, until=start.until)
    condition, bound = _bounds(span)
    unread: set[str] = set()

    def read_partition(partition: str) -> list[Item]:
        if start.positions.get(partition) == [] or _is_empty(span):
            return []
        query: Any = {
            "TableName": name,
            "IndexName": span.index.name,
            "KeyConditionExpression": condition,
            # By placeholder: "shard" and "timestamp" are reserved words.
            "ExpressionAttributeNames": {"#partition": span.index.partition.name}
            | ({"#sort": span.index.sort.name} if bound else {}),
            "ExpressionAttributeValues": {":partition": {"S": partition}, **bound},
            "ScanIndexForward": span.newest_first == start.is_backwards,
            "Limit": depth,
        }
        if partition in start.positions:
            query["ExclusiveStartKey"] = _start_key(partition, start.positions[partition], span.index, table)
        with boto_errors(name):
            answer = dynamodb.query(**query)
        if "LastEvaluatedKey" in answer:
            unread.add(partition)
        return answer["Items"]

    with ThreadPoolExecutor(len(span.partitions)) as pool:
        rows = dict(zip(span.partitions, pool.map(read_partition, span.partitions), strict=True))
    return Stretch(span, table, start, rows, unread, limit)


def salt_of(name: str, span: Span, *more: object) -> str:
    """What binds a cursor to its list: a table, an index, an order, and whatever else tells lists apart."""
    return repr((_SALT, name, span.index.name, span.partitions, span.newest_first, *more))


@dataclass(frozen=True, slots=True)
class _Start:
    """Where a page begins, and which way it reads; without positions, at the list's first row."""

    is_backwards: bool = False
    since: int | None = None
    until: int | None = None
    positions: Positions = field(default_factory=dict)


def _bounds(span: Span) -> tuple[str, Item]:
    """The key condition of a Query on one partition, and the values of its times."""
    bound = {
        f":{name}": {"N": str(at)} for name, at in (("since", span.since), ("until", span.until)) if at is not None
    }
    match list(bound):
        case [":since", ":until"]:
            return "#partition = :partition AND #sort BETWEEN :since AND :until", bound
        case [":since"]:
            return "#partition = :partition AND #sort >= :since", bound
        case [":until"]:
            return "#partition = :partition AND #sort <= :until", bound
        case _:
            return "#partition = :partition", bound


def _is_empty(span: Span) -> bool:
    """Whether nothing can lie between the times; DynamoDB refuses to be asked."""
    return span.since is not None and span.until is not None and span.since > span.until


def _start_key(partition: str, position: list[str], index: schema.Index, table: schema.Table) -> Item:
    sort_value, *key_values = position
    keys = {key.name: {"S": value} for key, value in zip(table.keys, key_values, strict=True)}
    return {index.partition.name: {"S": partition}, index.sort.name: {"N": sort_value}, **keys}


def _encode(start: _Start | None, salt: str) -> str | None:
    if start is None:
        return None
    content = [start.is_backwards, start.since, start.until, start.positions]
    return signing.dumps(content, salt=salt, compress=True)


def _decode(cursor: str, salt: str) -> _Start:
    try:
        return _Start(*signing.loads(cursor, salt=salt))
    except signing.BadSignature as exc:
        raise ValueError("This page's cursor is damaged: begin again at the first page.") from exc
