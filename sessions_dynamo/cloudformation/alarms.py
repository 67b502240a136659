"""The alarms, as data; and as CloudFormation. Each description says what happened and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from sessions_dynamo import metrics
from sessions_dynamo.cloudformation.watched import (
    OPERATIONS,
    Deployed,
    Watched,
    of_table,
    of_table_and_indexes,
    own,
)

DAY: Final = 86_400
BACKUP_DAYS: Final = 7
TOPIC: Final = "AlarmTopicArn"
HAS_TOPIC: Final = "HasAlarmTopic"

Missing = Literal["notBreaching", "breaching", "ignore", "missing"]


@dataclass(frozen=True, slots=True)
class Alarm:
    """Above ``threshold`` in ``datapoints`` of the last ``periods`` times ``seconds``.

    ``expression`` is metric math over ``metrics``, which it calls m0, m1 and so on; without one there is one metric.
    """

    name: str
    """Words with hyphens, unique; a deployment's own name comes before it."""
    description: str
    metrics: tuple[Watched, ...]
    threshold: float | Deployed
    seconds: int = 300
    periods: int = 3
    datapoints: int = 2
    expression: str = ""
    missing: Missing = "notBreaching"
    tells_silence: bool = False
    """Whether whoever is told of the alarm is told as well when the metric stops coming."""

    @property
    def logical_id(self) -> str:
        """The name as CloudFormation takes it."""
        return "".join(word.capitalize() for word in self.name.split("-")) + "Alarm"


def _of_tables(table: Deployed) -> tuple[Alarm, ...]:
    what = "sessions" if table is Deployed.SESSIONS_TABLE else "events"
    throttles = (
        *of_table_and_indexes("ReadThrottleEvents", "Sum", table),
        *of_table_and_indexes("WriteThrottleEvents", "Sum", table),
    )
    return (
        Alarm(
            f"{what}-table-throttled",
            f"DynamoDB throttled reads or writes of the {what} table or of an index: requests are retried, then fail"
            " with 503. Provisioned: raise it, 'manage.py dynamodb_setup --billing provisioned --read N --write N', or"
            " '--billing on-demand'. On demand: look for one session that is called very often, or for a sudden rise.",
            throttles,
            threshold=10,
            expression="SUM(FILL(METRICS(), 0))",
        ),
        Alarm(
            f"{what}-table-errors",
            f"DynamoDB failed requests to the {what} table (HTTP 500); they are retried, and what still fails is a 503"
            " here. Look at the region's AWS Health Dashboard; 'manage.py dynamodb_status' shows which operations.",
            tuple(of_table("SystemErrors", "Sum", table, Operation=operation) for operation in OPERATIONS),
            threshold=5,
            expression="SUM(FILL(METRICS(), 0))",
        ),
        Alarm(
            f"{what}-table-backup-old",
            f"The newest backup of the {what} table is older than {BACKUP_DAYS} days, or there is none: run 'manage.py"
            " dynamodb_backup create', and see why its schedule did not. Without data, 'manage.py dynamodb_status"
            " --emf' no longer runs once a day, or its output no longer reaches CloudWatch Logs.",
            (own(metrics.BACKUP_AGE, "Maximum", table),),
            threshold=BACKUP_DAYS * DAY,
            seconds=DAY,
            periods=1,
            datapoints=1,
            missing="missing",
            tells_silence=True,
        ),
    )


ALARMS: Final = (
    *_of_tables(Deployed.SESSIONS_TABLE),
    *_of_tables(Deployed.EVENTS_TABLE),
    Alarm(
        "tool-errors",
        "More than a tenth of at least 20 tool calls in five minutes failed. The staff pages list the calls with their"
        " outcome, by tool; ToolErrors with the dimension Tool says which. Conflicts and full sessions count, too.",
        (own("ToolErrors", "Sum"), own("ToolCalls", "Sum")),
        threshold=10,
        expression="IF(FILL(m1, 0) >= 20, 100 * FILL(m0, 0) / m1, 0)",
    ),
    Alarm(
        "slow-requests",
        "The slowest hundredth of requests takes longer than is set here, tools included. RequestLatency with the"
        " dimension Tool says which tool; 'manage.py dynamodb_status' has DynamoDB's own latency. If neither is slow,"
        " look at CPU and at LoopBlocked, and add tasks.",
        (own(metrics.REQUEST_LATENCY, "p99"),),
        threshold=Deployed.LATENCY_MS,
        periods=5,
        datapoints=3,
    ),
    Alarm(
        "leases-expired",
        "A process died or hung while it streamed, and others ended its streams with an error. Look at why tasks"
        " stopped (memory, exit code, a health check), and in the log for a loop that was blocked.",
        (own("LeaseExpired", "Sum"),),
        threshold=0,
        periods=1,
        datapoints=1,
    ),
    Alarm(
        "loop-blocked",
        "A handler keeps its process's event loop from every other request for over a second, again and again. The log"
        " has its stack: make the tool a plain def, which runs in a thread, or await what it waits for.",
        (own("LoopBlocked", "Sum"),),
        threshold=2,
    ),
)


def parameters() -> dict[str, Any]:
    """What a template with these alarms asks besides ``template.parameters``."""
    return {
        TOPIC: {
            "Type": "String",
            "Default": "",
            "AllowedPattern": "(arn:[a-z-]+:sns:[a-z0-9-]+:[0-9]{12}:.+)?",
            "Description": "SNS topic that alarms tell; empty tells nobody",
        },
        "SlowRequestMilliseconds": {
            "Type": "Number",
            "Default": 5000,
            "MinValue": 1,
            "Description": "RequestLatency p99 above which requests are too slow, the tools' own time included",
        },
    }


def conditions() -> dict[str, Any]:
    """The condition that the alarms' actions depend on."""
    return {HAS_TOPIC: {"Fn::Not": [{"Fn::Equals": [{"Ref": TOPIC}, ""]}]}}


REFERENCES: Final[Mapping[Deployed, Any]] = {
    Deployed.ENVIRONMENT: {"Ref": "Environment"},
    Deployed.SESSIONS_TABLE: {"Ref": "SessionsTableName"},
    Deployed.EVENTS_TABLE: {"Ref": "EventsTableName"},
    Deployed.LATENCY_MS: {"Ref": "SlowRequestMilliseconds"},
}
"""The values as references to the parameters."""


def resources() -> dict[str, dict[str, Any]]:
    """Every alarm as CloudFormation, by logical id."""
    return {alarm.logical_id: {"Type": "AWS::CloudWatch::Alarm", "Properties": _properties(alarm)} for alarm in ALARMS}


def _properties(alarm: Alarm) -> dict[str, Any]:
    threshold = alarm.threshold
    actions = {"Fn::If": [HAS_TOPIC, [{"Ref": TOPIC}], {"Ref": "AWS::NoValue"}]}
    return {
        "AlarmName": {"Fn::Sub": f"${{AWS::StackName}}-{alarm.name}"},
        "AlarmDescription": alarm.description,
        **(_expression(alarm) if alarm.expression else _metric(alarm)),
        "ComparisonOperator": "GreaterThanThreshold",
        "Threshold": REFERENCES[threshold] if isinstance(threshold, Deployed) else threshold,
        "EvaluationPeriods": alarm.periods,
        "DatapointsToAlarm": alarm.datapoints,
        "TreatMissingData": alarm.missing,
        "AlarmActions": actions,
        "OKActions": actions,
        **({"InsufficientDataActions": actions} if alarm.tells_silence else {}),
    }


def _metric(alarm: Alarm) -> dict[str, Any]:
    (metric,) = alarm.metrics
    statistic = "ExtendedStatistic" if metric.statistic.startswith("p") else "Statistic"
    return {**_named(metric), statistic: metric.statistic, "Period": alarm.seconds}


def _expression(alarm: Alarm) -> dict[str, Any]:
    queries: list[dict[str, Any]] = [
        {
            "Id": f"m{number}",
            "MetricStat": {"Metric": _named(metric), "Period": alarm.seconds, "Stat": metric.statistic},
            "ReturnData": False,
        }
        for number, metric in enumerate(alarm.metrics)
    ]
    return {"Metrics": [*queries, {"Id": "watched", "Expression": alarm.expression, "ReturnData": True}]}


def _named(metric: Watched) -> dict[str, Any]:
    dimensions = [{"Name": name, "Value": value} for name, value in metric.named(REFERENCES).items()]
    return {"Namespace": metric.namespace, "MetricName": metric.name, "Dimensions": dimensions}
