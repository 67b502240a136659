"""This worker's inbox: read while anything waits here, often while something is expected, and emptied as it is read."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from mcpsite.endpoint.peers.pace import Pace
from mcpsite.endpoint.peers.poller import Poller, Step
from sessions_dynamo.dataplane.loops import run
from sessions_dynamo.workers.inboxes import Message
from sessions_dynamo.workers.stream_operations import StreamOperations

logger = logging.getLogger(__name__)


class Addressed(Protocol):
    """What the inbox needs of its process."""

    worker_id: str
    poll_seconds: float

    @property
    def streams(self) -> StreamOperations: ...


class Inbox:
    """Hands each message to ``heard``, once."""

    def __init__(
        self, host: Addressed, poller: Poller, heard: Callable[[Message], None], is_expected: Callable[[], bool]
    ) -> None:
        """``is_expected`` says whether somebody here waits for a message, or runs what one may stop."""
        self.pace = Pace(host)
        self._host = host
        self._poller = poller
        self._heard = heard
        self._is_expected = is_expected
        self._reading = asyncio.Lock()
        self._taken: set[tuple[str, ...]] = set()
        """What was acted on and is not removed yet."""

    def __len__(self) -> int:
        """Nothing waits for the inbox as such."""
        return 0

    def due(self, now: float, *, is_beat: bool) -> Iterator[tuple[object, Step]]:
        """A read, as often as the pace says."""
        if self._is_expected():
            self.pace.hurry()
        if self.pace.is_due(now):
            yield "inbox", self._look

    def ring(self) -> None:
        """Something is there."""
        self.pace.ring()
        self._poller.poke()

    async def read(self) -> None:
        """Act on what waits, and remove it. Raises ``StorageError``."""
        async with self._reading:
            await self._read()

    async def _look(self) -> None:
        await self.read()
        if self.pace.is_due(time.monotonic()):
            # It rang while it was read.
            self._poller.poke()

    async def _read(self) -> None:
        self.pace.begin(time.monotonic())
        messages = await run(self._host.streams.inboxes.read(self._host.worker_id))
        for message in messages:
            if message.keys not in self._taken:
                self._taken.add(message.keys)
                try:
                    self._heard(message)
                except Exception:
                    # Of another version of this code, perhaps; those beside it are heard.
                    logger.exception("a message of another worker was not understood")
        if messages:
            self.pace.hurry()
            await run(self._host.streams.inboxes.remove(self._host.worker_id, messages))
        self._taken.clear()
