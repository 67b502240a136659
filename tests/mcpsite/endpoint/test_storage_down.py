"""When DynamoDB does not do its part: 503 in the protocol's own form, and a message that names the remedy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from mcp_types import INTERNAL_ERROR
from pytest_django import Settings

from sessions_dynamo.errors import StorageUnavailable
from sessions_dynamo.store.session_operations import SessionOperations
from sessions_dynamo.store.sessions import default_store
from tests.engines import free_port
from tests.mcpsite.faults import before, raising
from tests.mcpsite.peers import HANDSHAKE, Answer, InProcess, LegacyPeer, ModernPeer

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


def _unavailable(answer: Answer, request_id: Any) -> str:
    assert answer.status == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.error["code"] == INTERNAL_ERROR
    assert answer.body["id"] == request_id
    message: str = answer.error["message"]
    return message


@pytest.fixture
def down(legacy: LegacyPeer, monkeypatch: pytest.MonkeyPatch, settings: Settings) -> LegacyPeer:
    """A client whose session began before DynamoDB went away."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    # Setting a name anew makes the process forget its clients.
    settings.DYNAMODB_SESSIONS_TABLE = str(settings.DYNAMODB_SESSIONS_TABLE)
    return legacy


def test_every_request_of_a_session_is_unavailable(down: LegacyPeer) -> None:
    for request_id, method in ((1, "ping"), ("a", "tools/list")):
        answer = down.post({"jsonrpc": "2.0", "id": request_id, "method": method})
        assert "Cannot reach" in _unavailable(answer, request_id)
    _unavailable(down.notify("notifications/initialized"), None)
    _unavailable(down.end(), None)


def test_a_handshake_is_unavailable_and_names_no_session(down: LegacyPeer) -> None:
    answer = LegacyPeer(InProcess()).request("initialize", HANDSHAKE)
    _unavailable(answer, 1)
    assert "Mcp-Session-Id" not in answer.headers


def test_what_needs_no_storage_is_served(down: LegacyPeer) -> None:
    modern = ModernPeer(InProcess())
    assert modern.request("tools/list").status == 200
    assert modern.call("get_app_state", key="a").data["found"] is False


def test_a_call_without_session_that_stores_is_a_tool_error(down: LegacyPeer) -> None:
    modern = ModernPeer(InProcess())
    for outcome in (
        modern.call("store_app_state", key="a", data=1),
        modern.call("get_app_state", key="a", session_id="a" * 32),
        modern.call("lambda_operation", operation="a", input=1),
        modern.call("global_state", region="us-west-2", data=1),
        modern.call("dynamodb_info"),
    ):
        assert outcome.failed
        assert "Cannot reach" in outcome.text


def test_a_save_that_fails_after_the_call_is_a_tool_error(legacy: LegacyPeer) -> None:
    throttled = StorageUnavailable("DynamoDB throttled UpdateItem: try again.")
    with before(SessionOperations, "save", raising(throttled)):
        outcome = legacy.call("store_app_state", key="a", data=1)
        assert outcome.failed
        assert "throttled" in outcome.text
        # What only reads has its answer: that its activity was not recorded is nothing to the client.
        assert legacy.call("get_app_state", key="a").data["found"] is False


def test_missing_tables_are_named_with_the_command_that_makes_them(
    bare_dynamodb: DynamoDBClient, settings: Settings
) -> None:
    peer = LegacyPeer(InProcess())
    for answer in (
        peer.request("initialize", HANDSHAKE),
        peer.request("ping", headers={"Mcp-Session-Id": "a" * 32}),
    ):
        message = _unavailable(answer, answer.body["id"])
        assert settings.DYNAMODB_SESSIONS_TABLE in message
        assert "manage.py dynamodb_setup" in message
    outcome = ModernPeer(InProcess()).call("store_app_state", key="a", data=1)
    assert outcome.failed
    assert "manage.py dynamodb_setup" in outcome.text


def test_a_table_without_indexes_serves(bare_dynamodb: DynamoDBClient, settings: Settings) -> None:
    """As somebody made it by hand, from the key alone."""
    bare_dynamodb.create_table(
        TableName=settings.DYNAMODB_SESSIONS_TABLE,
        KeySchema=[{"AttributeName": "session_id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "session_id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    peer = LegacyPeer(InProcess()).connect()
    peer.call("store_app_state", key="a", data=1)
    assert peer.call("get_app_state", key="a").data["data"] == 1
    assert default_store().load(peer.session_id).state["a"] == 1
