"""Operations driven on an event loop in a thread of its own, for commands whose threads only wait for them."""

from __future__ import annotations

import asyncio
import threading
from typing import Self, TypeVar

from sessions_dynamo.dataplane import loops
from sessions_dynamo.operations import Operation

T = TypeVar("T")


class LoopThread:
    """A ``Driver`` for any number of threads: a request costs a fraction of the CPU that boto3's costs.

    A context manager: at its end the loop's connections are closed. Operations that run then are not waited for.
    """

    def __init__(self, region: str | None = None) -> None:
        """``region`` defaults to the service's own."""
        self._region = region
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="dynamodb", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(loops.close_planes_of_this_loop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __call__(self, operation: Operation[T], /) -> T:
        """The result of the operation; the calling thread waits. Raises what the operation raises."""
        return asyncio.run_coroutine_threadsafe(loops.run(operation, region=self._region), self._loop).result()
