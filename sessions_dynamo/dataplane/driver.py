"""Drives an operation on DynamoDB on the running loop, as ``operations.run`` does in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Protocol, TypeVar

from sessions_dynamo.operations import Operation, Pause

T = TypeVar("T")


class Answering(Protocol):
    """What answers requests: a ``DataPlane``."""

    async def request(self, action: str, parameters: Mapping[str, Any]) -> dict[str, Any]: ...


async def drive(plane: Answering, operation: Operation[T]) -> T:
    """Drive an operation to its result. Raises what the operation raises; cancelled, it closes the operation."""
    try:
        step = next(operation)
        while True:
            if isinstance(step, Pause):
                await asyncio.sleep(step.seconds)
                step = next(operation)
                continue
            try:
                answer = await plane.request(step.action, step.parameters)
            except Exception as exc:
                step = operation.throw(exc)
            else:
                step = operation.send(answer)
    except StopIteration as done:
        result: T = done.value
        return result
    finally:
        operation.close()
