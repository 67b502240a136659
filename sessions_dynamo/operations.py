"""What is asked of DynamoDB and what its answer means, apart from how it travels.

An operation is a generator: it yields requests, is sent their answers, and returns its result. ``run`` drives it with
boto3, for pages, commands and tests; the endpoint drives the same on its event loop. A face is a class whose methods
are operations driven to their end: ``blocking`` makes them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar

from botocore import xform_name
from botocore.exceptions import BotoCoreError, ClientError

from sessions_dynamo.errors import from_botocore, is_conditional_failure

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

T = TypeVar("T")
P = ParamSpec("P")
O_co = TypeVar("O_co", covariant=True)


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
    try:
        return (yield Request(action, {"TableName": table, **parameters}))
    except (ClientError, BotoCoreError) as exc:
        # As ``boto_errors``, which costs more than the rest of this.
        if isinstance(exc, ClientError) and is_conditional_failure(exc):
            raise
        raise from_botocore(exc, table) from exc


def answered_at(answer: Any) -> datetime | None:
    """When DynamoDB gave an answer, by its own clock, to the second; ``None`` where the answer does not say."""
    told = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", "")
    try:
        at = parsedate_to_datetime(told)
    except (TypeError, ValueError, OverflowError):
        return None
    # "-0000" is UTC of an unknown place.
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)


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


class Driver(Protocol):
    """Drives an operation to its result, and raises what it raises."""

    def __call__(self, operation: Operation[T], /) -> T: ...


def boto3_driver(dynamodb: DynamoDBClient) -> Driver:
    """``run`` with this client."""

    def drive(operation: Operation[T], /) -> T:
        return run(dynamodb, operation)

    return drive


class Face(Protocol[O_co]):
    """Operations, and what drives them."""

    @property
    def operations(self) -> O_co: ...

    @property
    def drive(self) -> Driver: ...


def blocking(method: Callable[Concatenate[O_co, P], Operation[T]]) -> Callable[Concatenate[Face[O_co], P], T]:
    """The method of a face that drives this operation; its parameters and docstring are the operation's."""

    @wraps(method)
    def driven(face: Face[O_co], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return face.drive(method(face.operations, *args, **kwargs))

    return driven
