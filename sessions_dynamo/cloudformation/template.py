"""The template of ``dynamodb_template``: both tables, with parameters for what deployments of it differ in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sessions_dynamo import schema
from sessions_dynamo.cloudformation import alarms, dashboard, tables
from sessions_dynamo.cloudformation.tables import LOGICAL_IDS, Values
from sessions_dynamo.tables.desired import Desired, InvalidDeclaration
from sessions_dynamo.tables.names import NamedTable

FORMAT_VERSION: Final = "2010-09-09"
PROTECTION: Final = "DeletionProtection"
PROTECTS: Final = "ProtectsTables"
REFERENCES: Final = Values(
    sessions_table={"Ref": "SessionsTableName"},
    events_table={"Ref": "EventsTableName"},
    environment={"Ref": "Environment"},
    deletion_protection={"Fn::If": [PROTECTS, True, False]},
)
"""The values as references to the parameters of ``parameters`` and ``protection_parameter``."""

_DESCRIPTION: Final = (
    "Both DynamoDB tables of MCP sessions, as manage.py dynamodb_setup makes them. They stay when the stack goes."
)
_MONITORING: Final = (
    "Alarms and a dashboard of MCP sessions. They need METRICS=emf or put, and for the age of backups manage.py"
    " dynamodb_status --emf once a day."
)
_NAME_PATTERN: Final = "[A-Za-z0-9_.-]{3,255}"
_ENVIRONMENT_PATTERN: Final = r"[A-Za-z0-9 _.:/=+@-]{1,256}"


def template(both: Sequence[NamedTable], desired: Desired) -> dict[str, Any]:
    """A whole template, JSON-ready. Raises ``InvalidDeclaration`` for replicas, which it has none of."""
    refuse_replicas(desired)
    protected = desired.deletion_protection
    return {
        "AWSTemplateFormatVersion": FORMAT_VERSION,
        "Description": _DESCRIPTION,
        "Parameters": parameters(both, desired.environment)
        | ({} if protected is None else protection_parameter(protected)),
        **({} if protected is None else {"Conditions": protection_condition()}),
        "Resources": tables.resources(both, desired, REFERENCES),
        "Outputs": outputs(),
    }


def refuse_replicas(desired: Desired) -> None:
    """Raise ``InvalidDeclaration`` where replicas are declared.

    CloudFormation replaces a table by a global one (``AWS::DynamoDB::GlobalTable``), and cannot turn one type into the
    other: who added a region later would lose the tables to a new stack.
    """
    if desired.replica_regions:
        raise InvalidDeclaration(
            "A template makes the tables in its own region. Leave --regions and DYNAMODB_REPLICA_REGIONS out, create"
            " the stack, then add the replicas with 'manage.py dynamodb_setup --regions"
            f" {','.join(desired.replica_regions)}': the stack keeps the tables as they are."
        )


def parameters(both: Sequence[NamedTable], environment: str) -> dict[str, Any]:
    """The parameters that ``REFERENCES`` names; what was declared is their default."""
    sessions, events = both
    name, of = {"Type": "String", "AllowedPattern": _NAME_PATTERN}, "of the service"
    return {
        "SessionsTableName": {
            **name,
            "Default": sessions.name,
            "Description": f"DYNAMODB_SESSIONS_TABLE {of}",
        },
        "EventsTableName": {**name, "Default": events.name, "Description": f"DYNAMODB_EVENTS_TABLE {of}"},
        "Environment": {
            "Type": "String",
            "AllowedPattern": _ENVIRONMENT_PATTERN,
            "Default": environment,
            "Description": "ENVIRONMENT of the service: the tables' tag, and a dimension of its metrics",
        },
    }


def protection_parameter(default: bool) -> dict[str, Any]:
    """The parameter of deletion protection: it is switched on once the stack stands."""
    return {
        PROTECTION: {
            "Type": "String",
            "AllowedValues": ["true", "false"],
            "Default": "true" if default else "false",
            "Description": "Whether nobody can delete the tables; say true once the stack stands, for"
            " CloudFormation cannot take back a protected table of a creation that failed",
        }
    }


def protection_condition() -> dict[str, Any]:
    """The condition that the tables' protection depends on."""
    return {PROTECTS: {"Fn::Equals": [{"Ref": PROTECTION}, "true"]}}


def outputs() -> dict[str, Any]:
    """Each table's name, ARN and stream."""
    found: dict[str, Any] = {}
    for table, logical in LOGICAL_IDS.items():
        what = _what(table)
        found[f"{logical}Name"] = _output(f"Name of the table of {what}", {"Ref": logical})
        found[f"{logical}Arn"] = _output(f"ARN of the table of {what}", {"Fn::GetAtt": [logical, "Arn"]})
        found[f"{logical}StreamArn"] = _output(
            f"DynamoDB Stream of the table of {what}", {"Fn::GetAtt": [logical, "StreamArn"]}
        )
    return found


def _what(table: schema.Table) -> str:
    return "sessions" if table is schema.SESSIONS else "events"


def _output(description: str, value: Mapping[str, Any]) -> dict[str, Any]:
    return {"Description": description, "Value": dict(value)}


def monitoring(both: Sequence[NamedTable], environment: str) -> dict[str, Any]:
    """A whole template of the alarms and the dashboard, for tables of these names by default; JSON-ready."""
    return {
        "AWSTemplateFormatVersion": FORMAT_VERSION,
        "Description": _MONITORING,
        "Parameters": parameters(both, environment) | alarms.parameters(),
        "Conditions": alarms.conditions(),
        "Resources": alarms.resources() | dashboard.resources(),
    }
