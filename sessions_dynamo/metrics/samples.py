"""What was counted, by minute, metric and tool, until it is sent."""

from __future__ import annotations

import math
import re
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

from sessions_dynamo.conf import conf

NAMESPACE: Final = "MCP/Sessions"
TOOL_COUNTS: Final = ("ToolCalls", "ToolErrors")
"""Counted for the service, and again for each tool."""
COUNTS: Final = (
    *("SessionCreated", "SessionTerminated", "SessionExpired"),
    *TOOL_COUNTS,
    *("StreamResumed", "EventsStored", "LeaseExpired", "LoopBlocked"),
)
REQUEST_LATENCY: Final = "RequestLatency"
OPEN_STREAMS: Final = "OpenStreams"
BACKUP_AGE: Final = "BackupAge"

MAX_TOOLS: Final = 100
"""Tools with metrics of their own; further ones count for the service alone. CloudWatch charges for each metric."""
SIGNIFICANT_DIGITS: Final = 2
"""Of a time: within 5 % of what was measured, and few enough values to send each with its count."""

_NAME: Final = re.compile(r"[!-~][ -~]{0,254}")
"""What CloudWatch takes as a dimension's value; it refuses a whole request for another."""

Unit = Literal["Count", "Milliseconds", "Seconds"]
UNITS: Final[Mapping[str, Unit]] = {
    **dict.fromkeys(COUNTS, "Count"),
    REQUEST_LATENCY: "Milliseconds",
    OPEN_STREAMS: "Count",
    BACKUP_AGE: "Seconds",
}
"""Every metric that this code emits."""

Key = tuple[int, str, str]
"""Minutes since the epoch, a tool or an empty text for the service, and a metric's name."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric of one minute: its values, and how often each occurred. A count is one value, the minute's sum."""

    name: str
    unit: Unit
    minute: datetime
    tool: str
    """Empty for a metric of the service as a whole."""
    values: Mapping[float, int]
    table: str = ""
    """Of a metric of one table; empty for the service's own, which are under its sessions table."""


class Samples:
    """Collects from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[Key] = Counter()
        self._times: defaultdict[Key, Counter[float]] = defaultdict(Counter)
        self._tools: set[str] = set()

    def count(self, name: str, value: int, tool: str | None) -> None:
        """Add to a count."""
        with self._lock:
            for key in self._keys(name, tool):
                self._counts[key] += value

    def time(self, name: str, ms: float, tool: str | None) -> None:
        """Add one measured time, in milliseconds."""
        with self._lock:
            for key in self._keys(name, tool):
                self._times[key][_rounded(ms)] += 1

    def take(self) -> list[Metric]:
        """Everything so far, by minute and tool, and begin anew."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
            times, self._times = self._times, defaultdict(Counter)
        metrics = [_metric(key, "Count", {total: 1}) for key, total in counts.items()]
        metrics += [_metric(key, "Milliseconds", values) for key, values in times.items()]
        return sorted(metrics, key=lambda metric: (metric.minute, metric.tool, metric.name))

    def _keys(self, name: str, tool: str | None) -> Iterator[Key]:
        minute = int(time.time() // 60)
        yield minute, "", name
        if tool and (tool in self._tools or (len(self._tools) < MAX_TOOLS and _NAME.fullmatch(tool))):
            self._tools.add(tool)
            yield minute, tool, name


def service_dimensions(tool: str = "", table: str = "") -> dict[str, str]:
    """The dimensions of this service's metrics: two services of one account differ in their tables."""
    dimensions = {"Environment": conf.ENVIRONMENT, "Table": table or conf.DYNAMODB_SESSIONS_TABLE, "Tool": tool}
    # CloudWatch refuses an empty value.
    return {name: value for name, value in dimensions.items() if value}


def reading(name: str, value: float, *, table: str = "") -> Metric:
    """What was read just now, rather than counted."""
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    return Metric(name, UNITS[name], now, "", {value: 1}, table)


def _metric(key: Key, unit: Unit, values: Mapping[float, int]) -> Metric:
    minute, tool, name = key
    return Metric(name, unit, datetime.fromtimestamp(minute * 60, UTC), tool, values)


def _rounded(ms: float) -> float:
    return round(ms, SIGNIFICANT_DIGITS - 1 - math.floor(math.log10(ms))) if ms > 0 else 0.0
