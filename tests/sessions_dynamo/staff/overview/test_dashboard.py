"""The dashboard: health, charts and findings as they are read, within its budget, whatever does not answer."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from sessions_dynamo import metrics, schema
from sessions_dynamo.client import aws_client
from sessions_dynamo.reading import activity
from sessions_dynamo.staff.overview import charts, dashboard
from sessions_dynamo.store.calls import Call
from sessions_dynamo.store.events import default_store as events
from sessions_dynamo.store.sessions import default_store as sessions
from tests.engines import free_port, on_dynamodb_local, on_moto
from tests.sessions_dynamo.support import Wire, record_calls

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

pytestmark = pytest.mark.django_db

DASH = "\N{EN DASH}"
"""Stands for a number that is not known."""

BUDGET = 6
"""Requests of a page besides one Query a shard."""


def page(client: Client, **query: str) -> str:
    answer = client.get(reverse("mcp_staff:dashboard", query=query))
    assert answer.status_code == 200
    return str(answer.text)


def part(client: Client, name: str, **query: str) -> str:
    """A part as htmx asks for it."""
    answer = client.get(reverse(f"mcp_staff:dashboard-{name}", query=query), headers={"HX-Request": "true"})
    assert answer.status_code == 200
    assert "<html" not in answer.text
    return str(answer.text)


def totals(text: str) -> dict[str, str]:
    """What each number above a chart counts, and the number."""
    found = re.findall(r"<strong>([^<]+)</strong> ([a-z ]+?) ?<", text)
    return {what: number for number, what in found}


def numbers(text: str) -> list[int]:
    """The known numbers of all tables beneath charts."""
    return [int(value) for value in re.findall(r'data-value="(\d+)"', text)]


def add_calls(*outcomes: str, minutes_ago: float = 5) -> None:
    at = datetime.now(UTC) - timedelta(minutes=minutes_ago)
    calls = [Call(f"session-{number}", at, "tools/call", outcome, 1.0) for number, outcome in enumerate(outcomes)]
    record_calls(events(), *calls)


class TestPage:
    def test_it_says_that_all_is_well_and_lists_the_newest_sessions(
        self, dynamodb: DynamoDBClient, viewer: Client, settings: Settings
    ) -> None:
        ids = [sessions().create(principal="alice").session_id for _ in range(dashboard.LATEST + 2)]
        text = page(viewer)
        assert ">ready<" in text
        assert text.count(">ACTIVE<") == 2
        assert settings.DYNAMODB_EVENTS_TABLE in text
        assert sum(reverse("mcp_staff:session", args=[session_id]) in text for session_id in ids) == dashboard.LATEST

    def test_it_stays_within_its_budget_whatever_the_table_holds(
        self, dynamodb: DynamoDBClient, viewer: Client, wire: Wire
    ) -> None:
        for _ in range(30):
            sessions().create()
        with wire.counting() as requests:
            page(viewer)
        assert requests == {"DescribeTable": 4, "Query": schema.SHARDS + 1, "BatchGetItem": 1}

    @on_moto
    def test_an_empty_table_has_a_sentence(self, dynamodb: DynamoDBClient, viewer: Client) -> None:
        assert "No sessions yet" in page(viewer)

    @on_moto
    def test_the_range_is_in_the_address_of_every_part(self, dynamodb: DynamoDBClient, viewer: Client) -> None:
        text = page(viewer, range="7d")
        for name in dashboard.PARTS:
            assert f'hx-get="{reverse(f"mcp_staff:dashboard-{name}")}?range=7d"' in text
        assert re.findall(r'aria-current="page"><abbr title="([^"]+)"', text) == ["7 days"]

    @on_moto
    def test_a_range_that_there_is_not_is_told(self, dynamodb: DynamoDBClient, viewer: Client) -> None:
        assert "There is no such range" in page(viewer, range="<script>")

    @on_moto
    def test_what_a_client_calls_itself_does_no_harm(self, dynamodb: DynamoDBClient, viewer: Client) -> None:
        name = "<script>alert(1)</script>\u202e" + "x" * 10_000
        sessions().create(principal=name[:200], client_params={"clientInfo": {"name": name, "version": "1"}})
        answer = viewer.get(reverse("mcp_staff:dashboard"))
        assert "<script>alert" not in answer.text
        assert "&lt;script&gt;alert" in answer.text
        assert len(answer.content) < 100_000


class TestCharts:
    def test_active_sessions_are_counted_from_the_index(self, dynamodb: DynamoDBClient, viewer: Client) -> None:
        for _ in range(3):
            sessions().create()
        text = part(viewer, "active", range="1h")
        assert totals(text) == {"active now": "3"}
        assert sum(numbers(text)) == 3

    def test_created_sessions_calls_errors_and_events_are_counted(
        self, dynamodb: DynamoDBClient, viewer: Client
    ) -> None:
        sessions().create()
        add_calls("ok", "ok", "tool_error")
        events().store("one", "notifications/message", "{}")
        created, traffic = part(viewer, "created"), part(viewer, "traffic")
        assert totals(created) == {"created": "1"}
        assert totals(traffic) == {"tool calls": "3", "errors": "1", "events": "1"}
        assert sum(numbers(traffic)) == 3 + 1 + 1
        assert "METRICS is off" in created

    def test_a_sample_that_ends_early_says_how_many_and_since_when(
        self, dynamodb: DynamoDBClient, viewer: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(activity, "MAX_ROWS", schema.SHARDS)
        for minutes in range(10, 60, 10):
            add_calls(*["ok"] * 30, minutes_ago=minutes)
        text = part(viewer, "traffic", range="1h")
        assert re.search(r"The newest \d+, back to <time", text)
        assert "at least" in totals(text)["tool calls"]
        assert DASH in text

    @on_moto
    def test_what_was_not_kept_so_long_is_no_zero(self, dynamodb: DynamoDBClient, viewer: Client) -> None:
        text = part(viewer, "traffic", range="24h")
        assert "Older ones have expired" in text
        assert ">since <time" in text
        assert text.count(DASH) >= 17

    @on_moto
    def test_where_metrics_are_on_cloudwatch_is_asked_and_no_index(
        self, dynamodb: DynamoDBClient, viewer: Client, wire: Wire, settings: Settings
    ) -> None:
        settings.METRICS = "put"
        dimensions = [{"Name": name, "Value": value} for name, value in metrics.service_dimensions().items()]
        datum = {"Dimensions": dimensions, "Timestamp": datetime.now(UTC) - timedelta(minutes=3), "Unit": "Count"}
        aws_client("cloudwatch").put_metric_data(
            Namespace=metrics.NAMESPACE,
            MetricData=[
                {**datum, "MetricName": name, "Value": value}
                for name, value in (("SessionCreated", 41), ("ToolCalls", 1234), ("ToolErrors", 5))
            ],
        )
        with wire.counting() as requests:
            created, traffic = part(viewer, "created"), part(viewer, "traffic")
        assert totals(created) == {"created": "41"}
        assert totals(traffic) == {"tool calls": "1,234", "errors": "5", "events": DASH}
        assert "No datapoints" in traffic
        assert "From CloudWatch" in created
        assert requests.total() == 0

    @on_dynamodb_local
    def test_where_there_is_no_cloudwatch_the_index_counts_and_the_page_says_why(
        self, dynamodb: DynamoDBClient, viewer: Client, settings: Settings
    ) -> None:
        sessions().create()
        settings.METRICS = "put"
        text = part(viewer, "created")
        assert totals(text) == {"created": "1"}
        assert "has no CloudWatch" in text

    @on_moto
    def test_without_scripts_a_chart_is_a_page_with_its_table_open(
        self, dynamodb: DynamoDBClient, viewer: Client
    ) -> None:
        sessions().create()
        text = viewer.get(reverse("mcp_staff:dashboard-created")).text
        assert "Log out" in text
        assert "<details open>" in text


class TestTables:
    @pytest.mark.parametrize("name", list(dashboard.PARTS))
    def test_every_part_stays_within_the_budget(
        self, name: str, dynamodb: DynamoDBClient, viewer: Client, wire: Wire
    ) -> None:
        add_calls(*["ok"] * 150)
        with wire.counting() as requests:
            part(viewer, name)
        assert requests.total() > 0
        assert requests["Query"] <= schema.SHARDS
        assert requests.total() - requests["Query"] <= BUDGET

    @on_moto
    def test_what_is_off_is_listed_with_its_command(
        self, dynamodb: DynamoDBClient, viewer: Client, settings: Settings
    ) -> None:
        table = settings.DYNAMODB_EVENTS_TABLE
        dynamodb.update_table(TableName=table, StreamSpecification={"StreamEnabled": False})
        dynamodb.update_time_to_live(
            TableName=table, TimeToLiveSpecification={"Enabled": False, "AttributeName": schema.TTL_ATTRIBUTE}
        )
        text = part(viewer, "events-table")
        assert 'hx-swap-oob="true"' in text
        for words in ("Time to Live is off", "The stream is off", "point-in-time recovery is off"):
            assert words in text
        assert 'data-copy="manage.py dynamodb_setup"' in text

    @on_moto
    def test_the_page_that_mends_it_is_offered_to_those_who_may(
        self, dynamodb: DynamoDBClient, staff_client: Callable[..., Client], settings: Settings
    ) -> None:
        dynamodb.update_table(TableName=settings.DYNAMODB_SESSIONS_TABLE, StreamSpecification={"StreamEnabled": False})
        link = f'href="{reverse("mcp_staff:tables")}"'
        assert link not in part(staff_client("view_session"), "sessions-table")
        assert link in part(staff_client("view_session", "manage_tables"), "sessions-table")

    def test_readings_or_why_there_are_none(
        self, dynamodb: DynamoDBClient, viewer: Client, engine: tuple[str, str]
    ) -> None:
        text = part(viewer, "sessions-table")
        assert "Estimated cost" in text
        assert ("no datapoints" if engine[0] == "moto" else "has no CloudWatch") in text

    @on_moto
    def test_capacity_throttles_and_cost_are_read_from_cloudwatch(
        self, dynamodb: DynamoDBClient, viewer: Client, settings: Settings
    ) -> None:
        table = settings.DYNAMODB_SESSIONS_TABLE
        aws_client("cloudwatch").put_metric_data(
            Namespace="AWS/DynamoDB",
            MetricData=[
                {
                    "MetricName": name,
                    "Dimensions": [{"Name": "TableName", "Value": table}],
                    "Timestamp": datetime.now(UTC) - timedelta(minutes=5),
                    "Value": value,
                }
                for name, value in (("ConsumedReadCapacityUnits", 7200), ("WriteThrottleEvents", 12))
            ],
        )
        text = part(viewer, "sessions-table", range="1h")
        assert "7,200 units, 2.00 a second" in text
        assert "0 reads and 12 writes were throttled" in text
        # 7,200 an hour are 5,256,000 a month, at $0.1415 a million in eu-west-1.
        assert "$0.7437" in text

    @on_moto
    def test_a_missing_table_is_told_with_its_command(
        self, dynamodb: DynamoDBClient, viewer: Client, settings: Settings
    ) -> None:
        dynamodb.delete_table(TableName=settings.DYNAMODB_EVENTS_TABLE)
        text = page(viewer)
        assert ">not ready<" in text
        assert ">not read<" in text
        assert "manage.py dynamodb_setup" in text
        assert "the table does not exist" in part(viewer, "events-table")
        assert "manage.py dynamodb_setup" in part(viewer, "traffic")


class TestUnreachable:
    @pytest.fixture(autouse=True)
    def _nothing_listens(self, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
        settings.DYNAMODB_SESSIONS_TABLE = "unreachable"

    def test_health_says_so_and_no_part_is_asked_for(self, viewer: Client) -> None:
        text = page(viewer)
        assert ">not ready<" in text
        assert "Cannot reach unreachable" in text
        assert "Log out" in text
        assert "/admin/dashboard/" not in text

    @pytest.mark.parametrize("name", list(dashboard.PARTS))
    def test_a_part_says_so_in_its_place(self, name: str, viewer: Client) -> None:
        assert "Cannot reach" in part(viewer, name)


@pytest.mark.parametrize("chosen", charts.RANGES.values(), ids=str)
def test_steps_fill_a_range_and_the_last_is_under_way(chosen: charts.Range) -> None:
    now = datetime.now(UTC)
    steps = chosen.steps(now)
    assert steps[-1] <= now < steps[-1] + chosen.step
    assert len(steps) * chosen.step == chosen.length
    assert {later - earlier for earlier, later in pairwise(steps)} == {chosen.step}
