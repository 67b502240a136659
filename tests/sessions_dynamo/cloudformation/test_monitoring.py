"""Alarms and dashboard look at metrics that are there: that this code emits, or that DynamoDB documents."""

from __future__ import annotations

import ast
import json
import re
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sessions_dynamo import metrics, schema
from sessions_dynamo.client import aws_client
from sessions_dynamo.cloudformation import alarms, dashboard
from sessions_dynamo.cloudformation.alarms import ALARMS, Alarm
from sessions_dynamo.cloudformation.template import monitoring
from sessions_dynamo.cloudformation.watched import DYNAMODB, DYNAMODB_DIMENSIONS, OPERATIONS, Deployed, Watched
from sessions_dynamo.metrics import emf
from sessions_dynamo.metrics.samples import Metric, reading
from sessions_dynamo.tables.names import named_tables
from sessions_dynamo.upkeep import attention, cloudwatch
from tests.deploy.templates import lint
from tests.engines import on_moto
from tests.iam import policies

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

ROOT = Path(__file__).resolve().parents[3]
VALUES = {
    Deployed.ENVIRONMENT: "test",
    Deployed.SESSIONS_TABLE: "sessions",
    Deployed.EVENTS_TABLE: "events",
    Deployed.LATENCY_MS: 5000,
}
WATCHED = list(
    chain(
        chain.from_iterable(alarm.metrics for alarm in ALARMS),
        chain.from_iterable(graph.metrics for graph in dashboard.GRAPHS),
    )
)


def emitted() -> set[str]:
    """Every metric's name that some line of the code counts, measures or reads."""
    names = {constant: getattr(metrics, constant) for constant in ("REQUEST_LATENCY", "OPEN_STREAMS", "BACKUP_AGE")}
    found: set[str] = set()
    for package in ("sessions_dynamo", "mcpsite"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if not isinstance(node, ast.Call) or not node.args:
                    continue
                called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                if called not in ("count", "timing", "gauge", "reading"):
                    continue
                first = node.args[0]
                if isinstance(first, ast.Constant) and isinstance(first.value, str):
                    found.add(first.value)
                else:
                    name = first.attr if isinstance(first, ast.Attribute) else getattr(first, "id", "")
                    found |= {names[name]} if name in names else set()
    return found


def test_the_code_emits_every_metric_that_it_declares_and_no_other() -> None:
    assert emitted() & metrics.UNITS.keys() == metrics.UNITS.keys()


@pytest.mark.parametrize("metric", list(dict.fromkeys(WATCHED)), ids=str)
def test_each_metric_is_there_by_these_dimensions(metric: Watched) -> None:
    dimensions = metric.named(VALUES)
    if metric.namespace == DYNAMODB:
        assert frozenset(dimensions) in DYNAMODB_DIMENSIONS[metric.name]
        assert dimensions.get("Operation", OPERATIONS[0]) in OPERATIONS
        indexes = {"sessions": schema.SESSIONS.indexes, "events": schema.EVENTS.indexes}
        if index := dimensions.get("GlobalSecondaryIndexName"):
            assert index in {each.name for each in indexes[dimensions["TableName"]]}
        return
    assert metric.namespace == metrics.NAMESPACE
    assert metric.name in metrics.UNITS
    (document,) = map(json.loads, emf.lines([reading(metric.name, 1, table=dimensions["Table"])]))
    assert [list(dimensions)] == document["_aws"]["CloudWatchMetrics"][0]["Dimensions"]
    assert dimensions.items() <= document.items()


def test_what_dynamodb_documents_is_what_status_reads_by_the_same_dimensions(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(cloudwatch, "_answered", lambda client, window, build: build(lambda query: asked.append(query)))
    monkeypatch.setattr(cloudwatch, "is_aws", lambda client: True)
    monkeypatch.setattr(cloudwatch, "_client", lambda region: object())

    cloudwatch.table_readings({"sessions": ["LastActivityIndex"]})

    read = {(query.name, frozenset(dict(query.dimensions))) for query in asked}
    here = {(name, dimensions) for name, several in DYNAMODB_DIMENSIONS.items() for dimensions in several}
    assert here <= read
    assert set(OPERATIONS) == set(cloudwatch.OPERATIONS) - {"Scan"}


@pytest.mark.parametrize("alarm", ALARMS, ids=lambda alarm: alarm.name)
class TestAlarms:
    def test_is_one_that_cloudwatch_takes(self, alarm: Alarm) -> None:
        assert re.fullmatch(r"[a-z]+(-[a-z]+)+", alarm.name)
        assert len(alarm.description) <= 1024
        assert bool(alarm.expression) == (len(alarm.metrics) > 1)
        assert len(alarm.metrics) <= 10
        assert alarm.datapoints <= alarm.periods
        assert alarm.periods * alarm.seconds <= alarms.DAY

    def test_names_each_metric_that_its_expression_is_over(self, alarm: Alarm) -> None:
        if "METRICS()" not in alarm.expression:
            used = set(re.findall(r"\bm\d\b", alarm.expression))
            assert used == ({f"m{number}" for number in range(len(alarm.metrics))} if alarm.expression else set())

    def test_takes_sums_of_counts_and_percentiles_of_times(self, alarm: Alarm) -> None:
        for metric in alarm.metrics:
            unit = metrics.UNITS.get(metric.name, "Count")
            assert metric.statistic in {"Count": ("Sum",), "Milliseconds": ("p99",), "Seconds": ("Maximum",)}[unit]

    def test_says_what_to_do(self, alarm: Alarm) -> None:
        assert re.search(r"\b(run|raise|look|list|make|'manage\.py)\b|'manage\.py", alarm.description.lower())


def test_names_are_unique() -> None:
    assert len({alarm.logical_id for alarm in ALARMS}) == len(ALARMS)


def test_commands_that_are_named_exist() -> None:
    commands = {path.stem for path in (ROOT / "sessions_dynamo" / "management" / "commands").glob("[a-z]*.py")}
    named = {name for alarm in ALARMS for name in re.findall(r"'manage\.py (\w+)", alarm.description)}

    assert named >= {"dynamodb_backup", "dynamodb_status", "dynamodb_setup"}
    assert named <= commands


def test_a_backup_is_old_when_attention_says_so() -> None:
    (old,) = {alarm.threshold for alarm in ALARMS if alarm.metrics[0].name == metrics.BACKUP_AGE}

    assert old == attention.BACKUP_AGE.total_seconds()


def test_the_tool_error_alarm_looks_at_a_ratio_of_enough_calls() -> None:
    (alarm,) = [alarm for alarm in ALARMS if alarm.name == "tool-errors"]

    assert [metric.name for metric in alarm.metrics] == ["ToolErrors", "ToolCalls"]


class TestDashboard:
    def test_no_widget_lies_on_another_or_outside_the_grid(self) -> None:
        widgets = dashboard.body(VALUES, "eu-west-1")["widgets"]  # type: ignore[arg-type]

        assert all(widget["x"] + widget["width"] <= 24 for widget in widgets)
        assert len({(widget["x"], widget["y"]) for widget in widgets}) == len(widgets) == len(dashboard.GRAPHS)
        assert all(widget["x"] % widget["width"] == widget["y"] % widget["height"] == 0 for widget in widgets)

    def test_every_metric_of_the_service_is_on_it_or_has_an_alarm(self) -> None:
        assert metrics.UNITS.keys() <= {metric.name for metric in WATCHED}

    @on_moto
    def test_cloudwatch_takes_its_body(self, bare_dynamodb: DynamoDBClient) -> None:
        body = json.dumps(dashboard.body(VALUES, "eu-west-1"))  # type: ignore[arg-type]
        client = aws_client("cloudwatch")

        client.put_dashboard(DashboardName="sessions", DashboardBody=body)

        assert json.loads(client.get_dashboard(DashboardName="sessions")["DashboardBody"]) == json.loads(body)
        client.delete_dashboards(DashboardNames=["sessions"])

    def test_as_a_resource_it_names_parameters_in_the_place_of_values(self) -> None:
        resource = dashboard.resources()["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]

        assert set(re.findall(r"\$\{([\w:]+)\}", resource)) == {
            "AWS::Region",
            "Environment",
            "EventsTableName",
            "SessionsTableName",
        }
        assert len(json.loads(resource)["widgets"]) == len(dashboard.GRAPHS)

    def test_each_region_of_an_account_has_its_own(self) -> None:
        name = dashboard.resources()["Dashboard"]["Properties"]["DashboardName"]

        assert name == {"Fn::Sub": "${AWS::StackName}-${AWS::Region}"}


def test_the_linter_of_cloudformation_has_no_word_to_say() -> None:
    body = monitoring(named_tables(), "production")

    assert lint(json.dumps(body)) == []
    made = {resource["Properties"].get("AlarmName", {}).get("Fn::Sub") for resource in body["Resources"].values()}
    assert made - {None} == {f"${{AWS::StackName}}-{alarm.name}" for alarm in ALARMS}


def test_percentiles_are_extended_statistics_and_math_needs_metrics_of_its_own() -> None:
    made = alarms.resources()

    assert made["SlowRequestsAlarm"]["Properties"]["ExtendedStatistic"] == "p99"
    assert "Statistic" not in made["SlowRequestsAlarm"]["Properties"]
    queries = made["SessionsTableThrottledAlarm"]["Properties"]["Metrics"]
    # Reads and writes of the table and of its three indexes, and their sum.
    assert len(queries) == 9
    assert [query["Id"] for query in queries if query["ReturnData"]] == ["watched"]


def test_times_of_this_service_can_be_asked_for_percentiles() -> None:
    latency = Metric("RequestLatency", "Milliseconds", reading("OpenStreams", 0).minute, "", {2.0: 3})

    (document,) = map(json.loads, emf.lines([latency]))

    assert document["RequestLatency"] == [2.0, 2.0, 2.0]


def test_the_page_shows_the_policy_that_sending_metrics_needs() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text()
    shown = json.loads(page.partition("```json\n")[2].partition("```")[0])["Statement"][0]
    (statement,) = [each for each in policies.document("serve")["Statement"] if each["Sid"] == "OwnMetrics"]

    assert shown == {name: value for name, value in statement.items() if name != "Sid"} | {
        "Action": "cloudwatch:PutMetricData"
    }
    assert statement["Action"] == [shown["Action"]]


def test_the_page_has_every_alarm_and_every_metric() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text()

    assert [alarm.name for alarm in ALARMS if f"`{alarm.name}`" not in page] == []
    assert [name for name in metrics.UNITS if f"| `{name}` | {metrics.UNITS[name]} |" not in page] == []
    assert f"looks at, {sum(len(alarm.metrics) for alarm in ALARMS)} here" in page.replace("\n", " ")
