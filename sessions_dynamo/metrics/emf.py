"""CloudWatch's embedded metric format: one JSON line on standard output, from which CloudWatch Logs makes metrics.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from itertools import chain, groupby, repeat
from typing import Any, Final

from sessions_dynamo.chunks import chunks
from sessions_dynamo.metrics.samples import NAMESPACE, Metric, service_dimensions

MAX_VALUES: Final = 100
"""Of one metric in one document. The format has no counts, so a value stands there as often as it occurred."""


def send(metrics: Sequence[Metric]) -> None:
    """Write metrics to standard output; a line at a time, because other processes may write there too."""
    for line in lines(metrics):
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()


def lines(metrics: Sequence[Metric]) -> Iterator[str]:
    """The documents of metrics, sorted by minute, tool and table: one each, and more for times over ``MAX_VALUES``."""
    for _, group in groupby(metrics, key=lambda metric: (metric.minute, metric.tool, metric.table)):
        waiting = [(metric, _chunks(metric)) for metric in group]
        while members := [(metric, value) for metric, values in waiting if (value := next(values, None)) is not None]:
            yield json.dumps(_document(members), separators=(",", ":"))


def _document(members: Sequence[tuple[Metric, Any]]) -> dict[str, Any]:
    first = members[0][0]
    dimensions = service_dimensions(first.tool, first.table)
    directive = {
        "Namespace": NAMESPACE,
        "Dimensions": [list(dimensions)],
        "Metrics": [{"Name": metric.name, "Unit": metric.unit} for metric, _ in members],
    }
    metadata = {"Timestamp": int(first.minute.timestamp() * 1000), "CloudWatchMetrics": [directive]}
    return {"_aws": metadata, **dimensions, **{metric.name: value for metric, value in members}}


def _chunks(metric: Metric) -> Iterator[float | list[float]]:
    """Times in lists, anything else as one number."""
    if metric.unit != "Milliseconds":
        yield from metric.values
        return
    occurred = chain.from_iterable(repeat(value, times) for value, times in metric.values.items())
    yield from chunks(occurred, MAX_VALUES)
