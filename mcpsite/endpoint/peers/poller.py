"""The one poller of a process. It runs while anything waits, and begins what is due; nothing holds up anything else."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from math import inf
from typing import Any, Protocol

from sessions_dynamo.errors import StorageError

logger = logging.getLogger(__name__)

Step = Callable[[], Awaitable[Any]]


class Paced(Protocol):
    """What the poller needs of its process."""

    poll_seconds: float


class Attended(Protocol):
    """Something that may wait for other workers."""

    def __len__(self) -> int:
        """How much of it waits: none, and the poller may rest."""
        ...

    def due(self, now: float, *, is_beat: bool) -> Iterable[tuple[object, Step]]:
        """What is to be begun at a time (monotonic s), each step under what tells it from others.

        A beat comes every ``poll_seconds``; what was poked is due between two of them.
        """
        ...


class Poller:
    """Begins steps on the event loop, each unless it is still under way from before."""

    def __init__(self, host: Paced) -> None:
        self._host = host
        self._attended: list[Attended] = []
        self._something = asyncio.Event()
        self._poke = asyncio.Event()
        self._steps: asyncio.TaskGroup
        self._under_way: set[object] = set()
        self._next_beat = 0.0
        self._next_look = inf
        self._is_poked = False

    def attend(self, *parts: Attended) -> None:
        """Look after these from now on."""
        self._attended += parts

    def stir(self) -> None:
        """Something waits, perhaps for the first time."""
        self._something.set()

    def poke(self) -> None:
        """Something is due before the next beat."""
        self._is_poked = True
        self._poke.set()

    def look_at(self, at: float) -> None:
        """Something may be due at a time (monotonic s), perhaps before the next beat."""
        if at < self._next_look:
            self._next_look = at
            # For the poller to wait no longer than that.
            self._poke.set()

    async def run(self) -> None:
        """Poll until cancelled, at least every ``poll_seconds`` while anything waits."""
        async with asyncio.TaskGroup() as self._steps:
            while True:
                await self._something.wait()
                self._next_beat = time.monotonic() + self._host.poll_seconds
                while self._is_waiting():
                    try:
                        async with asyncio.timeout(min(self._next_beat, self._next_look) - time.monotonic()):
                            await self._poke.wait()
                    except TimeoutError:
                        pass
                    self._poke.clear()
                    is_time = time.monotonic() >= min(self._next_beat, self._next_look)
                    if self._is_waiting() and (self._is_poked or is_time):
                        self._tick()
                self._something.clear()

    def begin(self, what: object, step: Step) -> None:
        """Begin a step, unless it is still under way from before."""
        if what not in self._under_way:
            self._under_way.add(what)
            self._steps.create_task(self._guarded(what, step))

    def _is_waiting(self) -> bool:
        return any(map(len, self._attended))

    def _tick(self) -> None:
        now = time.monotonic()
        self._is_poked = False
        is_beat = now >= self._next_beat
        if is_beat:
            self._next_beat = now + self._host.poll_seconds
        if now >= self._next_look:
            self._next_look = inf
        for part in self._attended:
            for what, step in part.due(now, is_beat=is_beat):
                self.begin(what, step)

    async def _guarded(self, what: object, step: Step) -> None:
        try:
            await step()
        except StorageError as exc:
            logger.warning("a poll failed and will be repeated: %s", exc)
        except Exception:
            logger.exception("a poll failed")
        finally:
            self._under_way.discard(what)
