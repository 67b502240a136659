"""Both tables as CloudFormation resources, made of the very requests by which ``dynamodb_setup`` makes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sessions_dynamo import schema
from sessions_dynamo.tables import autoscaling
from sessions_dynamo.tables.aspects import creation, encryption, recovery, scaling, tags, time_to_live
from sessions_dynamo.tables.desired import CapacityRange, Desired
from sessions_dynamo.tables.names import NamedTable

LOGICAL_IDS: Final[Mapping[schema.Table, str]] = {schema.SESSIONS: "SessionsTable", schema.EVENTS: "EventsTable"}
"""What other resources of a template call the tables."""

RETAINED: Final = {"DeletionPolicy": "RetainExceptOnCreate", "UpdateReplacePolicy": "Retain"}
"""Neither the end of a stack nor a renaming in it deletes what sessions hold.

The rollback of what created the tables does: their names are fixed, and each retry would find them taken.
"""

Resource = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Values:
    """What stands in a template for what deployments choose: a text, or a reference such as ``{"Ref": "Stage"}``."""

    sessions_table: Any
    events_table: Any
    environment: Any
    deletion_protection: Any = None
    """None puts there what is declared."""

    def name_of(self, table: NamedTable) -> Any:
        return self.sessions_table if table.schema is schema.SESSIONS else self.events_table


def resources(both: Sequence[NamedTable], desired: Desired, values: Values) -> dict[str, Resource]:
    """The tables, and what scales them, by logical id; replicas are none of a table's properties."""
    found: dict[str, Resource] = {}
    before: str | None = None
    for table in both:
        logical = LOGICAL_IDS[table.schema]
        found[logical] = {
            "Type": "AWS::DynamoDB::Table",
            # AWS creates one table with indexes at a time, and CloudFormation would create both together.
            **({"DependsOn": [before]} if before else {}),
            **RETAINED,
            "Properties": properties(table, desired, values),
        }
        before = logical
        if desired.billing and desired.billing.scaling:
            found |= _scaling(table, logical, desired.billing.scaling)
    return found


def properties(table: NamedTable, desired: Desired, values: Values) -> dict[str, Any]:
    """The properties of one table."""
    request = creation.create_request(table, desired)
    found = {
        **request,
        "TableName": values.name_of(table),
        # A stream that has a view type is enabled: CloudFormation has no property for it.
        "StreamSpecification": {"StreamViewType": request["StreamSpecification"]["StreamViewType"]},
        "TimeToLiveSpecification": dict(time_to_live.specification()),
        "Tags": [
            {**tag, "Value": values.environment} if tag["Key"] == tags.ENVIRONMENT else tag for tag in request["Tags"]
        ],
    }
    # What is declared off is a property, too; what is not declared at all is none, and stays as it stands.
    if desired.deletion_protection is not None:
        found["DeletionProtectionEnabled"] = (
            desired.deletion_protection if values.deletion_protection is None else values.deletion_protection
        )
    if desired.recovery is not None:
        found["PointInTimeRecoverySpecification"] = dict(recovery.specification(desired.recovery))
    if desired.kms_key is not None:
        specification = encryption.specification(desired.kms_key)
        found["SSESpecification"] = {"SSEEnabled": specification.pop("Enabled"), **specification}
    return found


def _scaling(table: NamedTable, logical: str, limits: CapacityRange) -> dict[str, Resource]:
    found: dict[str, Resource] = {}
    for target, metric, name in _targets(table, logical):
        policy = scaling.tracking(target, metric)
        # By Ref, so that the table, and with it the index, is there first.
        resource = {"Fn::Sub": target.resource.replace(f"/{table.name}", f"/${{{logical}}}", 1)}
        found[f"{name}Target"] = {
            "Type": "AWS::ApplicationAutoScaling::ScalableTarget",
            "Properties": {
                "ServiceNamespace": "dynamodb",
                "ResourceId": resource,
                "ScalableDimension": target.dimension,
                "MinCapacity": limits.minimum,
                "MaxCapacity": limits.maximum,
            },
        }
        found[f"{name}Policy"] = {
            "Type": "AWS::ApplicationAutoScaling::ScalingPolicy",
            "Properties": {
                "ScalingTargetId": {"Ref": f"{name}Target"},
                "PolicyName": {"Fn::Sub": policy.name.replace(f"/{table.name}", f"/${{{logical}}}", 1)},
                "PolicyType": autoscaling.TARGET_TRACKING,
                "TargetTrackingScalingPolicyConfiguration": dict(policy.configuration),
            },
        }
    return found


def _targets(table: NamedTable, logical: str) -> Iterator[tuple[autoscaling.Target, Any, str]]:
    """Each capacity, with the metric to track and the beginning of its resources' logical ids."""
    for target, metric in scaling.targets(table.name, [index.name for index in table.schema.indexes]).items():
        _, _, index = target.resource.partition("/index/")
        units = target.dimension.rpartition(":")[2].removesuffix("CapacityUnits")
        yield target, metric, f"{logical}{index}{units}"
