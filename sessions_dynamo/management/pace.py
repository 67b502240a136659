"""A progress bar for work that reports every single item."""

from __future__ import annotations

import sys
import time
from typing import Final

from django.core.management.base import OutputWrapper

from sessions_dynamo.management.progress import ProgressBar


class PacedProgress:
    """A bar on standard error that may be told of every item; ``expected`` is about how many there are."""

    SECONDS: Final = 0.5

    def __init__(self, what: str, expected: int | None = None, unit: str = "items") -> None:
        self._bar = ProgressBar(OutputWrapper(sys.stderr), what, expected, unit)
        self._began = self._last = time.monotonic()

    def __call__(self, done: int) -> None:
        """Show that ``done`` items are done, if it is time to."""
        now = time.monotonic()
        if now - self._last >= self.SECONDS:
            self._last = now
            self._bar(done, now - self._began)

    def expect(self, expected: int) -> None:
        """About how many items there are, where that becomes known."""
        self._bar.expect(expected)

    def clear(self) -> None:
        """Take the line away, before another is written."""
        self._bar.clear()
