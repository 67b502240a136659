"""What ``deploy/terraform`` has of others, in Terraform's JSON: tables, policies, alarms and the dashboard."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from deploy.narrowing import Narrowing, document
from deploy.stack_resources import EVENTS, SESSIONS
from sessions_dynamo import schema
from sessions_dynamo.cloudformation import alarms, dashboard
from sessions_dynamo.cloudformation import tables as declared
from sessions_dynamo.cloudformation.watched import Deployed, Watched
from sessions_dynamo.tables.desired import ON_DEMAND, Desired
from sessions_dynamo.tables.names import NamedTable, named_tables

POLICIES: Final = ("serve", "read-only", "operate", "schedule", "backup", "kms-key")
NARROWING: Final = Narrowing(
    partition="${local.partition}",
    region="${local.region}",
    account="${local.account}",
    sessions_table="${var.sessions_table}",
    events_table="${var.events_table}",
    key="${var.tables_key_arn}",
)
"""References to what the module is given."""

_RESOURCE_NAMES: Final[Mapping[schema.Table, str]] = {schema.SESSIONS: "sessions", schema.EVENTS: "events"}
_VALUES: Final = declared.Values(
    sessions_table="${var.sessions_table}",
    events_table="${var.events_table}",
    environment="${var.environment_name}",
)

_DEPLOYED: Final[Mapping[Deployed, str]] = {
    Deployed.ENVIRONMENT: "${var.environment_name}",
    Deployed.SESSIONS_TABLE: "${var.sessions_table}",
    Deployed.EVENTS_TABLE: "${var.events_table}",
    Deployed.LATENCY_MS: "${var.slow_request_ms}",
}


def policies() -> dict[str, Any]:
    """``local.policies``: the documents by name."""
    return {"locals": {"policies": {name: document(name, NARROWING) for name in POLICIES}}}


def tables() -> dict[str, Any]:
    """Both tables, one after the other: DynamoDB makes one table with indexes at a time."""
    desired = Desired("production", ON_DEMAND, recovery=True, deletion_protection=True)
    found: dict[str, Any] = {}
    for table in named_tables(SESSIONS, EVENTS):
        after = {"depends_on": [f"aws_dynamodb_table.{name}" for name in found]} if found else {}
        found[_RESOURCE_NAMES[table.schema]] = dict(_table(table, desired)) | after
    return {"resource": {"aws_dynamodb_table": found}}


def _table(table: NamedTable, desired: Desired) -> Iterator[tuple[str, Any]]:
    properties = declared.properties(table, desired, _VALUES)
    yield "count", "${var.create_tables ? 1 : 0}"
    yield "name", properties["TableName"]
    yield "billing_mode", properties["BillingMode"]
    yield from _keys(properties["KeySchema"])
    attributes = properties["AttributeDefinitions"]
    yield "attribute", [{"name": each["AttributeName"], "type": each["AttributeType"]} for each in attributes]
    yield "global_secondary_index", [_index(each) for each in properties["GlobalSecondaryIndexes"]]
    yield "stream_enabled", True
    yield "stream_view_type", properties["StreamSpecification"]["StreamViewType"]
    ttl = properties["TimeToLiveSpecification"]
    yield "ttl", {"attribute_name": ttl["AttributeName"], "enabled": ttl["Enabled"]}
    yield "point_in_time_recovery", {"enabled": "${var.point_in_time_recovery}"}
    yield "deletion_protection_enabled", "${var.deletion_protection}"
    yield (
        "dynamic",
        {
            "server_side_encryption": {
                "for_each": "${var.tables_key_arn == null ? [] : [var.tables_key_arn]}",
                "content": {"enabled": True, "kms_key_arn": "${server_side_encryption.value}"},
            }
        },
    )
    own = {tag["Key"]: tag["Value"] for tag in properties["Tags"]}
    tags = ", ".join(f'"{key}" = "{value}"' for key, value in own.items())
    yield "tags", f"${{merge(var.tags, {{ {tags} }})}}"
    # Replicas are dynamodb_setup's: Terraform would take away those that it did not make.
    yield "lifecycle", {"ignore_changes": ["replica"]}


def _keys(key_schema: list[dict[str, str]]) -> Iterator[tuple[str, str]]:
    for key in key_schema:
        yield ("hash_key" if key["KeyType"] == "HASH" else "range_key"), key["AttributeName"]


def _index(index: Mapping[str, Any]) -> dict[str, Any]:
    projection = index["Projection"]
    return {
        "name": index["IndexName"],
        **dict(_keys(index["KeySchema"])),
        "projection_type": projection["ProjectionType"],
        **({"non_key_attributes": projection["NonKeyAttributes"]} if "NonKeyAttributes" in projection else {}),
    }


def monitoring() -> dict[str, Any]:
    """Every alarm, and the dashboard."""
    return {
        "locals": {"dashboard": dashboard.body(_DEPLOYED, "${local.region}")},
        "resource": {
            "aws_cloudwatch_metric_alarm": {
                alarm.name.replace("-", "_"): dict(_alarm(alarm)) for alarm in alarms.ALARMS
            },
            "aws_cloudwatch_dashboard": {
                # An account has one of this name, in whatever region.
                "this": {
                    "dashboard_name": "${var.name}-${local.region}",
                    "dashboard_body": "${jsonencode(local.dashboard)}",
                }
            },
        },
    }


def _alarm(alarm: alarms.Alarm) -> Iterator[tuple[str, Any]]:
    threshold, actions = alarm.threshold, "${var.alarm_topic_arn == null ? [] : [var.alarm_topic_arn]}"
    yield "alarm_name", f"${{var.name}}-{alarm.name}"
    yield "alarm_description", alarm.description
    yield "comparison_operator", "GreaterThanThreshold"
    yield "threshold", _DEPLOYED[threshold] if isinstance(threshold, Deployed) else threshold
    yield "evaluation_periods", alarm.periods
    yield "datapoints_to_alarm", alarm.datapoints
    yield "treat_missing_data", alarm.missing
    if alarm.expression:
        queries = [
            {"id": f"m{number}", "metric": {**_metric(metric, alarm), "stat": metric.statistic}, "return_data": False}
            for number, metric in enumerate(alarm.metrics)
        ]
        watched = {"id": "watched", "expression": alarm.expression, "label": alarm.name, "return_data": True}
        yield "metric_query", [*queries, watched]
    else:
        (metric,) = alarm.metrics
        yield from _metric(metric, alarm).items()
        yield ("extended_statistic" if metric.statistic.startswith("p") else "statistic"), metric.statistic
    for name in ("alarm_actions", "ok_actions", *(["insufficient_data_actions"] if alarm.tells_silence else [])):
        yield name, actions
    yield "tags", "${var.tags}"


def _metric(metric: Watched, alarm: alarms.Alarm) -> dict[str, Any]:
    return {
        "namespace": metric.namespace,
        "metric_name": metric.name,
        "dimensions": metric.named(_DEPLOYED),
        "period": alarm.seconds,
    }
