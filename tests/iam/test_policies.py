"""Policies are read as AWS reads them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.iam.policies import Statement, parse

TABLE = "arn:aws:dynamodb:eu-west-1:111122223333:table/mcp-sessions"


def statement(**given: Any) -> Statement:
    allow = {"Sid": "One", "Effect": "Allow", "Action": "dynamodb:GetItem", "Resource": "*"}
    (parsed,) = parse("policy", {"Statement": [allow | given]})
    return parsed


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        (TABLE, True),
        ("*", True),
        ("arn:aws:dynamodb:*:*:table/mcp-sessions", True),
        ("arn:aws:dynamodb:*:*:table/mcp-session?", True),
        ("arn:aws:dynamodb:*:*:table/mcp-sessions/index/*", False),
        ("arn:aws:dynamodb:us-*:*:table/mcp-sessions", False),
        ("arn:aws:dynamodb:*:*:table/mcp.sessions", False),
        ("table/mcp-sessions", False),
    ],
)
def test_resources_match_by_wildcards(pattern: str, matches: bool) -> None:
    assert statement(Resource=["arn:none", pattern]).allows("dynamodb:GetItem", TABLE, {}) is matches


@pytest.mark.parametrize(
    ("actions", "matches"),
    [
        ("dynamodb:GetItem", True),
        ("DynamoDB:getitem", True),
        (["dynamodb:PutItem", "dynamodb:Get*"], True),
        ("dynamodb:Get", False),
        ("kms:*", False),
    ],
)
def test_actions_match_by_wildcards_and_without_case(actions: str | list[str], matches: bool) -> None:
    assert statement(Action=actions).allows("dynamodb:GetItem", TABLE, {}) is matches


@pytest.mark.parametrize(
    ("condition", "value", "holds"),
    [
        ({"StringEquals": {"cloudwatch:namespace": "MCP/Sessions"}}, "MCP/Sessions", True),
        ({"StringEquals": {"cloudwatch:namespace": ["MCP/Sessions", "Other"]}}, "Other", True),
        ({"StringEquals": {"cloudwatch:namespace": "MCP/*"}}, "MCP/Sessions", False),
        ({"StringLike": {"cloudwatch:namespace": "MCP/*"}}, "MCP/Sessions", True),
        ({"StringEquals": {"cloudwatch:namespace": "MCP/Sessions"}}, None, False),
    ],
)
def test_conditions_hold_for_what_the_request_has(condition: Any, value: str | None, holds: bool) -> None:
    context = {} if value is None else {"cloudwatch:namespace": value}

    assert statement(Condition=condition).allows("dynamodb:GetItem", "*", context) is holds


@pytest.mark.parametrize(
    "unread",
    [{"Effect": "Deny"}, {"NotAction": "dynamodb:*"}, {"Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}}],
)
def test_what_is_not_evaluated_here_is_refused_rather_than_ignored(unread: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="evaluated here"):
        statement(**unread)
