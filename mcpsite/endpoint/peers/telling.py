"""What this worker tells all others: the newest of each topic, together, and no oftener than the one partition bears
in which the heads of all workers stand."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Protocol

from sessions_dynamo.dataplane.loops import run
from sessions_dynamo.errors import StorageError
from sessions_dynamo.tasks import kept
from sessions_dynamo.workers.news import encoded
from sessions_dynamo.workers.stream_operations import StreamOperations

logger = logging.getLogger(__name__)

FLUSH_SECONDS: Final = 0.1
FLUSH_SECONDS_A_WORKER: Final = 0.02
"""All workers together move some 50 heads a second: those stand in one partition, which takes 1,000 writes a second,
and each reader reads all of them."""
OFTEN_SECONDS: Final = 1.0
"""Between two flushes of a worker that tells something often."""
RETRY_SECONDS: Final = (0.5, 30.0)
"""Before the first repetition, and at most."""
MAX_TOPICS: Final = 100_000
"""Topics that wait while DynamoDB cannot be reached; at more, those that came first are forgotten."""


def flush_seconds(talking: int) -> float:
    """The seconds between two flushes of a worker, where so many have something to tell."""
    return max(FLUSH_SECONDS, FLUSH_SECONDS_A_WORKER * talking)


class Telling(Protocol):
    """What telling the others needs of its process."""

    worker_id: str

    @property
    def streams(self) -> StreamOperations: ...


class Teller:
    """This worker's log, as it is written. On one event loop."""

    def __init__(
        self, host: Telling, talking: Callable[[bool], Awaitable[int]], told: Callable[[], None] = lambda: None
    ) -> None:
        """``talking`` says how many workers tell something lately, as far as is known here, if this one does so often;
        this one counts. ``told`` is called when the others have something to read."""
        self._host = host
        self._talking = talking
        self._told = told
        self._waiting: dict[str, str] = {}
        self._forgotten = 0
        self._newest = 0
        self._flushed_at = self._next_flush = 0.0
        self._flushing: asyncio.Task[None] | None = None

    @property
    def is_spreading(self) -> bool:
        """Whether anything has yet to reach the others."""
        return self._flushing is not None and not self._flushing.done()

    def tell(self, payload: Any, topic: str) -> None:
        """Tell all others, soon: at once after a quiet time. What was to be told of the same topic is told no more.

        It is tried until it succeeds. Raises ``InvalidState`` or ``EventTooLarge`` for what cannot be told at all.
        """
        self._waiting[topic] = encoded(payload)
        if len(self._waiting) > MAX_TOPICS:
            del self._waiting[next(iter(self._waiting))]
            self._forgotten += 1
        if not self.is_spreading:
            self._flushing = kept(self._flush(), name="telling")

    def stop(self) -> None:
        """Tell nothing more."""
        self._waiting.clear()
        if self._flushing is not None:
            self._flushing.cancel()

    async def _flush(self) -> None:
        while self._waiting:
            await asyncio.sleep(self._next_flush - time.monotonic())
            now = time.monotonic()
            is_often = now - self._flushed_at < OFTEN_SECONDS
            self._flushed_at = now
            texts = list(self._waiting.values())
            self._waiting.clear()
            if self._forgotten:
                logger.error("%d server events were never told to other workers", self._forgotten)
                self._forgotten = 0
            await self._publish(texts)
            self._next_flush = now + flush_seconds(await self._talking(is_often))

    async def _publish(self, texts: Sequence[str]) -> None:
        """Tell these, however often it takes.

        Nothing is added meanwhile: an attempt whose answer was lost may have been read.
        """
        delay, longest = RETRY_SECONDS
        while True:
            try:
                self._newest = await run(self._host.streams.news.publish(self._host.worker_id, self._newest + 1, texts))
                self._told()
                return
            except Exception as exc:
                is_known = isinstance(exc, StorageError)
                logger.warning("server events wait to be told to other workers: %s", exc, exc_info=not is_known)
            await asyncio.sleep(delay)
            delay = min(2 * delay, longest)
