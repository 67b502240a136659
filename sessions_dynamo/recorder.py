"""The record of served calls, from the event loop: written in batches, best effort, never in a response's way."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterator
from contextvars import Context
from typing import Final

from sessions_dynamo.dataplane.loops import run
from sessions_dynamo.store import batches, calls
from sessions_dynamo.store.calls import Call
from sessions_dynamo.store.event_operations import default_operations
from sessions_dynamo.store.times import ahead

logger = logging.getLogger(__name__)

LINGER_SECONDS: Final = 1.0
"""How long a call waits for others to share its request with."""
MAX_BODIES: Final = 256 * 1024
"""Characters of recorded bodies after which a request is full: to encode more would hold up the loop."""
MAX_WAITING: Final = 10_000
"""Calls kept while DynamoDB does not answer; further ones are dropped, and the drop is logged."""


class CallRecorder:
    """Takes calls on one loop and writes them up to 25 to a request, one request at a time."""

    def __init__(self) -> None:
        self._waiting: deque[Call] = deque()
        self._due = 0
        """So many of those that wait are to be written now, whether they fill a request or not."""
        self._dropped = 0
        self._writing: asyncio.Task[None] | None = None
        self._linger: asyncio.TimerHandle | None = None

    def record(self, call: Call) -> None:
        """Take a call; never waits, never raises."""
        if len(self._waiting) >= MAX_WAITING:
            self._dropped += 1
            return
        self._waiting.append(call)
        if self._writing is not None:
            return
        if len(self._waiting) >= batches.WRITE_SIZE:
            self._write()
        elif self._linger is None:
            self._wait_for_others()

    async def flush(self, seconds: float) -> None:
        """Write what waits now; what takes longer goes on behind the caller's back."""
        self._write_all()
        if self._writing is not None:
            await asyncio.wait([self._writing], timeout=seconds)

    async def close(self, seconds: float) -> None:
        """Write what waits; what cannot be written in time is lost, and logged. A call taken later begins again."""
        await self.flush(seconds)
        if self._writing is not None:
            if lost := len(self._waiting) + self._dropped:
                _lost(lost, "those before them took too long to write")
            self._waiting.clear()
            self._due = self._dropped = 0
            self._writing.cancel()
            await asyncio.wait([self._writing])

    def _wait_for_others(self) -> None:
        # In a context of its own, and so is the task: that of the request that began it would be kept with it.
        loop = asyncio.get_running_loop()
        self._linger = loop.call_later(LINGER_SECONDS, self._write_all, context=Context())

    def _write_all(self) -> None:
        if self._waiting:
            self._due = len(self._waiting)
            self._write()

    def _write(self) -> None:
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
        if self._writing is None:
            self._writing = asyncio.get_running_loop().create_task(self._write_due(), context=Context())

    async def _write_due(self) -> None:
        try:
            while self._due > 0 or len(self._waiting) >= batches.WRITE_SIZE:
                batch = self._next_batch()
                self._due -= len(batch)
                await self._put(batch)
                if self._dropped:
                    dropped, self._dropped = self._dropped, 0
                    _lost(dropped, "too many waited")
        finally:
            self._writing, self._due = None, 0
        if self._waiting:
            self._wait_for_others()

    def _next_batch(self) -> list[Call]:
        batch: list[Call] = []
        bodies = 0
        while self._waiting and len(batch) < batches.WRITE_SIZE and bodies < MAX_BODIES:
            call = self._waiting.popleft()
            batch.append(call)
            bodies += len(call.request_body or "") + len(call.response_body or "")
        return batch

    async def _put(self, batch: list[Call]) -> None:
        count = len(batch)
        try:
            operations = default_operations()
            items = list(_encoded(batch, ahead(operations.event_ttl)))
            count = len(items)
            await run(batches.put(operations.table, items))
        except asyncio.CancelledError:
            _lost(count, "they took too long to write")
            raise
        except Exception as exc:  # Whatever it was, the calls after these are recorded.
            _lost(count, exc)


def _encoded(batch: list[Call], ttl: calls.Item) -> Iterator[calls.Item]:
    for call in batch:
        try:
            yield calls.encode(call, ttl)
        except Exception as exc:  # Those beside it are recorded.
            _lost(1, exc)


def _lost(count: int, reason: object) -> None:
    logger.warning("%d served calls were not recorded: %s", count, reason)
