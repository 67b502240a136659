"""What the templates of whole services have of others: the policies of ``deploy/iam``, and both tables."""

from __future__ import annotations

from typing import Any, Final

from deploy.narrowing import Narrowing, document
from sessions_dynamo.cloudformation import tables as declared
from sessions_dynamo.cloudformation import template
from sessions_dynamo.cloudformation.template import REFERENCES
from sessions_dynamo.tables.desired import ON_DEMAND, Desired
from sessions_dynamo.tables.names import named_tables

Resource = dict[str, Any]

NO_VALUE: Final = {"Ref": "AWS::NoValue"}
HAS_KEY: Final = "HasTablesKey"
LOOKS: Final = "StaffMayLook"


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

DESIRED: Final = Desired("production", ON_DEMAND, recovery=True, deletion_protection=False)
"""What every template here wants of the tables, before it stands; ``manage.py dynamodb_template`` prints others."""


def parameters() -> dict[str, Any]:
    """What a stack is asked about its tables."""
    return {
        "CreateTables": _choice(
            "true",
            "Say false where the tables are there already, by dynamodb_setup or another stack; those that a stack made"
            " stay when it goes",
        ),
        **template.parameters(named_tables(SESSIONS, EVENTS), DESIRED.environment),
        "PointInTimeRecovery": _choice(
            "true", "Tables made here can be restored to any second of the last 35 days; charged by their size"
        ),
        **template.protection_parameter(default=False),
        "TablesKeyArn": {
            "Type": "String",
            "Default": "",
            "AllowedPattern": "(arn:[^:]+:kms:[^:]+:[0-9]+:key/.+)?",
            "ConstraintDescription": "the ARN of a KMS key, not of an alias",
            "Description": "KMS key of the tables, where they have one of your account; empty is DynamoDB's own",
        },
    }


def _choice(default: str, description: str) -> dict[str, Any]:
    return {"Type": "String", "AllowedValues": ["true", "false"], "Default": default, "Description": description}


def conditions() -> dict[str, Any]:
    """What the tables and the policy of their key depend on."""
    return {
        "MakesTables": {"Fn::Equals": [{"Ref": "CreateTables"}, "true"]},
        "RecoversTables": {"Fn::Equals": [{"Ref": "PointInTimeRecovery"}, "true"]},
        **template.protection_condition(),
        HAS_KEY: {"Fn::Not": [{"Fn::Equals": [{"Ref": "TablesKeyArn"}, ""]}]},
    }


def tables() -> dict[str, Resource]:
    """Both tables, by logical id; what differs between deployments is a reference to a parameter."""
    found = declared.resources(named_tables(SESSIONS, EVENTS), DESIRED, REFERENCES)
    for resource in found.values():
        resource["Properties"] |= {
            "PointInTimeRecoverySpecification": {
                "PointInTimeRecoveryEnabled": {"Fn::If": ["RecoversTables", True, False]}
            },
            "SSESpecification": {
                "Fn::If": [
                    HAS_KEY,
                    {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": {"Ref": "TablesKeyArn"}},
                    NO_VALUE,
                ]
            },
        }
    return {logical: {"Condition": "MakesTables", **resource} for logical, resource in found.items()}


def managed_policies() -> dict[str, Resource]:
    """The policies that several roles of a template attach, by logical id."""
    return {
        "ServePolicy": _managed("serve"),
        "LookPolicy": _managed("read-only"),
        "OperatePolicy": _managed("operate"),
        "SchedulePolicy": _managed("schedule"),
        "BackupPolicy": _managed("backup"),
        "TablesKeyPolicy": {"Condition": HAS_KEY, **_managed("kms-key")},
    }


def _managed(name: str) -> Resource:
    return {
        "Type": "AWS::IAM::ManagedPolicy",
        "Properties": {
            "Description": f"deploy/iam/{name}.json for the tables of this stack",
            "PolicyDocument": document(name, NARROWING),
        },
    }


def inline_policies() -> list[Any]:
    """The policies of the one role of a function, which serves and runs the schedule."""
    return [
        inline_policy("serve"),
        inline_policy("schedule"),
        {"Fn::If": ["MakesBackups", inline_policy("backup"), NO_VALUE]},
        {"Fn::If": [LOOKS, inline_policy("read-only"), NO_VALUE]},
        {"Fn::If": [HAS_KEY, inline_policy("kms-key"), NO_VALUE]},
    ]


def staff_parameter() -> dict[str, Any]:
    """What a function's role allows its staff pages; ``operate`` besides would be more than a role takes inline."""
    return {
        "StaffMay": {
            "Type": "String",
            "AllowedValues": ["serve", "look"],
            "Default": "serve",
            "Description": "What the role allows the staff pages: serve, those of sessions; look, the dashboard, tables"
            " and backups too, without their buttons",
        }
    }


def staff_condition() -> dict[str, Any]:
    """The condition that the policy of these pages depends on."""
    return {LOOKS: {"Fn::Equals": [{"Ref": "StaffMay"}, "look"]}}


def inline_policy(name: str) -> dict[str, Any]:
    return {"PolicyName": name, "PolicyDocument": document(name, NARROWING)}
