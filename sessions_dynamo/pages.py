"""Reading the sharded time indexes: Queries to their last page, and list pages merged from every shard.

A page's cursor holds, for each shard, the key of its last item on the page: rows of one minute share a sort key, so
a time alone could not tell where a page ended.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from django.core import signing

from sessions_dynamo import schema
from sessions_dynamo.errors import boto_errors

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

T = TypeVar("T")
Item = dict[str, Any]
Positions = dict[str, list[str]]
"""By shard: the index sort key and the table's key values of the last item taken from it; empty when exhausted."""


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list, and the cursor of the next one; ``None`` on the last."""

    items: list[T]
    next_cursor: str | None


def query_all(dynamodb: DynamoDBClient, **query: Any) -> Iterator[Item]:
    """The items of a Query, page after page."""
    while True:
        with boto_errors(query["TableName"]):
            answer: Any = dynamodb.query(**query)
        yield from answer["Items"]
        if "LastEvaluatedKey" not in answer:
            return
        query["ExclusiveStartKey"] = answer["LastEvaluatedKey"]


def count_all(dynamodb: DynamoDBClient, **query: Any) -> int:
    """How many items a Query matches, over all of its pages."""
    total = 0
    while True:
        with boto_errors(query["TableName"]):
            answer = dynamodb.query(Select="COUNT", **query)
        total += answer["Count"]
        if "LastEvaluatedKey" not in answer:
            return total
        query["ExclusiveStartKey"] = answer["LastEvaluatedKey"]


def merge_shards(
    dynamodb: DynamoDBClient,
    name: str,
    index: schema.Index,
    table: schema.Table,
    *,
    newest_first: bool,
    limit: int,
    cursor: str | None,
) -> tuple[list[Item], str | None]:
    """The keys of one page in the order of a sharded index, and the next page's cursor: one Query a shard.

    Raises ``ValueError`` for a cursor that this function did not make for the same list.
    """
    salt = f"{__name__}:{name}:{index.name}:{'newest' if newest_first else 'oldest'}"
    positions = _decode(cursor, salt) if cursor else {}

    def read(shard: str) -> list[Item]:
        if positions.get(shard) == []:
            return []
        query: Any = {
            "TableName": name,
            "IndexName": index.name,
            # By placeholder: "shard" and "timestamp" are reserved words.
            "KeyConditionExpression": "#shard = :shard",
            "ExpressionAttributeNames": {"#shard": index.partition.name},
            "ExpressionAttributeValues": {":shard": {"S": shard}},
            "ScanIndexForward": not newest_first,
            # One more than a page holds, so that a shard that is taken whole is known to be exhausted.
            "Limit": limit + 1,
        }
        if shard in positions:
            query["ExclusiveStartKey"] = _start_key(shard, positions[shard], index, table)
        with boto_errors(name):
            return dynamodb.query(**query)["Items"]

    shards = [str(number) for number in range(schema.SHARDS)]
    with ThreadPoolExecutor(schema.SHARDS) as pool:
        rows = dict(zip(shards, pool.map(read, shards), strict=True))

    def sort_value(row: Item) -> int:
        value = int(row[index.sort.name]["N"])
        return -value if newest_first else value

    # A stable merge: within a shard the rows keep the index's own order, which is what the cursor goes on from.
    merged = heapq.merge(
        *(
            [(sort_value(row), number, place, row) for place, row in enumerate(rows[shard])]
            for number, shard in enumerate(shards)
        )
    )
    taken: dict[str, int] = dict.fromkeys(shards, 0)
    keys: list[Item] = []
    for _, number, _, row in merged:
        if len(keys) == limit:
            break
        shard = shards[number]
        taken[shard] += 1
        positions[shard] = [row[index.sort.name]["N"], *(row[key.name]["S"] for key in table.keys)]
        keys.append({key.name: row[key.name] for key in table.keys})
    for shard in shards:
        if taken[shard] == len(rows[shard]):
            positions[shard] = []
    finished = all(positions.get(shard) == [] for shard in shards)
    return keys, None if finished else signing.dumps(positions, salt=salt, compress=True)


def _start_key(shard: str, position: list[str], index: schema.Index, table: schema.Table) -> Item:
    sort_value, *key_values = position
    keys = {key.name: {"S": value} for key, value in zip(table.keys, key_values, strict=True)}
    return {index.partition.name: {"S": shard}, index.sort.name: {"N": sort_value}, **keys}


def _decode(cursor: str, salt: str) -> Positions:
    try:
        positions: Positions = signing.loads(cursor, salt=salt)
    except signing.BadSignature as exc:
        raise ValueError("This page's cursor is damaged: begin again at the first page.") from exc
    return positions
