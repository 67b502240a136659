"""This worker's lease: a counter in its item, moved thrice a lease, for all that it owns at once."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from sessions_dynamo.dataplane.loops import run
from sessions_dynamo.errors import StorageError
from sessions_dynamo.workers.roster import WorkerItem
from sessions_dynamo.workers.stream_operations import StreamOperations

logger = logging.getLogger(__name__)

BEATS_A_LEASE: Final = 3
IDLE_SECONDS: Final = 60.0
"""Between two beats while nothing is held."""


class Leasing(Protocol):
    """What the lease needs of its process."""

    worker_id: str
    lease_seconds: float

    @property
    def streams(self) -> StreamOperations: ...

    def holds(self) -> Mapping[str, int]:
        """How many of each of ``roster.HOLDINGS`` are held here."""
        ...


def awake_seconds() -> float:
    """The one clock (s) that goes on while the machine sleeps or is frozen, where there is one."""
    return _clock()


_clock: Final[Callable[[], float]] = (
    (lambda: time.clock_gettime(time.CLOCK_BOOTTIME)) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic
)


class WorkerLease:
    """Held while its last beat is younger than a lease, by this process's own clock.

    Others give it the whole of a lease from when they saw its last beat, which is later: so it knows that it was too
    slow before anybody can have taken it for gone.
    """

    def __init__(self, host: Leasing) -> None:
        self.term = 0
        """How often the lease was taken: what was held in a term that is over may have been ended by others."""
        self._host = host
        self._number = 0
        self._held_until = float("-inf")
        self._started_at = datetime.now(UTC)
        self._offset = timedelta()
        self._beating = asyncio.Lock()
        self._hurry = asyncio.Event()

    @property
    def is_held(self) -> bool:
        """Whether nobody can have taken this worker for gone yet."""
        return awake_seconds() < self._held_until

    async def hold(self) -> int:
        """Have the lease, and say in which term. Raises ``StorageError``."""
        if not self.is_held:
            async with self._beating:
                if not self.is_held:
                    await self._beat()
        return self.term

    def hurry(self) -> None:
        """Something is held that was not: its lease is to be moved often."""
        self._hurry.set()

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            try:
                async with self._beating:
                    await self._beat()
            except StorageError as exc:
                logger.warning("this worker's lease was not renewed, and will be: %s", exc)
            except Exception:
                # Whoever follows a stream of this worker would take it for gone.
                logger.exception("this worker's lease was not renewed, and will be")
            self._hurry.clear()
            quick = self._quick_seconds
            await asyncio.sleep(quick)
            if not any(self._host.holds().values()):
                try:
                    async with asyncio.timeout(max(0.0, IDLE_SECONDS - quick)):
                        await self._hurry.wait()
                except TimeoutError:
                    pass

    async def leave(self) -> None:
        """Say that this worker holds nothing any more. Raises ``StorageError``."""
        self._held_until = float("-inf")
        if self._number:
            await run(self._host.streams.roster.leave(self._host.worker_id))

    @property
    def _quick_seconds(self) -> float:
        return self._host.lease_seconds / BEATS_A_LEASE

    async def _beat(self) -> None:
        began = awake_seconds()
        is_new_term = began >= self._held_until
        self._number += 1
        holds = self._host.holds()
        now = datetime.now(UTC)
        answered = await run(
            self._host.streams.roster.keep(
                WorkerItem(
                    worker_id=self._host.worker_id,
                    beat=self._number,
                    lease_seconds=self._host.lease_seconds,
                    interval_seconds=self._quick_seconds if any(holds.values()) else IDLE_SECONDS,
                    host=socket.gethostname(),
                    pid=os.getpid(),
                    started_at=self._started_at + self._offset,
                    beat_at=now + self._offset,
                    holds=holds,
                )
            )
        )
        if answered is not None:
            self._offset = answered - datetime.now(UTC)
        self.term += is_new_term
        self._held_until = began + self._host.lease_seconds
