"""The statements of ``deploy/iam`` for a stack's own tables, in CloudFormation's words."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

POLICIES: Final = Path(__file__).parent / "iam"
PARAMETERS: Final = {"mcp-sessions": "${SessionsTableName}", "mcp-session-events": "${EventsTableName}"}
"""What has the name of a table in a template's ``Fn::Sub``, by the name that the policies have."""

_ARN: Final = re.compile(
    rf"arn:aws:dynamodb:\*:\*:table/(?P<table>{'|'.join(PARAMETERS)})(?P<rest>(-restored-\*)?(/index/\*)?)"
)


def statements(policy: str) -> list[dict[str, Any]]:
    """The statements of ``deploy/iam/<policy>.json``, on the stack's own tables, region and account."""
    document = json.loads((POLICIES / f"{policy}.json").read_text())
    return [statement | {"Resource": _resources(statement["Resource"])} for statement in document["Statement"]]


def _resources(given: str | list[str]) -> Any:
    if given == "*":
        return given
    return [_resource(each) for each in ([given] if isinstance(given, str) else given)]


def _resource(arn: str) -> dict[str, str]:
    match = _ARN.fullmatch(arn)
    if match is None:
        raise ValueError(f"{arn} is no table's: say in deploy/policies.py what a template has in its place.")
    place = "arn:${AWS::Partition}:dynamodb:${AWS::Region}:${AWS::AccountId}"
    return {"Fn::Sub": f"{place}:table/{PARAMETERS[match['table']]}{match['rest']}"}
