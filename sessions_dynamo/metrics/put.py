"""CloudWatch's ``PutMetricData``, for processes whose output CloudWatch Logs does not read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from sessions_dynamo.chunks import chunks
from sessions_dynamo.client import aws_client
from sessions_dynamo.errors import boto_errors
from sessions_dynamo.metrics.samples import NAMESPACE, Metric, service_dimensions

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient

MAX_VALUES: Final = 150
"""Different values of one datum; each is sent once, with its count."""
MAX_DATA: Final = 250
"""Of one request, which CloudWatch limits to 1,000 and to 1 MB: full data of times take 3 KB each."""


def send(metrics: Sequence[Metric]) -> None:
    """Put metrics, in as many requests as it takes. Raises ``StorageUnavailable``."""
    client: CloudWatchClient = aws_client("cloudwatch")
    for data in chunks((datum for metric in metrics for datum in _data(metric)), MAX_DATA):
        with boto_errors("CloudWatch"):
            client.put_metric_data(Namespace=NAMESPACE, MetricData=data)


def _data(metric: Metric) -> Iterator[Any]:
    dimensions = [
        {"Name": name, "Value": value} for name, value in service_dimensions(metric.tool, metric.table).items()
    ]
    for values in chunks(metric.values.items(), MAX_VALUES):
        yield {
            "MetricName": metric.name,
            "Dimensions": dimensions,
            "Timestamp": metric.minute,
            "Unit": metric.unit,
            "Values": [value for value, _ in values],
            "Counts": [float(times) for _, times in values],
        }
