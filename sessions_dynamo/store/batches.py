"""BatchGetItem and BatchWriteItem to the end: DynamoDB may leave part of any batch unprocessed."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from sessions_dynamo.chunks import chunks
from sessions_dynamo.errors import StorageUnavailable, boto_errors

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

GET_SIZE: Final = 100
WRITE_SIZE: Final = 25
ATTEMPTS: Final = 8
"""Rounds for what stays unprocessed, with back-off: about 6 s in all."""

Item = dict[str, Any]


def get(
    dynamodb: DynamoDBClient, table: str, keys: Iterable[Item], *, projection: Sequence[str] = ()
) -> Iterator[Item]:
    """The items of these keys, those that exist, in no order; consistent reads."""
    names = {f"#p{number}": name for number, name in enumerate(projection)}
    expression: dict[str, Any] = (
        {"ProjectionExpression": ", ".join(names), "ExpressionAttributeNames": names} if names else {}
    )
    for chunk in chunks(keys, GET_SIZE):
        pending: Any = {table: {"Keys": chunk, "ConsistentRead": True, **expression}}
        for attempt in range(ATTEMPTS):
            with boto_errors(table):
                answer = dynamodb.batch_get_item(RequestItems=pending)
            yield from answer["Responses"].get(table, [])
            pending = answer.get("UnprocessedKeys")
            if not pending:
                break
            _back_off(attempt)
        else:
            raise _throttled(table)


def put(dynamodb: DynamoDBClient, table: str, items: Iterable[Item]) -> int:
    """Put every item; how many. Replaces what stands at their keys."""
    return _write(dynamodb, table, ({"PutRequest": {"Item": item}} for item in items))


def delete(dynamodb: DynamoDBClient, table: str, keys: Iterable[Item]) -> int:
    """Delete every key, whether it exists or not; how many requests."""
    return _write(dynamodb, table, ({"DeleteRequest": {"Key": key}} for key in keys))


def delete_once(dynamodb: DynamoDBClient, table: str, keys: Sequence[Item]) -> list[Item]:
    """Delete up to ``WRITE_SIZE`` keys in one request; returns the keys that DynamoDB left for another."""
    unprocessed = _send(dynamodb, table, [{"DeleteRequest": {"Key": key}} for key in keys])
    return [request["DeleteRequest"]["Key"] for request in unprocessed]


def _write(dynamodb: DynamoDBClient, table: str, requests: Iterable[Item]) -> int:
    written = 0
    for chunk in chunks(requests, WRITE_SIZE):
        pending = chunk
        for attempt in range(ATTEMPTS):
            pending = _send(dynamodb, table, pending)
            if not pending:
                break
            _back_off(attempt)
        else:
            raise _throttled(table)
        written += len(chunk)
    return written


def _send(dynamodb: DynamoDBClient, table: str, requests: list[Any]) -> list[Any]:
    """One BatchWriteItem; returns what it left unprocessed."""
    with boto_errors(table):
        answer = dynamodb.batch_write_item(RequestItems={table: requests})
    return answer.get("UnprocessedItems", {}).get(table, [])


def _back_off(attempt: int) -> None:
    time.sleep(random.uniform(0, 0.05 * 2**attempt))  # noqa: S311 (jitter, no secret)


def _throttled(table: str) -> StorageUnavailable:
    return StorageUnavailable(
        f"DynamoDB throttled {table}: part of a batch stayed unprocessed after {ATTEMPTS} attempts. Try again; raise"
        " the table's capacity if it lasts."
    )
