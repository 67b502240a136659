"""What CloudWatch measured, as values.

A metric without datapoints is an empty ``Series`` and its total ``None``: DynamoDB reports most of them only when
something happened, and an emulator may never, so nothing is taken for 0 here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Point:
    """One datapoint: when its period began, and the value."""

    at: datetime
    value: float


@dataclass(frozen=True, slots=True)
class Series:
    """One metric's datapoints, oldest first; empty where CloudWatch has none."""

    points: tuple[Point, ...] = ()

    @property
    def total(self) -> float | None:
        """The sum of the datapoints; ``None`` without any."""
        return sum(point.value for point in self.points) if self.points else None

    @property
    def highest(self) -> float | None:
        """The highest datapoint; ``None`` without any."""
        return max((point.value for point in self.points), default=None)

    @property
    def mean(self) -> float | None:
        """The mean of the datapoints; ``None`` without any."""
        return sum(point.value for point in self.points) / len(self.points) if self.points else None


@dataclass(frozen=True, slots=True)
class Window:
    """The time that was read, and the seconds of one datapoint."""

    start: datetime
    end: datetime
    period: int

    @property
    def hours(self) -> float:
        """How long it is."""
        return (self.end - self.start) / timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Latency:
    """Times in milliseconds, a datapoint a period. ``p99`` is ``None`` where the engine has no percentiles."""

    samples: Series
    average: Series
    p99: Series | None

    @property
    def mean(self) -> float | None:
        """The mean of all samples; ``None`` without any."""
        times = {point.at: point.value for point in self.average.points}
        weights = [(point.value, times[point.at]) for point in self.samples.points if point.at in times]
        count = sum(weight for weight, _ in weights)
        return sum(weight * time for weight, time in weights) / count if count else None

    @property
    def worst_p99(self) -> float | None:
        """The highest p99 of a period; ``None`` where there is none."""
        return self.p99.highest if self.p99 else None


@dataclass(frozen=True, slots=True)
class Capacity:
    """Of a table without its indexes, or of one index, in capacity or request units. ``provisioned_*`` are a second's.

    Throttles are events: a batch may have several.
    """

    consumed_reads: Series
    consumed_writes: Series
    provisioned_reads: Series
    provisioned_writes: Series
    read_throttles: Series
    write_throttles: Series


@dataclass(frozen=True, slots=True)
class Operation:
    """One DynamoDB operation on a table: successful requests and their latency, throttled ones, HTTP 500s."""

    name: str
    latency: Latency
    throttled: Series
    system_errors: Series


@dataclass(frozen=True, slots=True)
class TableReadings:
    """What CloudWatch has of one table."""

    table: str
    capacity: Capacity
    indexes: Mapping[str, Capacity]
    operations: tuple[Operation, ...]
    ttl_deleted: Series
    """Items that Time to Live deleted."""

    def total(self, of: Callable[[Capacity], Series]) -> float | None:
        """A sum over the table and its indexes, such as of ``consumed_reads``; ``None`` without a datapoint."""
        return _sum(of(capacity).total for capacity in (self.capacity, *self.indexes.values()))

    @property
    def throttled_requests(self) -> float | None:
        """Requests that were throttled, of all operations."""
        return _sum(operation.throttled.total for operation in self.operations)

    @property
    def system_errors(self) -> float | None:
        """Requests that DynamoDB failed (HTTP 500), of all operations."""
        return _sum(operation.system_errors.total for operation in self.operations)


@dataclass(frozen=True, slots=True)
class Readings:
    """What CloudWatch has of some tables. ``user_errors`` (HTTP 400) are the account's in the region, of all tables."""

    window: Window
    tables: tuple[TableReadings, ...]
    user_errors: Series


@dataclass(frozen=True, slots=True)
class Measured:
    """Our own metrics, of the service or of one of its tools: counts by name, and the latency of its requests."""

    counts: Mapping[str, Series]
    latency: Latency


@dataclass(frozen=True, slots=True)
class ServiceReadings:
    """What CloudWatch has of ``MCP/Sessions``."""

    window: Window
    service: Measured
    tools: Mapping[str, Measured]


def _sum(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
