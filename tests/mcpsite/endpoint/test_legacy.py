"""Clients with a session (revisions up to 2025-11-25): the handshake, the session's life, and what is refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from mcp_types import INTERNAL_ERROR, INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND, PARSE_ERROR
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, LATEST_HANDSHAKE_VERSION
from pytest_django import Settings

from sessions_dynamo import schema
from sessions_dynamo.store.session_operations import SessionOperations
from sessions_dynamo.store.sessions import default_store
from tests.mcpsite.bodies import BATCHES, NOT_JSON, SCALARS, WRONG_MEMBERS, nested
from tests.mcpsite.faults import before, raising
from tests.mcpsite.peers import HANDSHAKE, InProcess, LegacyPeer

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

TOOLS = {"store_app_state", "get_app_state", "lambda_operation", "dynamodb_info", "global_state"}


@pytest.fixture
def stranger(dynamodb: DynamoDBClient) -> LegacyPeer:
    """A client that has not begun a session."""
    return LegacyPeer(InProcess())


# --- The handshake --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", HANDSHAKE_PROTOCOL_VERSIONS)
def test_initialize_negotiates_and_begins_a_stored_session(stranger: LegacyPeer, version: str) -> None:
    answer = stranger.request("initialize", {**HANDSHAKE, "protocolVersion": version})

    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.result["protocolVersion"] == version
    assert answer.result["serverInfo"]["name"] == "dynamodb-sessions"
    assert "tools" in answer.result["capabilities"]
    stored = default_store().load(answer.headers["Mcp-Session-Id"])
    assert stored.protocol_version == version
    assert stored.client_params == {**HANDSHAKE, "protocolVersion": version}
    assert stored.initialized_at is None


@pytest.mark.parametrize("version", ["2024-01-01", "", "2026-07-28", "x"])
def test_another_version_is_answered_with_the_newest_that_has_a_handshake(stranger: LegacyPeer, version: str) -> None:
    answer = stranger.request("initialize", {**HANDSHAKE, "protocolVersion": version})
    assert answer.result["protocolVersion"] == LATEST_HANDSHAKE_VERSION
    assert default_store().load(answer.headers["Mcp-Session-Id"]).protocol_version == LATEST_HANDSHAKE_VERSION


@pytest.mark.parametrize("params", [None, {}, {"protocolVersion": 1}, {**HANDSHAKE, "clientInfo": "me"}])
def test_a_refused_handshake_begins_no_session(stranger: LegacyPeer, params: object) -> None:
    answer = stranger.request("initialize", params)
    assert answer.error["code"] == INVALID_PARAMS
    assert "Mcp-Session-Id" not in answer.headers


def test_session_ids_cannot_be_guessed_and_are_visible_ascii(stranger: LegacyPeer) -> None:
    ids = {stranger.request("initialize", HANDSHAKE).headers["Mcp-Session-Id"] for _ in range(5)}
    assert len(ids) == 5
    # 128 bits are 22 characters of base 64.
    assert all(len(id_) >= 22 and id_.isascii() and id_.isprintable() and " " not in id_ for id_ in ids)


def test_initialized_is_recorded_once(legacy: LegacyPeer) -> None:
    first = default_store().load(legacy.session_id).initialized_at
    assert first is not None
    assert legacy.notify("notifications/initialized").status == 202
    assert default_store().load(legacy.session_id).initialized_at == first


def test_a_client_that_skips_initialized_is_served_and_not_recorded_as_initialized(stranger: LegacyPeer) -> None:
    stranger.headers["Mcp-Session-Id"] = stranger.request("initialize", HANDSHAKE).headers["Mcp-Session-Id"]
    assert stranger.request("tools/list").status == 200
    assert stranger.notify("notifications/roots/list_changed").status == 202
    assert default_store().load(stranger.session_id).initialized_at is None


def test_what_a_client_says_of_itself_is_kept_whatever_it_is(stranger: LegacyPeer) -> None:
    handshake = {
        **HANDSHAKE,
        "clientInfo": {"name": "ü" * 100, "version": "", "title": "<b>"},
        "capabilities": {"experimental": {"x": {"deep": nested(20)}}, "roots": {"listChanged": True}},
    }
    session_id = stranger.request("initialize", handshake).headers["Mcp-Session-Id"]
    stranger.headers["Mcp-Session-Id"] = session_id
    assert default_store().load(session_id).client_params == handshake
    assert stranger.request("tools/list").status == 200


# --- Requests -------------------------------------------------------------------------------------------------


def test_ping(legacy: LegacyPeer) -> None:
    answer = legacy.request("ping")
    assert (answer.status, answer.result) == (200, {})


def test_tools_list_names_the_five_tools(legacy: LegacyPeer) -> None:
    assert {tool["name"] for tool in legacy.request("tools/list").result["tools"]} == TOOLS


def test_answers_repeat_the_id_as_it_was(legacy: LegacyPeer) -> None:
    for request_id in ("1", 1, 0, -7, "", 10**30, "ü", "a" * 1000):
        answer = legacy.post({"jsonrpc": "2.0", "id": request_id, "method": "ping"})
        assert answer.body == {"jsonrpc": "2.0", "id": request_id, "result": {}}


def test_a_call_changes_what_the_next_one_reads(legacy: LegacyPeer) -> None:
    assert legacy.call("store_app_state", key="colour", data="blue").data["session_id"] == legacy.session_id
    found = legacy.call("get_app_state", key="colour").data
    assert (found["found"], found["data"]) == (True, "blue")


def test_two_sessions_do_not_see_each_other(legacy: LegacyPeer, stranger: LegacyPeer) -> None:
    legacy.call("store_app_state", key="colour", data="blue")
    assert stranger.connect().call("get_app_state", key="colour").data["found"] is False


def test_answers_are_not_cached(legacy: LegacyPeer) -> None:
    assert legacy.request("ping").headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("method", ["nope", "tools/nope", "", "TOOLS/LIST", "notifications/initialized", "\ud800"])
def test_an_unknown_method_is_told_so(legacy: LegacyPeer, method: str) -> None:
    assert legacy.request(method).error["code"] == METHOD_NOT_FOUND


@pytest.mark.parametrize(
    "params", [None, {}, {"name": 3}, {"name": None}, {"name": "get_app_state", "arguments": []}, {"arguments": {}}]
)
def test_wrong_params_are_told_so(legacy: LegacyPeer, params: object) -> None:
    assert legacy.request("tools/call", params).error["code"] == INVALID_PARAMS


@pytest.mark.parametrize("method", ["notifications/cancelled", "notifications/progress", "notifications/nope", ""])
def test_notifications_are_accepted_without_a_body(legacy: LegacyPeer, method: str) -> None:
    for params in (None, {}, {"requestId": 1}, {"x": [1]}):
        answer = legacy.notify(method, params)
        assert (answer.status, answer.content) == (202, b"")


@pytest.mark.parametrize("body", [{"result": {}}, {"error": {"code": -1, "message": "no"}}])
def test_a_clients_answer_to_a_request_is_accepted(legacy: LegacyPeer, body: dict[str, object]) -> None:
    answer = legacy.post({"jsonrpc": "2.0", "id": "r1", **body})
    assert (answer.status, answer.content) == (202, b"")


# --- A session that is not there ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body", [{"id": 1, "method": "ping"}, {"method": "notifications/initialized"}, {"id": 1, "result": {}}]
)
def test_a_message_without_a_session_id_is_refused(stranger: LegacyPeer, body: dict[str, object]) -> None:
    answer = stranger.post({"jsonrpc": "2.0", **body})
    assert answer.status == 400
    assert answer.error["code"] == INVALID_REQUEST
    assert "Mcp-Session-Id" in answer.error["message"]


def test_an_end_without_a_session_id_is_refused(stranger: LegacyPeer) -> None:
    answer = stranger.end()
    assert (answer.status, answer.error["code"]) == (400, INVALID_REQUEST)


def _gone_sessions(legacy: LegacyPeer) -> dict[str, str]:
    store = default_store()
    terminated, expired, foreign = store.create(), store.create(), store.create(principal="user:1")
    store.terminate(terminated.session_id)
    store.dynamodb.update_item(
        TableName=store.table,
        Key={"session_id": {"S": expired.session_id}},
        UpdateExpression="SET #ttl = :past",
        ExpressionAttributeNames={"#ttl": schema.TTL_ATTRIBUTE},
        ExpressionAttributeValues={":past": {"N": str(int((datetime.now(UTC) - timedelta(seconds=5)).timestamp()))}},
    )
    legacy.call("store_app_state", key="big", data="x" * 5000)
    (spilled,) = store.load(legacy.session_id).state.entries.values()
    return {
        "unknown": schema.new_session_id(),
        "terminated": terminated.session_id,
        "expired": expired.session_id,
        "foreign": foreign.session_id,
        "malformed": "no such id!",
        "overlong": "a" * 5000,
        "item of a value": spilled.item_id,  # type: ignore[union-attr]
        "two at once": f"{legacy.session_id},{legacy.session_id}",
    }


def test_every_session_that_is_not_the_callers_is_gone_alike(legacy: LegacyPeer) -> None:
    seen = set()
    for name, session_id in _gone_sessions(legacy).items():
        for answer in (
            legacy.post({"jsonrpc": "2.0", "id": 1, "method": "ping"}, {"Mcp-Session-Id": session_id}),
            legacy.post({"jsonrpc": "2.0", "method": "notifications/initialized"}, {"Mcp-Session-Id": session_id}),
            legacy.send("GET", b"", {"Accept": "text/event-stream", "Mcp-Session-Id": session_id}),
            legacy.send("DELETE", b"", {"Mcp-Session-Id": session_id}),
        ):
            assert (name, answer.status) == (name, 404)
            assert answer.error["code"] == INVALID_REQUEST
            # go-sdk takes an error with the call's own id for the call's, and goes on with a session that is lost.
            assert answer.body["id"] is None
            seen.add(answer.error["message"].replace(repr(session_id[:128]), "ID"))
    assert len(seen) == 1


def test_a_session_ends_with_delete_and_a_new_one_can_begin(legacy: LegacyPeer) -> None:
    session_id = legacy.session_id
    legacy.call("store_app_state", key="colour", data="blue")

    assert legacy.end().status == 200
    assert legacy.request("ping").status == 404
    assert legacy.end().status == 404

    # For staff it is still there.
    ended = default_store().peek(session_id)
    assert ended is not None
    assert ended.terminated_at is not None
    assert ended.state["colour"] == "blue"

    del legacy.headers["Mcp-Session-Id"]
    assert legacy.connect().session_id != session_id
    assert legacy.call("get_app_state", key="colour").data["found"] is False


def test_initialize_with_a_dead_session_id_begins_a_new_one(legacy: LegacyPeer) -> None:
    legacy.end()
    answer = legacy.request("initialize", HANDSHAKE)
    assert answer.status == 200
    assert answer.headers["Mcp-Session-Id"] != legacy.session_id


# --- Requests that are refused before a session is looked for -------------------------------------------------


@pytest.mark.parametrize(
    "accept", [None, "", "application/json", "text/event-stream", "text/html", "application/jsonx, text/event-stream"]
)
def test_a_client_must_accept_both_forms_of_answer(legacy: LegacyPeer, accept: str | None) -> None:
    answer = legacy.request("ping", headers={"Accept": accept})
    assert answer.status == 406
    assert answer.error["code"] == INVALID_REQUEST


@pytest.mark.parametrize("accept", ["*/*", "application/*, text/*", "application/json;q=1, text/event-stream;q=0.5"])
def test_wildcards_accept_both_forms(legacy: LegacyPeer, accept: str) -> None:
    assert legacy.request("ping", headers={"Accept": accept}).status == 200


@pytest.mark.parametrize(
    "content_type", [None, "text/plain", "application/json-rpc", "application/x-www-form-urlencoded"]
)
def test_the_body_must_say_that_it_is_json(legacy: LegacyPeer, content_type: str | None) -> None:
    answer = legacy.request("ping", headers={"Content-Type": content_type})
    assert answer.status == 400
    assert "Content-Type" in answer.error["message"]


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON", "application/json;"])
def test_parameters_of_the_content_type_do_not_matter(legacy: LegacyPeer, content_type: str) -> None:
    assert legacy.request("ping", headers={"Content-Type": content_type}).status == 200


@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON)
def test_what_is_no_json_is_a_parse_error(legacy: LegacyPeer, body: bytes) -> None:
    answer = legacy.post(body)
    assert answer.status == 400
    assert answer.error["code"] == PARSE_ERROR
    assert answer.body["id"] is None


@pytest.mark.parametrize("body", (SCALARS | BATCHES).values(), ids=SCALARS | BATCHES)
def test_json_that_is_no_single_message_is_an_invalid_request(legacy: LegacyPeer, body: bytes) -> None:
    answer = legacy.post(body)
    assert answer.status == 400
    assert answer.error["code"] == INVALID_REQUEST
    assert answer.body["id"] is None


@pytest.mark.parametrize(("message", "member", "request_id"), WRONG_MEMBERS.values(), ids=WRONG_MEMBERS)
def test_a_message_with_a_wrong_member_is_an_invalid_request(
    legacy: LegacyPeer, message: dict[str, object], member: str, request_id: object
) -> None:
    answer = legacy.post(message)
    assert answer.status == 400
    assert answer.error["code"] == INVALID_REQUEST
    assert answer.body["id"] == request_id
    assert member in answer.error["message"]


def test_a_message_that_is_nested_too_deeply_is_refused(legacy: LegacyPeer) -> None:
    answer = legacy.call("store_app_state", key="deep", data=nested(200)).answer
    assert answer.status == 400
    assert answer.error["code"] == INVALID_REQUEST
    assert legacy.call("get_app_state", key="deep").data["found"] is False


def test_a_body_of_5_mb_is_too_large(legacy: LegacyPeer) -> None:
    body = json.dumps(legacy.message("ping", {"x": "y" * 5_000_000})).encode()
    answer = legacy.post(body)
    assert answer.status == 413
    assert answer.error["code"] == INVALID_REQUEST
    assert str(4 * 1024 * 1024) in answer.error["message"]


def test_a_body_of_3_mb_is_not(legacy: LegacyPeer) -> None:
    # Over Django's own limit, which answers HTML.
    assert legacy.request("ping", {"x": "y" * 3_000_000}).status == 200


def test_the_cap_is_a_setting(legacy: LegacyPeer, settings: Settings) -> None:
    settings.MCP_MAX_BODY_BYTES = 10
    assert legacy.request("ping").status == 413


def test_a_handshake_that_no_item_can_hold_is_refused(stranger: LegacyPeer) -> None:
    capabilities = {"experimental": {"x": {"y": "z" * 500_000}}}
    answer = stranger.request("initialize", {**HANDSHAKE, "capabilities": capabilities})
    assert answer.status == 413
    assert "Mcp-Session-Id" not in answer.headers


def test_a_handshake_with_a_lone_surrogate_is_refused(stranger: LegacyPeer) -> None:
    capabilities = {"experimental": {"x": {"y": "\ud800"}}}
    answer = stranger.request("initialize", {**HANDSHAKE, "capabilities": capabilities})
    assert answer.status == 400
    assert "lone surrogate" in answer.error["message"]


@pytest.mark.parametrize("method", ["PUT", "PATCH", "OPTIONS", "TRACE", "NOPE"])
def test_other_methods_are_not_allowed(legacy: LegacyPeer, method: str) -> None:
    answer = legacy.send(method, b"{}", legacy.headers)
    assert answer.status == 405
    assert answer.error["code"] == INVALID_REQUEST
    assert {"POST", "DELETE"} <= set(answer.headers["Allow"].split(", "))


def test_a_stream_has_the_same_conditions(legacy: LegacyPeer, stranger: LegacyPeer) -> None:
    accept = {"Accept": "text/event-stream"}
    assert legacy.send("GET", b"", {**legacy.headers, "Accept": "application/json"}).status == 406
    assert stranger.send("GET", b"", accept).status == 400
    assert stranger.send("GET", b"", {**accept, "Mcp-Session-Id": schema.new_session_id()}).status == 404


def test_a_failure_of_ours_is_a_json_rpc_error_without_its_text(
    legacy: LegacyPeer, caplog: pytest.LogCaptureFixture
) -> None:
    with before(SessionOperations, "load", raising(RuntimeError("a secret"))):
        answer = legacy.request("ping")

    assert answer.status == 500
    assert answer.error == {"code": INTERNAL_ERROR, "message": "Internal server error"}
    assert "a secret" in caplog.text
