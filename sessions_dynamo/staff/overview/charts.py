"""The dashboard's charts: a range of time in even steps, filled from CloudWatch or from a sample of the indexes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from sessions_dynamo.reading.activity import Sample
from sessions_dynamo.upkeep.readings import Series


@dataclass(frozen=True, slots=True)
class Range:
    """A time that ends now, as the URL names it."""

    key: str
    words: str
    length: timedelta
    step: timedelta
    """Of one bar."""

    @property
    def hours(self) -> float:
        return self.length / timedelta(hours=1)

    def steps(self, now: datetime) -> list[datetime]:
        """When each bar begins, oldest first: whole steps in UTC, the last one under way."""
        step = self.step.total_seconds()
        last = datetime.fromtimestamp(now.timestamp() // step * step, UTC)
        count = self.length // self.step
        return [last - self.step * back for back in reversed(range(count))]


RANGES: Final = {
    each.key: each
    for each in (
        Range("1h", "1 hour", timedelta(hours=1), timedelta(minutes=2)),
        Range("6h", "6 hours", timedelta(hours=6), timedelta(minutes=15)),
        Range("24h", "24 hours", timedelta(hours=24), timedelta(hours=1)),
        Range("7d", "7 days", timedelta(days=7), timedelta(hours=6)),
    )
}
DEFAULT: Final = RANGES["6h"]


@dataclass(frozen=True, slots=True)
class Line:
    """One series of a chart: a number a step, ``None`` where nothing is known."""

    name: str
    values: tuple[int | None, ...]
    is_lower_bound: bool = False

    @property
    def total(self) -> int | None:
        """The sum of what is known; ``None`` where nothing is."""
        known = [value for value in self.values if value is not None]
        return sum(known) if known else None


@dataclass(frozen=True, slots=True)
class BackTo:
    """Where a sample ends that does not reach back to a chart's beginning; ``None``: for want of older ones."""

    since: datetime
    newest: int | None
    """So many, the newest, were counted."""


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart, and the table of the same numbers."""

    key: str
    title: str
    steps: tuple[datetime, ...]
    lines: tuple[Line, ...]
    source: str
    """Where the numbers come from, a sentence."""
    back_to: BackTo | None = None

    @property
    def rows(self) -> list[tuple[datetime, tuple[int | None, ...]]]:
        """The table: a step, and each line's number."""
        return list(zip(self.steps, zip(*(line.values for line in self.lines), strict=True), strict=True))

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not any(line.total for line in self.lines)


def from_sample(name: str, sample: Sample, steps: Sequence[datetime], step: timedelta) -> Line:
    """Count a sample by step. Before the sample begins nothing is known; the step that it begins in is counted."""
    counts: list[int | None] = [None if begin + step <= sample.since else 0 for begin in steps]
    for at in sample.times:
        place = (at - steps[0]) // step
        if 0 <= place < len(counts):
            counts[place] = (counts[place] or 0) + 1
    return Line(name, tuple(counts), is_lower_bound=sample.is_cut)


def from_series(name: str, series: Series, steps: Sequence[datetime], step: timedelta) -> Line:
    """Add a metric's datapoints up by step. A step without one stays unknown: nothing is taken for 0."""
    counts: list[int | None] = [None] * len(steps)
    for point in series.points:
        place = (point.at - steps[0]) // step
        if 0 <= place < len(counts):
            counts[place] = (counts[place] or 0) + round(point.value)
    return Line(name, tuple(counts))
