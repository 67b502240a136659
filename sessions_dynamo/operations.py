"""What is asked of DynamoDB and what its answer means, apart from how it travels.

An operation is a generator: it yields requests, is sent their answers, and returns its result. ``run`` drives it with
boto3, for pages, commands and tests; the endpoint drives the same on its event loop.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from botocore import xform_name

from sessions_dynamo.errors import boto_errors

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Request:
    """One request: DynamoDB's name for the action, such as ``GetItem``, and its parameters."""

    action: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Pause:
    """Seconds to let pass before the next request."""

    seconds: float


Operation = Generator[Request | Pause, Any, T]
"""Yields requests and pauses; a request that failed is botocore's exception at its ``yield``."""


def ask(table: str, action: str, **parameters: Any) -> Operation[Any]:
    """The answer to one request to a table. Raises ``StorageError``; a false condition is a ``ClientError``."""
    with boto_errors(table):
        return (yield Request(action, {"TableName": table, **parameters}))


def run(dynamodb: DynamoDBClient, operation: Operation[T]) -> T:
    """Drive an operation to its result; this thread waits. Raises what the operation raises."""
    try:
        step = next(operation)
        while True:
            if isinstance(step, Pause):
                time.sleep(step.seconds)
                step = next(operation)
                continue
            try:
                answer = getattr(dynamodb, xform_name(step.action))(**step.parameters)
            except Exception as exc:
                step = operation.throw(exc)
            else:
                step = operation.send(answer)
    except StopIteration as done:
        result: T = done.value
        return result
    finally:
        operation.close()
