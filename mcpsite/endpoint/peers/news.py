"""What other workers told all: read while somebody listens here, and from where each worker's log stood when he began.

How often depends on what comes: at every beat of the poller while something does, ever less often while it is quiet.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol

from mcpsite.endpoint.peers.poller import Poller, Step
from sessions_dynamo.dataplane.loops import run
from sessions_dynamo.tasks import kept
from sessions_dynamo.workers.stream_operations import StreamOperations

logger = logging.getLogger(__name__)

BUSY_SECONDS: Final = 30.0
"""How long each beat has its reading, after something came or a request was served here."""
IDLE_BEATS: Final = 8
"""The beats between two readings at most, where nothing comes."""
LATELY_SECONDS: Final = 10.0
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
    """Hands each payload that another worker told to ``heard``, once, with the name of that worker.

    ``slow_seconds`` are the seconds between two readings where something else rings whenever there is news; ``None``
    where nothing does.
    """

    def __init__(self, host: Hearing, poller: Poller, heard: Callable[[str, Any], None]) -> None:
        self.slow_seconds: float | None = None
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
        self._is_rung = False
        self._busy_until = 0.0
        self._idle_reads = 0
        self._last_read = 0.0
        self._turn = asyncio.Lock()
        self._reads = asyncio.Semaphore(CONCURRENT_READS)
        self._upcoming: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return self._listeners

    def due(self, now: float, *, is_beat: bool) -> Iterator[tuple[object, Step]]:
        """A reading, if it is time."""
        # Half a beat early: a beat that comes a little before its time is not left out.
        is_time = is_beat and now - self._last_read > self._pace(now) - self._host.poll_seconds / 2
        if self._listeners and (self._is_rung or is_time):
            yield "news", self._look

    @property
    def talking(self) -> int:
        """How many workers have told something lately, this one counted in; 1 where nobody listens here."""
        lately = time.monotonic() - LATELY_SECONDS
        return 1 + sum(at > lately for at in self._moved.values())

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
        self.hurry()
        self._poller.stir()

    def leave(self) -> None:
        """One who attended listens no more."""
        self._listeners -= 1
        if not self._listeners:
            self._cursors = None
            self._gaps.clear()
            self._moved.clear()

    def hurry(self) -> None:
        """Something may come soon: read at every beat for a while."""
        self._busy_until = time.monotonic() + BUSY_SECONDS
        self._idle_reads = 0

    def ring(self) -> None:
        """Something has come: read at once."""
        self._is_rung = True
        self._poller.poke()

    # --- Reading ----------------------------------------------------------------------------------------------

    def _pace(self, now: float) -> float:
        """Seconds between two readings."""
        if self.slow_seconds is not None:
            return self.slow_seconds
        beats = 1 if now < self._busy_until else min(2**self._idle_reads, IDLE_BEATS)
        return self._host.poll_seconds * beats

    async def _look(self) -> None:
        await self._catch_up()
        if self._is_rung:
            # While it was read.
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
            self._is_rung = False
            self._last_read = time.monotonic()
            if await self._read():
                self.hurry()
            elif self._last_read >= self._busy_until:
                self._idle_reads += 1

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
        lately = self._last_read - LATELY_SECONDS
        self._moved = {worker: at for worker, at in self._moved.items() if at > lately}
        self._moved |= dict.fromkeys(grown, self._last_read)
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

    def _hear(self, worker: str, payload: Any) -> None:
        try:
            self._heard(worker, payload)
        except Exception:
            # Of another version of this code, perhaps; what lies behind it is heard.
            logger.exception("what another worker told was not understood")
