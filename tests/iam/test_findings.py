"""What the policies refuse, and what they allow that nothing used, for calls made up here."""

from __future__ import annotations

from typing import Any

import pytest

from tests.iam.findings import find
from tests.iam.requests import ACCOUNT, requests

SETUP = "sessions_dynamo.management.commands.dynamodb_setup:Command.handle"
STATUS = "sessions_dynamo.management.commands.dynamodb_status:Command._show"
ENDPOINT = "mcpsite.endpoint.views:mcp_endpoint"


def call(operation: str, frame: str = ENDPOINT, service: str = "dynamodb", **named: Any) -> dict[str, Any]:
    return {"stacks": [[frame]], "service": service, "operation": operation, "region": "eu-west-1", "named": named}


def authorized(recorded: dict[str, Any]) -> set[tuple[str, str]]:
    """Actions, each with the end of its resource."""
    return {(request.action, request.resource.rpartition(f":{ACCOUNT}:")[2]) for request in requests(recorded)}


def test_what_a_role_does_is_allowed_and_counts_as_used() -> None:
    found = find([call("GetItem", TableName="mcp-sessions")])

    assert not found.refused
    assert [(statement.policy, action) for statement, action in found.used] == [("serve", "dynamodb:GetItem")]
    assert "serve.json, Items: nothing in its role used dynamodb:GetItem" not in found.unused()
    assert "operate.json, Items: nothing in its role used dynamodb:GetItem" in found.unused()


@pytest.mark.parametrize(
    "refused",
    [
        call("Scan", TableName="mcp-sessions"),
        call("DeleteTable", TableName="mcp-sessions"),
        call("UpdateItem", STATUS, TableName="mcp-sessions"),
        call("PutMetricData", service="cloudwatch", Namespace="AWS/DynamoDB"),
        call("Query", TableName="mcp-sessions-of-others", IndexName="LastActivityIndex"),
    ],
)
def test_what_a_role_may_not_do_is_named_with_its_caller(refused: dict[str, Any]) -> None:
    (sentence,) = find([refused]).refused

    assert sentence.startswith(f"{refused['stacks'][0][0]} calls {refused['service']}:{refused['operation']}")


def test_a_transaction_needs_the_actions_of_its_items() -> None:
    recorded = call(
        "TransactWriteItems", Transaction=[["ConditionCheck", "mcp-sessions"], ["Put", "mcp-session-events"]]
    )

    assert authorized(recorded) == {
        ("dynamodb:ConditionCheckItem", "table/mcp-sessions"),
        ("dynamodb:PutItem", "table/mcp-session-events"),
    }


def test_an_index_is_a_resource_of_its_own() -> None:
    recorded = call("Query", TableName="mcp-sessions", IndexName="LastActivityIndex")

    assert authorized(recorded) == {("dynamodb:Query", "table/mcp-sessions/index/LastActivityIndex")}


def test_a_restore_needs_its_backup_and_the_items_of_its_target() -> None:
    backup = "arn:aws:dynamodb:eu-west-1:123456789012:table/mcp-sessions/backup/0179"
    recorded = call("RestoreTableFromBackup", SETUP, BackupArn=backup, TargetTableName="mcp-sessions-restored-1")

    found = authorized(recorded)

    restore = "dynamodb:RestoreTableFromBackup"
    assert {(restore, "table/mcp-sessions/backup/0179"), (restore, "table/mcp-sessions-restored-1")} < found
    assert ("dynamodb:BatchWriteItem", "table/mcp-sessions-restored-1") in found


def test_a_replica_is_made_in_its_own_region() -> None:
    recorded = call("UpdateTable", SETUP, TableName="mcp-sessions", Replicas=[["Create", "us-west-2"]])

    replica = f"arn:aws:dynamodb:us-west-2:{ACCOUNT}:table/mcp-sessions"
    assert replica in {request.resource for request in requests(recorded) if request.action.endswith("TableReplica")}
    assert "iam:CreateServiceLinkedRole" in {request.action for request in requests(recorded)}
    assert not find([recorded]).refused


def test_a_call_that_nobody_described_says_where_to_describe_it() -> None:
    with pytest.raises(LookupError, match=r"tests/iam/requests\.py does not say"):
        find([call("DescribeLimits", SETUP)])
    with pytest.raises(LookupError, match=r"tests/iam/requests\.py does not say"):
        find([call("PutObject", SETUP, "s3")])
