"""Clients without sessions (2026-07-28): each request stands alone, and its headers repeat what its body says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from mcp.shared.inbound import ERROR_CODE_HTTP_STATUS
from mcp_types import (
    CLIENT_CAPABILITIES_META_KEY,
    CLIENT_INFO_META_KEY,
    HEADER_MISMATCH,
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    PARSE_ERROR,
    PROTOCOL_VERSION_META_KEY,
    SERVER_INFO_META_KEY,
    UNSUPPORTED_PROTOCOL_VERSION,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pytest_django import Settings

from tests.mcpsite.bodies import BATCHES, NOT_JSON, SCALARS, WRONG_MEMBERS
from tests.mcpsite.peers import ENVELOPE, MODERN, ModernPeer

TOOLS = {"store_app_state", "get_app_state", "lambda_operation", "dynamodb_info", "global_state"}


@pytest.fixture
def mirrored(modern: ModernPeer, settings: Settings) -> ModernPeer:
    """A client of a server whose tool has ``x-mcp-header`` arguments."""
    settings.MCP_SERVER = "tests.mcpsite.servers:mirrored"
    return modern


def _refused(answer: Any, code: int) -> dict[str, Any]:
    error: dict[str, Any] = answer.error
    assert error["code"] == code, error
    assert answer.status == ERROR_CODE_HTTP_STATUS.get(code, 200)
    assert "Mcp-Session-Id" not in answer.headers
    return error


# --- Requests -------------------------------------------------------------------------------------------------


def test_discover_names_the_server_and_its_versions(modern: ModernPeer) -> None:
    answer = modern.request("server/discover")
    assert answer.status == 200
    assert answer.result["supportedVersions"] == list(MODERN_PROTOCOL_VERSIONS)
    assert "tools" in answer.result["capabilities"]


def test_tools_list_names_the_five_tools(modern: ModernPeer) -> None:
    answer = modern.request("tools/list")
    assert answer.status == 200
    assert {tool["name"] for tool in answer.result["tools"]} == TOOLS
    assert "Mcp-Session-Id" not in answer.headers


def test_a_result_says_that_it_is_complete_and_whose_it_is(modern: ModernPeer) -> None:
    result = modern.call("store_app_state", key="a", data=1).answer.result
    assert result["resultType"] == "complete"
    assert result["_meta"][SERVER_INFO_META_KEY]["name"] == "dynamodb-sessions"


def test_a_stray_session_id_is_ignored(modern: ModernPeer) -> None:
    assert modern.request("tools/list", headers={"Mcp-Session-Id": "nonsense"}).status == 200


@pytest.mark.parametrize("method", ["nope", "initialize", "ping", "logging/setLevel", "resources/subscribe"])
def test_a_method_that_is_not_in_this_revision_is_not_found(modern: ModernPeer, method: str) -> None:
    _refused(modern.request(method), METHOD_NOT_FOUND)


@pytest.mark.parametrize("params", [{}, {"name": "get_app_state", "arguments": []}, {"arguments": {}}])
def test_wrong_params_are_told_so(modern: ModernPeer, params: dict[str, Any]) -> None:
    _refused(modern.request("tools/call", params), INVALID_PARAMS)


def test_an_unknown_tool_and_missing_arguments_are_errors_that_a_model_can_read(modern: ModernPeer) -> None:
    unknown, missing = modern.call("nope"), modern.call("store_app_state")
    assert unknown.failed
    assert "nope" in unknown.text
    assert missing.failed
    assert "data" in missing.text
    assert "Field required" in missing.text


@pytest.mark.parametrize("code", [*ERROR_CODE_HTTP_STATUS, INTERNAL_ERROR, -32050, 7], ids=lambda code: f"code {code}")
def test_a_handlers_error_has_the_status_of_its_code(mirrored: ModernPeer, code: int) -> None:
    _refused(mirrored.request("tools/call", {"name": "refuse", "arguments": {"code": code}}), code)


# --- The envelope ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", [PROTOCOL_VERSION_META_KEY, CLIENT_CAPABILITIES_META_KEY])
def test_an_envelope_without_its_keys_is_refused_by_name(modern: ModernPeer, missing: str) -> None:
    meta = {name: value for name, value in ENVELOPE.items() if name != missing}
    assert missing in _refused(modern.request("tools/list", {"_meta": meta}), INVALID_PARAMS)["message"]


@pytest.mark.parametrize("meta", [None, 1, "x", [], {}])
def test_an_envelope_of_another_type_is_refused(modern: ModernPeer, meta: Any) -> None:
    _refused(modern.request("tools/list", {"_meta": meta}), INVALID_PARAMS)


def test_a_request_without_params_is_refused(modern: ModernPeer) -> None:
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    _refused(modern.post(message, {"MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/list"}), INVALID_PARAMS)


def test_a_client_need_not_say_who_it_is(modern: ModernPeer) -> None:
    meta = {name: value for name, value in ENVELOPE.items() if name != CLIENT_INFO_META_KEY}
    assert modern.request("tools/list", {"_meta": meta}).status == 200


@pytest.mark.parametrize(("key", "value"), [(CLIENT_INFO_META_KEY, 5), (CLIENT_CAPABILITIES_META_KEY, "all")])
def test_an_envelope_with_a_wrong_value_is_refused_and_logs_no_traceback(
    modern: ModernPeer, caplog: pytest.LogCaptureFixture, key: str, value: Any
) -> None:
    params = {"_meta": {**ENVELOPE, key: value}, "name": "get_app_state", "arguments": {"key": "a"}}
    _refused(modern.request("tools/call", params), INVALID_PARAMS)
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("version", ["2999-01-01", "2026-07-29", "x", ""])
def test_an_unsupported_version_is_answered_with_those_that_are(modern: ModernPeer, version: str) -> None:
    params = {"_meta": {**ENVELOPE, PROTOCOL_VERSION_META_KEY: version}}
    answer = modern.request("tools/list", params, {"MCP-Protocol-Version": version})
    error = _refused(answer, UNSUPPORTED_PROTOCOL_VERSION)
    assert error["data"] == {"supported": list(MODERN_PROTOCOL_VERSIONS), "requested": version}


# --- The headers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"Mcp-Method": None},
        {"Mcp-Method": "tools/list"},
        {"Mcp-Method": "TOOLS/CALL"},
        {"Mcp-Name": None},
        {"Mcp-Name": "store_app_state"},
        {"Mcp-Name": "GET_APP_STATE"},
        {"Mcp-Name": "=?base64?!!!?="},
        {"MCP-Protocol-Version": "2999-01-01"},
        # How a WSGI server hands on a header that was sent twice.
        {"MCP-Protocol-Version": f"{MODERN},{MODERN}"},
        {"Mcp-Method": "tools/call,tools/call"},
        {"Mcp-Name": "get_app_state,get_app_state"},
    ],
    ids=str,
)
def test_headers_that_disagree_with_the_body_are_refused(modern: ModernPeer, headers: dict[str, str | None]) -> None:
    answer = modern.request("tools/call", {"name": "get_app_state", "arguments": {"key": "a"}}, headers)
    _refused(answer, HEADER_MISMATCH)


def test_a_name_may_be_encoded(modern: ModernPeer) -> None:
    params = {"name": "get_app_state", "arguments": {"key": "a"}}
    assert modern.request("tools/call", params, {"Mcp-Name": "=?base64?Z2V0X2FwcF9zdGF0ZQ==?="}).status == 200


def test_a_name_with_no_place_in_a_header_is_encoded_and_found_unknown(modern: ModernPeer) -> None:
    outcome = modern.call("größe\n")
    assert outcome.failed
    assert "Unknown tool" in outcome.text


@pytest.mark.parametrize(
    ("arguments", "headers"),
    [
        ({"region": "eu"}, {"Mcp-Param-Region": "eu"}),
        ({"region": "eu", "text": "free"}, {"Mcp-Param-Region": "eu"}),
        ({"region": "eu", "size": 42}, {"Mcp-Param-Region": "eu", "Mcp-Param-Size": "42"}),
        ({"region": "eu", "size": 42}, {"Mcp-Param-Region": "eu", "Mcp-Param-Size": "42.0"}),
        ({"region": "ü"}, {"Mcp-Param-Region": "=?base64?w7w=?="}),
        ({"region": "eu", "size": None}, {"Mcp-Param-Region": "eu"}),
        ({"region": "eu"}, {"Mcp-Param-Region": "eu", "Mcp-Param-Unknown": "x"}),
    ],
    ids=str,
)
def test_param_headers_that_agree_pass(
    mirrored: ModernPeer, arguments: dict[str, Any], headers: dict[str, str | None]
) -> None:
    answer = mirrored.request("tools/call", {"name": "route", "arguments": arguments}, headers)
    assert answer.status == 200
    assert not answer.result["isError"]


@pytest.mark.parametrize(
    ("arguments", "headers"),
    [
        ({"region": "eu"}, {}),
        ({"region": "eu"}, {"Mcp-Param-Region": "us"}),
        ({"region": "eu"}, {"Mcp-Param-Region": "EU"}),
        ({"region": "eu"}, {"Mcp-Param-Region": "eu,eu"}),
        ({"region": "eu"}, {"Mcp-Param-Region": "eu", "Mcp-Param-Size": "42"}),
        ({"region": "eu", "size": 42}, {"Mcp-Param-Region": "eu"}),
        ({"region": "eu", "size": 42}, {"Mcp-Param-Region": "eu", "Mcp-Param-Size": "4.2e1"}),
        ({"region": "eu"}, {"Mcp-Param-Region": "=?base64?!?="}),
        ({}, {"Mcp-Param-Region": "eu"}),
        ({"region": {"a": 1}}, {"Mcp-Param-Region": "eu"}),
    ],
    ids=str,
)
def test_param_headers_that_disagree_are_refused(
    mirrored: ModernPeer, arguments: dict[str, Any], headers: dict[str, str | None]
) -> None:
    _refused(mirrored.request("tools/call", {"name": "route", "arguments": arguments}, headers), HEADER_MISMATCH)


@pytest.mark.parametrize("tool", ["first", "second", "third"])
def test_a_schema_on_any_page_of_the_list_is_found(modern: ModernPeer, settings: Settings, tool: str) -> None:
    settings.MCP_SERVER = "tests.mcpsite.servers:paged"
    params = {"name": tool, "arguments": {"region": "eu"}}
    _refused(modern.request("tools/call", params, {"Mcp-Param-Region": "us"}), HEADER_MISMATCH)
    assert modern.request("tools/call", params, {"Mcp-Param-Region": "eu"}).status == 200


@pytest.mark.parametrize("server", ["circular", "broken", "schemaless"])
def test_a_schema_that_cannot_be_read_stops_no_call_and_is_logged(
    modern: ModernPeer, settings: Settings, caplog: pytest.LogCaptureFixture, server: str
) -> None:
    settings.MCP_SERVER = f"tests.mcpsite.servers:{server}"
    answer = modern.request("tools/call", {"name": "x", "arguments": {"region": "eu"}})
    assert answer.result["content"][0]["text"] == "called x"
    assert "Mcp-Param headers were not checked" in caplog.text


# --- What is no request ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["notifications/cancelled", "notifications/initialized", "nope"])
def test_a_notification_is_accepted(modern: ModernPeer, method: str) -> None:
    answer = modern.post({"jsonrpc": "2.0", "method": method}, {"MCP-Protocol-Version": MODERN})
    assert (answer.status, answer.content) == (202, b"")


def test_a_notification_of_an_unsupported_version_is_refused(modern: ModernPeer) -> None:
    answer = modern.post({"jsonrpc": "2.0", "method": "x"}, {"MCP-Protocol-Version": "2999-01-01"})
    error = _refused(answer, UNSUPPORTED_PROTOCOL_VERSION)
    assert error["data"]["supported"] == list(MODERN_PROTOCOL_VERSIONS)
    assert answer.body["id"] is None


@pytest.mark.parametrize("body", [{"result": {}}, {"error": {"code": 1, "message": "no"}}])
def test_a_response_is_refused(modern: ModernPeer, body: dict[str, Any]) -> None:
    answer = modern.post({"jsonrpc": "2.0", "id": 1, **body}, {"MCP-Protocol-Version": MODERN})
    _refused(answer, INVALID_REQUEST)


@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON)
def test_what_is_no_json_is_a_parse_error(modern: ModernPeer, body: bytes) -> None:
    answer = modern.post(body, {"MCP-Protocol-Version": MODERN})
    _refused(answer, PARSE_ERROR)
    assert answer.body["id"] is None


@pytest.mark.parametrize("body", (SCALARS | BATCHES).values(), ids=SCALARS | BATCHES)
def test_json_that_is_no_single_message_is_an_invalid_request(modern: ModernPeer, body: bytes) -> None:
    _refused(modern.post(body, {"MCP-Protocol-Version": MODERN}), INVALID_REQUEST)


@pytest.mark.parametrize(("message", "member", "request_id"), WRONG_MEMBERS.values(), ids=WRONG_MEMBERS)
def test_a_message_with_a_wrong_member_is_an_invalid_request(
    modern: ModernPeer, message: dict[str, Any], member: str, request_id: Any
) -> None:
    answer = modern.post(message, {"MCP-Protocol-Version": MODERN})
    assert member in _refused(answer, INVALID_REQUEST)["message"]


def test_a_body_of_5_mb_is_too_large(modern: ModernPeer) -> None:
    body = json.dumps(modern.message("tools/list", {"x": "y" * 5_000_000})).encode()
    assert modern.post(body, {"MCP-Protocol-Version": MODERN}).status == 413


@pytest.mark.parametrize("accept", [None, "application/json", "text/event-stream"])
def test_a_client_must_accept_both_forms_of_answer(modern: ModernPeer, accept: str | None) -> None:
    assert modern.request("tools/list", headers={"Accept": accept}).status == 406


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "PATCH"])
@pytest.mark.parametrize("version", [MODERN, "2999-01-01"])
def test_only_post_is_allowed(modern: ModernPeer, method: str, version: str) -> None:
    answer = modern.send(method, b"", {"MCP-Protocol-Version": version, "Mcp-Session-Id": "x"})
    assert answer.status == 405
    assert answer.headers["Allow"] == "POST"


def test_the_statuses_above_are_all_that_there_are() -> None:
    assert set(ERROR_CODE_HTTP_STATUS) == {
        PARSE_ERROR,
        INVALID_REQUEST,
        INVALID_PARAMS,
        METHOD_NOT_FOUND,
        HEADER_MISMATCH,
        MISSING_REQUIRED_CLIENT_CAPABILITY,
        UNSUPPORTED_PROTOCOL_VERSION,
    }
