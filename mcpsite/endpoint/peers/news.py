"""What other workers told all: read while somebody listens here, and from where each worker's log stood when he began.

How often depends on what comes: at every beat while something does, ever less often while it is quiet.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from math import inf
from typing import Any, Final, Protocol

from mcpsite.endpoint.peers.pace import Pace
from mcpsite.endpoint.peers.poller import Poller, Step
from sessions_dynamo.dataplane.loops import run
from sessions_dynamo.errors import StorageError
from sessions_dynamo.tasks import kept
from sessions_dynamo.workers.stream_operations import StreamOperations

logger = logging.getLogger(__name__)

LATELY_SECONDS: Final = 10.0
COUNT_SECONDS: Final = 2.0
"""Between two looks at how many tell something, of a worker that does often and does not listen."""
GAP_SECONDS: Final = 10.0
"""How long an item that is missing is waited for: what another region's worker told may be copied behind its head."""
CONCURRENT_READS: Final = 8


class Hearing(Protocol):
    """What reading the news needs of its process."""

    worker_id: str
    poll_seconds: float

    @property
    def streams(self) -> StreamOperations: ...


class NewsReader:
    """Hands each payload that another worker told to ``heard``, once, with the name of that worker."""

    def __init__(self, host: Hearing, poller: Poller, heard: Callable[[str, Any], None]) -> None:
        self.pace = Pace(host)
        self._host = host
        self._poller = poller
        self._heard = heard
        self._listeners = 0
        self._cursors: dict[str, int] | None = None
        """How far each worker's log was read, of those that have told something; ``None`` while nobody listens."""
        self._gaps: dict[str, float] = {}
        """Since when (monotonic s) an item of a worker's log is missing."""
        self._moved: dict[str, float] = {}
        """When (monotonic s) each worker's log was last seen to have grown."""
        self._counted: dict[str, int] = {}
        """The heads as they stood when they were last counted."""
        self._counted_at = -inf
        self._turn = asyncio.Lock()
        self._reads = asyncio.Semaphore(CONCURRENT_READS)
        self._upcoming: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return self._listeners

    def due(self, now: float, *, is_beat: bool) -> Iterator[tuple[object, Step]]:
        """A reading, if it is time."""
        if self._listeners and self.pace.is_due(now):
            yield "news", self._look

    async def talking(self, is_often: bool) -> int:
        """How many workers have told something lately, as far as is known; this one is counted in.

        ``is_often`` says that this one does so often: then a worker that does not listen, and so reads no heads, looks.
        """
        now = time.monotonic()
        if is_often and not self._listeners and now - self._counted_at >= COUNT_SECONDS:
            await self._count(now)
        return 1 + sum(at > now - LATELY_SECONDS for at in self._moved.values())

    # --- Who listens ------------------------------------------------------------------------------------------

    async def attend(self) -> None:
        """Somebody is about to listen: what is told from now on is heard, and none of what was told before.

        What was, others who listen here have heard when this returns. Raises ``StorageError``, and then nobody listens.
        """
        self._listeners += 1
        try:
            await self._catch_up()
        except BaseException:
            self.leave()
            raise
        self.pace.hurry()
        self._poller.stir()

    def leave(self) -> None:
        """One who attended listens no more."""
        self._listeners -= 1
        if not self._listeners:
            self._cursors = None
            self._gaps.clear()
            self._moved.clear()

    def ring(self) -> None:
        """Something has come: read at once."""
        self.pace.ring()
        self._poller.poke()

    # --- Reading ----------------------------------------------------------------------------------------------

    async def _look(self) -> None:
        await self._catch_up()
        if self.pace.is_due(time.monotonic()):
            # It rang while it was read.
            self._poller.poke()

    async def _catch_up(self) -> None:
        """Wait for a reading that begins after this call; all who wait share it. Raises ``StorageError``."""
        if self._upcoming is None:
            self._upcoming = kept(self._read_in_turn(), name="news")
        await asyncio.shield(self._upcoming)

    async def _read_in_turn(self) -> None:
        async with self._turn:
            # Whoever comes from here on needs another.
            self._upcoming = None
            self.pace.begin(time.monotonic())
            if await self._read():
                self.pace.hurry()

    async def _read(self) -> bool:
        """Hear what is new; whether anything was."""
        cursors = self._cursors
        heads = await run(self._host.streams.news.heads())
        heads.pop(self._host.worker_id, None)
        if self._cursors is not cursors:
            # All have left, and whoever came since reads for himself.
            return False
        if cursors is None:
            self._cursors = heads if self._listeners else None
            return False
        for gone in cursors.keys() - heads.keys():
            del cursors[gone]
            self._gaps.pop(gone, None)
        grown = {worker: newest for worker, newest in heads.items() if newest > cursors.get(worker, 0)}
        now = time.monotonic()
        self._moved = {worker: at for worker, at in self._moved.items() if at > now - LATELY_SECONDS}
        self._moved |= dict.fromkeys(grown, now)
        # One log that cannot be read keeps nobody from the others.
        results = await asyncio.gather(
            *(self._read_log(cursors, worker, newest) for worker, newest in grown.items()), return_exceptions=True
        )
        for failure in results:
            if failure is not None:
                raise failure
        return bool(grown)

    async def _read_log(self, cursors: dict[str, int], worker: str, newest: int) -> None:
        async with self._reads:
            found = await run(self._host.streams.news.since(worker, cursors.get(worker, 0), newest))
        if self._cursors is not cursors:
            return
        if worker not in cursors:
            # Of a worker that was silent for long, what it told before is no longer there.
            cursors[worker] = found[0][0] - 1 if found else 0
        is_late = time.monotonic() - self._gaps.setdefault(worker, time.monotonic()) >= GAP_SECONDS
        for number, payloads in found:
            if number == cursors[worker] + 1 or is_late:
                cursors[worker] = number
                for payload in payloads:
                    self._hear(worker, payload)
        if is_late:
            cursors[worker] = newest
        if cursors[worker] == newest:
            del self._gaps[worker]

    async def _count(self, now: float) -> None:
        since, self._counted_at = now - self._counted_at, now
        try:
            heads = await run(self._host.streams.news.heads())
        except StorageError as exc:
            # What is told now will wait for the same.
            logger.debug("the heads were not counted: %s", exc)
            return
        heads.pop(self._host.worker_id, None)
        if since < LATELY_SECONDS:
            self._moved |= {worker: now for worker, newest in heads.items() if newest > self._counted.get(worker, 0)}
        self._counted = heads

    def _hear(self, worker: str, payload: Any) -> None:
        try:
            self._heard(worker, payload)
        except Exception:
            # Of another version of this code, perhaps; what lies behind it is heard.
            logger.exception("what another worker told was not understood")
