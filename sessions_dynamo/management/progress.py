"""How far a long count has come: one line that changes on a terminal, else a line now and then."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from django.core.management.base import OutputWrapper


class ProgressBar:
    """Items done, items a second and time left, for a command; ``expected`` is about how many there are, if known.

    They are called ``unit``.
    """

    BAR: Final = 24
    """Characters of the bar itself, at most; where the line leaves it fewer than ``LEAST_BAR`` there is none."""
    LEAST_BAR: Final = 5
    LOG_SECONDS: Final = 30.0
    """Off a terminal, a line this often."""

    def __init__(self, out: OutputWrapper, what: str, expected: int | None = None, unit: str = "items") -> None:
        self._out = out
        self._what = what
        self._unit = unit
        self._expected = expected or 0
        self._logged = 0.0
        self._shown = 0
        self.done = 0
        self.seconds = 0.0

    def __call__(self, done: int, seconds: float) -> None:
        """Show that ``done`` items are done, ``seconds`` after the start."""
        self.done, self.seconds = done, seconds
        if self._out.isatty():
            # Cut, because a line that the terminal wraps cannot be overwritten.
            room = columns(self._out) - 1
            line = self._line(room)[:room]
            self._out.write(f"\r{line:{self._shown}}", ending="")
            self._out.flush()
            self._shown = len(line)
        elif seconds - self._logged >= self.LOG_SECONDS:
            self._out.write(self._words())
            self._out.flush()
            self._logged = seconds

    def expect(self, expected: int) -> None:
        """About how many there are, where that becomes known."""
        self._expected = expected

    def clear(self) -> None:
        """Take the line away, before another is written."""
        if self._shown:
            self._out.write(f"\r{'':{self._shown}}\r", ending="")
            self._shown = 0

    @property
    def rate(self) -> float:
        """Items a second since the start."""
        return self.done / self.seconds if self.seconds else 0.0

    def _line(self, room: int) -> str:
        """The words in at most so many characters, if they go in, and the bar in what is left."""
        words = self._words()
        if len(words) > room:
            words = self._words(short=True)
        bar = min(self.BAR, room - len(words) - len("[] "))
        if not self._counts or bar < self.LEAST_BAR:
            return words
        full = bar * self.done // self._expected
        what = f"{self._what}: "
        return f"{what}[{'#' * full}{'.' * (bar - full)}] {words.removeprefix(what)}"

    def _words(self, *, short: bool = False) -> str:
        line = f"{self._what}: {self.done:,}"
        if self._counts:
            line += f" of {self._expected:,}" if short else f" of about {self._expected:,}"
        line += f", {self.rate:,.0f}/s" if short else f" {self._unit}, {self.rate:,.0f} a second"
        if self._counts and self.rate:
            line += f", {duration((self._expected - self.done) / self.rate)} left"
        return line

    @property
    def _counts(self) -> bool:
        """Whether what was expected can still be believed."""
        return self._expected >= max(self.done, 1)


def columns(out: OutputWrapper) -> int:
    """Columns of the terminal that a command's output is: standard error may be one where standard output is none."""
    try:
        return os.get_terminal_size(out.fileno()).columns or shutil.get_terminal_size().columns
    except (AttributeError, OSError, ValueError):
        return shutil.get_terminal_size().columns


def duration(seconds: float) -> str:
    """A span of time as people say it: ``45 s``, ``12 min``, ``3 h 20 min``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
