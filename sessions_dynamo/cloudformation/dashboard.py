"""The dashboard: its graphs as data, its body as CloudWatch takes it, and the resource."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sessions_dynamo import metrics
from sessions_dynamo.cloudformation.watched import (
    DYNAMODB,
    OPERATIONS,
    Deployed,
    Watched,
    of_table,
    of_table_and_indexes,
    own,
)

LOGICAL_ID: Final = "Dashboard"
WIDTH: Final = 12
HEIGHT: Final = 6
COLUMNS: Final = 2
"""CloudWatch's grid has 24 units a row."""

_TABLES: Final = (Deployed.SESSIONS_TABLE, Deployed.EVENTS_TABLE)


@dataclass(frozen=True, slots=True)
class Graph:
    """One widget: its metrics as lines, each datapoint of ``seconds``."""

    title: str
    metrics: tuple[Watched, ...]
    seconds: int = 300


GRAPHS: Final = (
    Graph("Tool calls", (own("ToolCalls", "Sum"), own("ToolErrors", "Sum"))),
    Graph(
        "Request latency, ms",
        tuple(own(metrics.REQUEST_LATENCY, statistic, label=statistic) for statistic in ("p50", "p90", "p99")),
    ),
    Graph(
        "Open streams of a process",
        (
            own(metrics.OPEN_STREAMS, "Average", label="mean"),
            own(metrics.OPEN_STREAMS, "Maximum", label="fullest process"),
        ),
        seconds=60,
    ),
    Graph(
        "Sessions",
        tuple(own(name, "Sum") for name in ("SessionCreated", "SessionTerminated", "SessionExpired")),
    ),
    Graph("Streams", (own("EventsStored", "Sum"), own("StreamResumed", "Sum"))),
    Graph("What should be none", (own("LeaseExpired", "Sum"), own("LoopBlocked", "Sum"))),
    Graph(
        "Throttled reads and writes",
        tuple(
            metric
            for table in _TABLES
            for name in ("ReadThrottleEvents", "WriteThrottleEvents")
            for metric in of_table_and_indexes(name, "Sum", table)
        ),
    ),
    Graph(
        "DynamoDB errors (HTTP 500); HTTP 400 of the whole account",
        (
            *(of_table("SystemErrors", "Sum", table, Operation=name) for table in _TABLES for name in OPERATIONS),
            # It has no dimension: no alarm is on it, because every other table of the region counts in it.
            Watched(DYNAMODB, "UserErrors", "Sum", ()),
        ),
    ),
    Graph(
        "Capacity consumed",
        tuple(
            of_table(f"Consumed{kind}CapacityUnits", "Sum", table) for table in _TABLES for kind in ("Read", "Write")
        ),
    ),
    Graph(
        "DynamoDB latency p99, ms",
        tuple(
            of_table("SuccessfulRequestLatency", "p99", table, Operation=name)
            for table in _TABLES
            for name in ("GetItem", "Query", "UpdateItem", "BatchWriteItem")
        ),
    ),
    Graph(
        "Age of the newest backup, seconds",
        tuple(own(metrics.BACKUP_AGE, "Maximum", table) for table in _TABLES),
        seconds=86_400,
    ),
    Graph("Deleted by Time to Live", tuple(of_table("TimeToLiveDeletedItemCount", "Sum", table) for table in _TABLES)),
)


def body(values: Mapping[Deployed, str], region: str) -> dict[str, Any]:
    """The dashboard's body, with texts of a deployment's own, or with what a template puts texts in place of."""
    return {"widgets": [_widget(number, graph, values, region) for number, graph in enumerate(GRAPHS)]}


def _widget(number: int, graph: Graph, values: Mapping[Deployed, str], region: str) -> dict[str, Any]:
    row, column = divmod(number, COLUMNS)
    return {
        "type": "metric",
        "x": column * WIDTH,
        "y": row * HEIGHT,
        "width": WIDTH,
        "height": HEIGHT,
        "properties": {
            "title": graph.title,
            "region": region,
            "view": "timeSeries",
            "period": graph.seconds,
            "metrics": [list(_line(metric, values)) for metric in graph.metrics],
        },
    }


def _line(metric: Watched, values: Mapping[Deployed, str]) -> Iterator[Any]:
    yield from (metric.namespace, metric.name)
    for name, value in metric.named(values).items():
        yield from (name, value)
    yield {"stat": metric.statistic} | ({"label": metric.label} if metric.label else {})


SUBSTITUTED: Final[Mapping[Deployed, str]] = {
    Deployed.ENVIRONMENT: "${Environment}",
    Deployed.SESSIONS_TABLE: "${SessionsTableName}",
    Deployed.EVENTS_TABLE: "${EventsTableName}",
}
"""The values as ``Fn::Sub`` takes them."""


def resources() -> dict[str, dict[str, Any]]:
    """The dashboard as CloudFormation, by logical id."""
    text = json.dumps(body(SUBSTITUTED, "${AWS::Region}"), separators=(",", ":"))
    # One of all regions of an account: a stack's name alone would be overwritten by its like in the next region.
    name = {"Fn::Sub": "${AWS::StackName}-${AWS::Region}"}
    properties = {"DashboardName": name, "DashboardBody": {"Fn::Sub": text}}
    return {LOGICAL_ID: {"Type": "AWS::CloudWatch::Dashboard", "Properties": properties}}
