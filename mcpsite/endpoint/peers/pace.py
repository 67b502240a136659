"""How often something is read that others may have written: often while anything comes, seldom once nothing does."""

from __future__ import annotations

import time
from typing import Final

from mcpsite.endpoint.peers.poller import Paced

BUSY_POLLS: Final = 60
"""At so many beats after the last that came, or was expected, it is read: half a minute's."""
IDLE_FACTOR: Final = 8
"""What stays quiet is read this many times less often, by and by."""


class Pace:
    """When the next read is due."""

    def __init__(self, host: Paced) -> None:
        self.slow_seconds: float | None = None
        """Between two reads while a bell tells when there is something to read."""
        self._host = host
        self._busy_until = 0.0
        self._interval = 0.0
        self._next = 0.0

    def hurry(self) -> None:
        """Something came, or may come soon."""
        self._busy_until = time.monotonic() + BUSY_POLLS * self._host.poll_seconds
        if self._interval > self._host.poll_seconds:
            self._interval = self._host.poll_seconds
            if self.slow_seconds is None:
                self._next = min(self._next, time.monotonic() + self._interval)

    def ring(self) -> None:
        """There is something: it is to be read at once."""
        self._next = 0.0

    def is_due(self, now: float) -> bool:
        """Whether it is time (monotonic s) to read."""
        return now >= self._next

    def begin(self, now: float) -> None:
        """A read begins: when will the next?"""
        poll = self._host.poll_seconds
        self._interval = poll if now < self._busy_until else min(max(poll, self._interval * 2), poll * IDLE_FACTOR)
        # A little before the beat that is meant.
        self._next = now + (self.slow_seconds or self._interval) - poll / 4
