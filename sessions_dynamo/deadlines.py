"""Deadlines of connections that are moved with every request: one timer that looks, rather than one for each wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

MIN_PERIOD: Final = 0.01


class Deadline:
    """Calls ``missed`` when a deadline passes that was neither moved nor lifted. Belongs to one loop.

    Its timer looks every ``period`` (s) for as long as there is a deadline, so that to move one that is further off
    than that costs nothing: a timer for each wait is made and thrown away with every request.
    """

    __slots__ = ("_at", "_loop", "_missed", "_period", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, period: float, missed: Callable[[], None]) -> None:
        self._loop = loop
        self._period = max(period, MIN_PERIOD)
        self._missed = missed
        self._at: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_set(self) -> bool:
        """Whether anything is waited for."""
        return self._at is not None

    def set(self, seconds: float) -> None:
        """Have it pass in so many seconds."""
        now = self._loop.time()
        self._at = now + seconds
        if self._timer is not None:
            if self._timer.when() <= self._at:
                return
            self._timer.cancel()
        self._wind(now, self._at)

    def lift(self) -> None:
        """Wait for nothing; the timer runs out by itself, for the next request may need it."""
        self._at = None

    def end(self) -> None:
        """Wait for nothing any more."""
        self._at = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if self._at is None:
            return
        now = self._loop.time()
        if now < self._at:
            self._wind(now, self._at)
            return
        self._at = None
        self._missed()

    def _wind(self, now: float, at: float) -> None:
        self._timer = self._loop.call_at(min(at, now + self._period), self._look)
