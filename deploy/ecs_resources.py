"""What ``deploy/ecs/template.yaml`` has of others: the policies of ``deploy/iam``, and both tables."""

from __future__ import annotations

from typing import Any, Final

from deploy.narrowing import Narrowing, document
from sessions_dynamo.cloudformation import tables as declared
from sessions_dynamo.cloudformation.template import REFERENCES
from sessions_dynamo.tables.desired import ON_DEMAND, Desired
from sessions_dynamo.tables.names import named_tables

Resource = dict[str, Any]


def _text(text: str) -> Any:
    return {"Fn::Sub": text} if "${" in text else text


NARROWING: Final = Narrowing(
    partition="${AWS::Partition}",
    region="${AWS::Region}",
    account="${AWS::AccountId}",
    sessions_table="${SessionsTableName}",
    events_table="${EventsTableName}",
    key="${TablesKeyArn}",
    text=_text,
)
"""References to the parameters of the template."""


SESSIONS, EVENTS = "mcp-sessions", "mcp-session-events"
"""The tables' names, unless a parameter gives others."""


def tables() -> dict[str, Resource]:
    """Both tables, by logical id; what differs between deployments is a reference to a parameter."""
    desired = Desired("production", ON_DEMAND, recovery=True, deletion_protection=False)
    found = declared.resources(named_tables(SESSIONS, EVENTS), desired, REFERENCES)
    for resource in found.values():
        resource["Properties"] |= {
            "PointInTimeRecoverySpecification": {
                "PointInTimeRecoveryEnabled": {"Fn::If": ["RecoversTables", True, False]}
            },
            "SSESpecification": {
                "Fn::If": [
                    "HasTablesKey",
                    {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": {"Ref": "TablesKeyArn"}},
                    {"Ref": "AWS::NoValue"},
                ]
            },
        }
    return {logical: {"Condition": "MakesTables", **resource} for logical, resource in found.items()}


def policies() -> dict[str, Resource]:
    """The policies that the roles of the template attach, by logical id."""
    return {
        "ServePolicy": _policy("serve"),
        "LookPolicy": _policy("read-only"),
        "OperatePolicy": _policy("operate"),
        "SchedulePolicy": _policy("schedule"),
        "TablesKeyPolicy": {"Condition": "HasTablesKey", **_policy("kms-key")},
    }


def _policy(name: str) -> Resource:
    return {
        "Type": "AWS::IAM::ManagedPolicy",
        "Properties": {
            "Description": f"deploy/iam/{name}.json for the tables of this stack",
            "PolicyDocument": document(name, NARROWING),
        },
    }
