"""Readings from CloudWatch: what DynamoDB reports of the tables, and the service's own metrics."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

from botocore.exceptions import ClientError

from sessions_dynamo import metrics
from sessions_dynamo.chunks import chunks
from sessions_dynamo.client import aws_client, dynamodb, is_aws
from sessions_dynamo.errors import AccessDenied, StorageUnavailable, Unsupported, boto_errors
from sessions_dynamo.upkeep.readings import (
    Capacity,
    Latency,
    Measured,
    Operation,
    Point,
    Readings,
    Series,
    ServiceReadings,
    TableReadings,
    Window,
)

T = TypeVar("T")

OPERATIONS: Final = (
    "GetItem",
    "BatchGetItem",
    "Query",
    "Scan",
    "PutItem",
    "UpdateItem",
    "DeleteItem",
    "BatchWriteItem",
    "TransactWriteItems",
)
"""Those that this service sends, by the names that CloudWatch's dimension ``Operation`` has for them."""
PERIODS: Final = (60, 300, 3600, 86400)
"""Seconds of one datapoint."""
MAX_POINTS: Final = 300
"""Of one series; a longer time has a longer period."""
MAX_HOURS: Final = 24 * 90
MAX_QUERIES: Final = 500
"""Of one GetMetricData request."""


def table_readings(
    tables: Mapping[str, Sequence[str]], *, hours: float = 1, period: int | None = None, region: str | None = None
) -> Readings:
    """The last ``hours`` of some tables, given with the names of their indexes: one request for 500 metrics.

    Raises ``Unsupported`` where there is no CloudWatch, ``AccessDenied``, ``StorageUnavailable`` after at most 3 s.
    """
    client = _client(region)
    window = _window(hours, period)

    def build(ask: Ask) -> Readings:
        def capacity(table: str, index: str | None = None) -> Capacity:
            dimensions = {"TableName": table} | ({"GlobalSecondaryIndexName": index} if index else {})
            return Capacity(
                consumed_reads=ask(_table("ConsumedReadCapacityUnits", "Sum", dimensions)),
                consumed_writes=ask(_table("ConsumedWriteCapacityUnits", "Sum", dimensions)),
                provisioned_reads=ask(_table("ProvisionedReadCapacityUnits", "Average", dimensions)),
                provisioned_writes=ask(_table("ProvisionedWriteCapacityUnits", "Average", dimensions)),
                read_throttles=ask(_table("ReadThrottleEvents", "Sum", dimensions)),
                write_throttles=ask(_table("WriteThrottleEvents", "Sum", dimensions)),
            )

        def operation(table: str, name: str) -> Operation:
            dimensions = {"TableName": table, "Operation": name}
            return Operation(
                name,
                _latency(ask, _table("SuccessfulRequestLatency", "", dimensions), percentiles=is_aws(client)),
                throttled=ask(_table("ThrottledRequests", "Sum", dimensions)),
                system_errors=ask(_table("SystemErrors", "Sum", dimensions)),
            )

        return Readings(
            window,
            tuple(
                TableReadings(
                    table,
                    capacity(table),
                    {index: capacity(table, index) for index in indexes},
                    tuple(operation(table, name) for name in OPERATIONS),
                    ttl_deleted=ask(_table("TimeToLiveDeletedItemCount", "Sum", {"TableName": table})),
                )
                for table, indexes in tables.items()
            ),
            user_errors=ask(_table("UserErrors", "Sum", {})),
        )

    return _answered(client, window, build)


def service_series(
    *, hours: float = 1, period: int | None = None, tools: Iterable[str] = (), region: str | None = None
) -> ServiceReadings:
    """The last ``hours`` of this service's own metrics, and of those tools of it that are named.

    ``period`` is in seconds, by default what gives at most 300 datapoints. Empty where ``METRICS`` is off. Raises
    ``Unsupported`` where there is no CloudWatch, ``AccessDenied``, ``StorageUnavailable`` after at most 3 s.
    """
    client = _client(region)
    window = _window(hours, period)

    def build(ask: Ask) -> ServiceReadings:
        def measured(names: Iterable[str], tool: str = "") -> Measured:
            dimensions = tuple(metrics.service_dimensions(tool).items())

            def query(name: str, statistic: str) -> Query:
                return Query(metrics.NAMESPACE, name, statistic, dimensions)

            return Measured(
                {name: ask(query(name, "Sum")) for name in names},
                _latency(ask, query(metrics.REQUEST_LATENCY, ""), percentiles=is_aws(client)),
            )

        of_tools = {tool: measured(metrics.TOOL_COUNTS, tool) for tool in tools}
        return ServiceReadings(window, measured(metrics.COUNTS), of_tools)

    return _answered(client, window, build)


# --- Inside ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Query:
    """One statistic of one metric."""

    namespace: str
    name: str
    statistic: str
    dimensions: tuple[tuple[str, str], ...]


Ask = Callable[[Query], Series]


def _table(name: str, statistic: str, dimensions: Mapping[str, str]) -> Query:
    return Query("AWS/DynamoDB", name, statistic, tuple(dimensions.items()))


def _latency(ask: Ask, query: Query, *, percentiles: bool) -> Latency:
    def statistic(name: str) -> Series:
        return ask(Query(query.namespace, query.name, name, query.dimensions))

    # moto fails the whole request for a percentile.
    return Latency(statistic("SampleCount"), statistic("Average"), statistic("p99") if percentiles else None)


def _window(hours: float, period: int | None) -> Window:
    if not 0 < hours <= MAX_HOURS:
        raise ValueError(f"Hours must be above 0 and at most {MAX_HOURS}, not {hours:g}.")
    # Whole minutes: CloudWatch rounds so itself.
    end = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)
    seconds = hours * 3600
    period = period or next((each for each in PERIODS if seconds / each <= MAX_POINTS), PERIODS[-1])
    return Window(end - timedelta(minutes=max(1, round(hours * 60))), end, period)


def _client(region: str | None) -> Any:
    """CloudWatch where the tables are; raises ``Unsupported`` where it would know of other tables than these."""
    tables = dynamodb(region, quick=True)
    client = aws_client("cloudwatch", region, quick=True)
    if is_aws(client) and not is_aws(tables):
        raise Unsupported(f"The DynamoDB at {tables.meta.endpoint_url} is no part of AWS: CloudWatch has no readings.")
    return client


def _answered(client: Any, window: Window, build: Callable[[Ask], T]) -> T:
    """Build twice: once to hear what is asked, then with the answers."""
    asked: dict[Query, None] = {}

    def hear(query: Query) -> Series:
        asked[query] = None
        return Series()

    build(hear)
    answers = _read(client, window, list(asked))
    return build(answers.__getitem__)


def _read(client: Any, window: Window, queries: Sequence[Query]) -> dict[Query, Series]:
    points: defaultdict[str, dict[datetime, float]] = defaultdict(dict)
    ids = {query: f"m{number}" for number, query in enumerate(queries)}
    for chunk in chunks(ids.items(), MAX_QUERIES):
        for page in _pages(client, window, [_request(id_, query, window.period) for query, id_ in chunk]):
            for result in page["MetricDataResults"]:
                if result.get("StatusCode") in ("InternalError", "Forbidden"):
                    raise StorageUnavailable(f"CloudWatch could not answer ({result['StatusCode']}): try again.")
                points[result["Id"]].update(zip(result["Timestamps"], result["Values"], strict=True))
    return {
        query: Series(tuple(Point(at.astimezone(UTC), value) for at, value in sorted(points[id_].items())))
        for query, id_ in ids.items()
    }


def _pages(client: Any, window: Window, queries: list[Any]) -> Iterator[Any]:
    paginator = client.get_paginator("get_metric_data")
    try:
        with boto_errors("CloudWatch"):
            yield from paginator.paginate(StartTime=window.start, EndTime=window.end, MetricDataQueries=queries)
    except AccessDenied as exc:
        said = exc.__cause__.response["Error"].get("Message", "") if isinstance(exc.__cause__, ClientError) else ""
        raise AccessDenied(
            f"Access denied: the IAM action cloudwatch:GetMetricData is needed. AWS said: {said}"
        ) from exc.__cause__
    except StorageUnavailable as exc:
        if isinstance(exc.__cause__, ClientError) and not is_aws(client):
            raise Unsupported(f"The engine at {client.meta.endpoint_url} has no CloudWatch.") from exc
        raise


def _request(id_: str, query: Query, period: int) -> dict[str, Any]:
    dimensions = [{"Name": name, "Value": value} for name, value in query.dimensions]
    metric = {"Namespace": query.namespace, "MetricName": query.name, "Dimensions": dimensions}
    return {"Id": id_, "MetricStat": {"Metric": metric, "Period": period, "Stat": query.statistic}}
