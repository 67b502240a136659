"""What drives operations in tests: boto3 in the thread that asks, or the data plane on a loop of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterable
from typing import Any, Final, Self, TypeVar

import pytest

from sessions_dynamo.dataplane.driver import drive
from sessions_dynamo.dataplane.loops import close_planes_of_this_loop, plane_of_this_loop
from sessions_dynamo.operations import Operation

T = TypeVar("T")

BOTO3: Final = "boto3"
ASYNCIO: Final = "asyncio"

on_asyncio = pytest.mark.parametrize("driver", [ASYNCIO], indirect=True)
"""For tests of many tasks on one loop."""

_PATIENCE_SECONDS: Final = 120


class LoopDriver:
    """Drives operations as tasks of an event loop that runs in a thread of its own, for callers in any other thread.

    A context manager: at its end the loop has closed its data planes and has no task left.
    """

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="loop driver", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        left = self._run(_close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        assert not left, f"tasks that nobody ended: {left}"

    def __call__(self, operation: Operation[T], /) -> T:
        return self._run(_drive(operation))

    def together(self, operations: Iterable[Operation[T]]) -> list[T]:
        """The results of operations that are driven at once, each as a task."""
        return self._run(_gather(list(operations)))

    def towards(self, url: str) -> None:
        """Have the loop find its way anew if it leads elsewhere than to this endpoint."""
        self._run(_forget_other_than(url))

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        if threading.current_thread() is self._thread:
            work.close()
            raise AssertionError("the loop would wait for itself")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_PATIENCE_SECONDS)


async def _drive(operation: Operation[T]) -> T:
    return await drive(plane_of_this_loop(), operation)


async def _gather(operations: list[Operation[T]]) -> list[T]:
    return await asyncio.gather(*map(_drive, operations))


async def _forget_other_than(url: str) -> None:
    endpoint = plane_of_this_loop().endpoint
    if endpoint is not None and endpoint.url.rstrip("/") != url:
        await close_planes_of_this_loop()


async def _close() -> list[asyncio.Task[Any]]:
    """The tasks that are left when all is closed, but this one."""
    await close_planes_of_this_loop()
    # What a change of settings made superfluous may be closing still.
    others = asyncio.all_tasks() - {asyncio.current_task()}
    return list((await asyncio.wait(others, timeout=5))[1]) if others else []
