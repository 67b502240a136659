"""BatchGetItem and BatchWriteItem to the end: DynamoDB may leave part of any batch unprocessed."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import Any, Final

from sessions_dynamo.chunks import chunks
from sessions_dynamo.errors import StorageUnavailable, boto_errors
from sessions_dynamo.operations import Operation, Pause, Request

GET_SIZE: Final = 100
WRITE_SIZE: Final = 25
ATTEMPTS: Final = 8
"""Rounds for what stays unprocessed, with back-off: about 6 s in all."""

Item = dict[str, Any]


def get(table: str, keys: Iterable[Item], *, projection: Sequence[str] = ()) -> Operation[list[Item]]:
    """The items of these keys, those that exist, in no order; consistent reads."""
    names = {f"#p{number}": name for number, name in enumerate(projection)}
    expression: dict[str, Any] = (
        {"ProjectionExpression": ", ".join(names), "ExpressionAttributeNames": names} if names else {}
    )
    found: list[Item] = []
    for chunk in chunks(keys, GET_SIZE):
        pending: Any = {table: {"Keys": chunk, "ConsistentRead": True, **expression}}
        for attempt in range(ATTEMPTS):
            with boto_errors(table):
                answer = yield Request("BatchGetItem", {"RequestItems": pending})
            found += answer["Responses"].get(table, [])
            pending = answer.get("UnprocessedKeys")
            if not pending:
                break
            yield _back_off(attempt)
        else:
            raise _throttled(table)
    return found


def put(table: str, items: Iterable[Item]) -> Operation[int]:
    """Put every item; how many. Replaces what stands at their keys."""
    return _write(table, ({"PutRequest": {"Item": item}} for item in items))


def delete(table: str, keys: Iterable[Item]) -> Operation[int]:
    """Delete every key, whether it exists or not; how many requests."""
    return _write(table, ({"DeleteRequest": {"Key": key}} for key in keys))


def delete_once(table: str, keys: Sequence[Item]) -> Operation[list[Item]]:
    """Delete up to ``WRITE_SIZE`` keys in one request; returns the keys that DynamoDB left for another."""
    unprocessed = yield from _send(table, [{"DeleteRequest": {"Key": key}} for key in keys])
    return [request["DeleteRequest"]["Key"] for request in unprocessed]


def _write(table: str, requests: Iterable[Item]) -> Operation[int]:
    written = 0
    for chunk in chunks(requests, WRITE_SIZE):
        pending = chunk
        for attempt in range(ATTEMPTS):
            pending = yield from _send(table, pending)
            if not pending:
                break
            yield _back_off(attempt)
        else:
            raise _throttled(table)
        written += len(chunk)
    return written


def _send(table: str, requests: list[Any]) -> Operation[list[Any]]:
    """One BatchWriteItem; returns what it left unprocessed."""
    with boto_errors(table):
        answer = yield Request("BatchWriteItem", {"RequestItems": {table: requests}})
    left: list[Any] = answer.get("UnprocessedItems", {}).get(table, [])
    return left


def _back_off(attempt: int) -> Pause:
    return Pause(random.uniform(0, 0.05 * 2**attempt))  # noqa: S311 (jitter, no secret)


def _throttled(table: str) -> StorageUnavailable:
    return StorageUnavailable(
        f"DynamoDB throttled {table}: part of a batch stayed unprocessed after {ATTEMPTS} attempts. Try again; raise"
        " the table's capacity if it lasts."
    )
