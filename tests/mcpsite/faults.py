"""Faults in what the endpoint asks of DynamoDB on its event loop; pages, commands and a test's own stores see none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sessions_dynamo.dataplane.observers import Asked, on_request
from sessions_dynamo.operations import Operation, Pause


@contextmanager
def failing(action: str, *, times: int = 1000, code: str = "ValidationException") -> Iterator[None]:
    """Refuse an action, such as ``PutItem``, the first ``times`` times that it is asked."""
    left = times

    def refuse(asked: Asked) -> None:
        nonlocal left
        if asked.action == action and left > 0:
            left -= 1
            raise ClientError({"Error": {"Code": code, "Message": "no"}}, action)

    with on_request(refuse):
        yield


@contextmanager
def before(operations: type, name: str, first: Callable[..., Iterable[Pause] | None]) -> Iterator[None]:
    """Have an operation call ``first`` with its arguments before it asks anything.

    What ``first`` raises is raised in its place; pauses that it yields pass before it goes on.
    """
    operation = getattr(operations, name)

    def instead(self: Any, *args: Any, **kwargs: Any) -> Operation[Any]:
        yield from first(*args, **kwargs) or ()
        return (yield from operation(self, *args, **kwargs))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(operations, name, instead)
        yield


def raising(error: Exception) -> Callable[..., None]:
    """A ``first`` that fails, whatever is asked."""

    def fail(*_: object, **__: object) -> None:
        raise error

    return fail
