from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any

import pytest
from botocore.stub import ANY, Stubber
from pytest_django import Settings

from sessions_dynamo import client
from sessions_dynamo.errors import AccessDenied, StorageUnavailable, Unsupported
from sessions_dynamo.upkeep.cloudwatch import OPERATIONS, service_series, table_readings
from sessions_dynamo.upkeep.readings import Latency, Point, Series
from tests.engines import on_dynamodb_local, on_moto

Put = Callable[..., None]


@pytest.fixture
def at(engine: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """The engine's URL, for every AWS service."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", engine[1])
    return engine[1]


@pytest.fixture
def table() -> str:
    """A table's name that no other test measures; there need be no such table."""
    return f"sessions-{os.urandom(4).hex()}"


@pytest.fixture
def put(at: str) -> Put:
    """Puts what DynamoDB itself would report: a metric's value, some minutes ago."""

    def put(metric: str, value: float, *, minutes: float = 5, samples: int = 1, **dimensions: str) -> None:
        datum = {
            "MetricName": metric,
            "Dimensions": [{"Name": name, "Value": text} for name, text in dimensions.items()],
            "Timestamp": datetime.now(UTC) - timedelta(minutes=minutes),
            "Values": [value],
            "Counts": [samples],
        }
        client.aws_client("cloudwatch").put_metric_data(Namespace="AWS/DynamoDB", MetricData=[datum])

    return put


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stubber]:
    """AWS's own CloudWatch, whose answers are given here: no test reaches AWS."""
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    client.aws_client.cache_clear()
    with Stubber(client.aws_client("cloudwatch", None, quick=True)) as stub:
        yield stub
    client.aws_client.cache_clear()


@on_moto
class TestTableReadings:
    def test_capacity_of_a_table_is_its_own_and_its_indexes(self, put: Put, table: str) -> None:
        put("ConsumedReadCapacityUnits", 10, TableName=table)
        put("ConsumedReadCapacityUnits", 4, TableName=table, minutes=20)
        put("ConsumedReadCapacityUnits", 2.5, TableName=table, GlobalSecondaryIndexName="CreatedAtIndex")
        put("ConsumedReadCapacityUnits", 1000, TableName="another")

        (found,) = table_readings({table: ["CreatedAtIndex"]}).tables

        assert found.capacity.consumed_reads.total == 14
        assert [point.value for point in found.capacity.consumed_reads.points] == [4, 10]
        assert found.indexes["CreatedAtIndex"].consumed_reads.total == 2.5
        assert found.total(attrgetter("consumed_reads")) == 16.5

    def test_no_datapoints_are_not_0(self, put: Put, table: str) -> None:
        put("WriteThrottleEvents", 0, TableName=table)

        readings = table_readings({table: []})

        (found,) = readings.tables
        assert found.total(attrgetter("write_throttles")) == 0
        assert found.total(attrgetter("read_throttles")) is None
        assert found.total(attrgetter("consumed_reads")) is None
        assert found.throttled_requests is None
        assert found.system_errors is None
        assert found.ttl_deleted.highest is None
        assert readings.user_errors.total is None

    def test_operations_have_their_latency_throttles_and_errors(self, put: Put, table: str) -> None:
        put("SuccessfulRequestLatency", 2, samples=30, TableName=table, Operation="GetItem")
        put("SuccessfulRequestLatency", 10, samples=10, minutes=20, TableName=table, Operation="GetItem")
        put("ThrottledRequests", 3, TableName=table, Operation="UpdateItem")
        put("SystemErrors", 1, TableName=table, Operation="UpdateItem")
        put("TimeToLiveDeletedItemCount", 12, TableName=table)
        put("UserErrors", 5)

        readings = table_readings({table: []})

        (found,) = readings.tables
        get = next(operation for operation in found.operations if operation.name == "GetItem")
        assert (get.latency.samples.total, get.latency.mean) == (40, 4)
        assert get.latency.worst_p99 is None  # moto has no percentiles.
        assert (found.throttled_requests, found.system_errors) == (3, 1)
        assert found.ttl_deleted.total == 12
        assert readings.user_errors.total == 5

    def test_reads_the_hours_that_were_asked_for(self, put: Put, table: str) -> None:
        put("ConsumedWriteCapacityUnits", 1, TableName=table)
        put("ConsumedWriteCapacityUnits", 10, TableName=table, minutes=90)

        one, two = (table_readings({table: []}, hours=hours) for hours in (1, 2))

        assert one.tables[0].capacity.consumed_writes.total == 1
        assert two.tables[0].capacity.consumed_writes.total == 11
        assert (one.window.hours, two.window.hours) == (1, 2)

    @pytest.mark.parametrize(("hours", "period"), [(1, 60), (5, 60), (24, 300), (168, 3600), (2160, 86400)])
    def test_a_longer_time_has_longer_periods(self, at: str, hours: float, period: int) -> None:
        assert service_series(hours=hours).window.period == period

    @pytest.mark.parametrize("hours", [0, -1, 2161, float("nan")])
    def test_refuses_hours_that_cannot_be_read(self, at: str, hours: float) -> None:
        with pytest.raises(ValueError, match="above 0 and at most 2160"):
            table_readings({}, hours=hours)


class TestOnAws:
    def test_asks_for_everything_at_once_and_for_the_99th_percentile(self, aws: Stubber) -> None:
        asked: list[Any] = []
        hooks = aws.client.meta.events
        hooks.register("before-parameter-build.cloudwatch.GetMetricData", lambda params, **_: asked.append(params))
        aws.add_response("get_metric_data", {"MetricDataResults": []})

        table_readings({"a": ["i", "j"], "b": []})

        (request,) = asked
        queries = [query["MetricStat"] for query in request["MetricDataQueries"]]
        assert len(queries) == 4 * 6 + 2 * (5 * len(OPERATIONS) + 1) + 1
        p99 = [query["Metric"]["MetricName"] for query in queries if query["Stat"] == "p99"]
        assert p99 == ["SuccessfulRequestLatency"] * 2 * len(OPERATIONS)
        assert {query["Period"] for query in queries} == {60}

    def test_pages_are_put_together_in_order_of_time(self, aws: Stubber) -> None:
        later, sooner = datetime(2026, 11, 22, 3, 5, tzinfo=UTC), datetime(2026, 11, 22, 3, 0, tzinfo=UTC)

        def page(at: datetime, value: float) -> dict[str, Any]:
            return {"Id": "m0", "Timestamps": [at], "Values": [value], "StatusCode": "PartialData"}

        aws.add_response("get_metric_data", {"MetricDataResults": [page(later, 2)], "NextToken": "more"})
        second = {"StartTime": ANY, "EndTime": ANY, "MetricDataQueries": ANY, "NextToken": "more"}
        aws.add_response("get_metric_data", {"MetricDataResults": [page(sooner, 1)]}, second)

        found = service_series()

        assert found.service.counts["SessionCreated"].points == (Point(sooner, 1), Point(later, 2))

    def test_an_answer_that_failed_is_not_taken_for_no_datapoints(self, aws: Stubber) -> None:
        failed = {"Id": "m0", "Timestamps": [], "Values": [], "StatusCode": "InternalError"}
        aws.add_response("get_metric_data", {"MetricDataResults": [failed]})

        with pytest.raises(StorageUnavailable, match="InternalError"):
            service_series()

    def test_a_missing_permission_names_its_action(self, aws: Stubber) -> None:
        aws.add_client_error("get_metric_data", "AccessDenied", "not authorized")

        with pytest.raises(AccessDenied) as denied:
            service_series()

        needed = "Access denied: the IAM action cloudwatch:GetMetricData is needed. AWS said: not authorized"
        assert str(denied.value) == needed

    def test_a_throttle_is_no_missing_cloudwatch(self, aws: Stubber) -> None:
        aws.add_client_error("get_metric_data", "ThrottlingException", "Rate exceeded")

        with pytest.raises(StorageUnavailable, match="GetMetricData"):
            service_series()


class TestWithoutCloudWatch:
    @on_dynamodb_local
    def test_an_engine_without_it_is_said_to_have_none(self, at: str) -> None:
        with pytest.raises(Unsupported, match="has no CloudWatch"):
            table_readings({"any": []})

    def test_aws_is_not_asked_about_an_emulators_tables(
        self, monkeypatch: pytest.MonkeyPatch, settings: Settings
    ) -> None:
        monkeypatch.delenv("AWS_ENDPOINT_URL")
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:9")
        client.aws_client.cache_clear()
        try:
            with pytest.raises(Unsupported, match=r"The DynamoDB at http://127.0.0.1:9 is no part of AWS"):
                table_readings({"mcp-sessions": []})
        finally:
            client.aws_client.cache_clear()

    def test_one_that_does_not_answer_is_unavailable(self, settings: Settings) -> None:
        client.aws_client.cache_clear()  # tests/settings.py points every service where nothing listens.
        with pytest.raises(StorageUnavailable, match="Cannot reach CloudWatch"):
            service_series()


class TestLatency:
    def test_a_mean_weighs_each_period_by_its_samples(self) -> None:
        one, two, three = (datetime(2026, 11, 22, 3, minute, tzinfo=UTC) for minute in (0, 1, 2))

        latency = Latency(
            samples=Series((Point(one, 99), Point(two, 1), Point(three, 5))),
            average=Series((Point(one, 1), Point(two, 101))),
            p99=Series((Point(one, 4), Point(two, 101))),
        )

        assert latency.mean == 2
        assert latency.worst_p99 == 101

    def test_without_datapoints_there_is_none(self) -> None:
        nothing = Latency(Series(), Series(), Series())

        assert (nothing.mean, nothing.worst_p99) == (None, None)
