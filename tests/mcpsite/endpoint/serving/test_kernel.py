"""One message through the SDK's kernel: what a handler knows of its client, and what becomes of what it raises."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp_types import INTERNAL_ERROR, INVALID_PARAMS, NotificationParams
from pytest_django import Settings

from mcpsite.endpoint.loop import close_loop
from tests.mcpsite import site
from tests.mcpsite.peers import ENVELOPE, InProcess, LegacyPeer, ModernPeer

CAPABILITIES = {"roots": {"listChanged": True}, "experimental": {"x": {"y": [1]}}}


@pytest.fixture(autouse=True)
def _tools(settings: Settings) -> None:
    settings.MCP_SERVER = "tests.mcpsite.servers:tools"


def test_what_a_client_said_in_its_handshake_is_known_to_every_later_call(legacy: LegacyPeer) -> None:
    peer = LegacyPeer(InProcess())
    handshake = {
        "protocolVersion": "2025-06-18",
        "capabilities": CAPABILITIES,
        "clientInfo": {"name": "ann", "version": "2"},
    }
    peer.headers["Mcp-Session-Id"] = peer.request("initialize", handshake).headers["Mcp-Session-Id"]
    for _ in range(2):
        known = peer.call("client_of").data
        assert (known["version"], known["name"], known["capabilities"]) == ("2025-06-18", "ann", CAPABILITIES)


def test_what_a_request_says_of_its_client_is_known_to_that_call(modern: ModernPeer) -> None:
    keys = list(ENVELOPE)
    meta = {keys[0]: "2026-07-28", keys[1]: {"name": "bob", "version": "1"}, keys[2]: CAPABILITIES}
    answer = modern.request("tools/call", {"_meta": meta, "name": "client_of", "arguments": {}})
    known = answer.result["structuredContent"]
    assert (known["version"], known["name"], known["capabilities"]) == ("2026-07-28", "bob", CAPABILITIES)


@pytest.mark.parametrize("request_id", [7, "seven", 0])
def test_a_handler_knows_its_requests_id(legacy: LegacyPeer, request_id: Any) -> None:
    call = {"name": "client_of", "arguments": {}}
    answer = legacy.post({"jsonrpc": "2.0", "id": request_id, "method": "tools/call", "params": call})
    assert answer.result["structuredContent"]["request_id"] == str(request_id)


@pytest.mark.parametrize("token", [None, 1, "t"])
def test_a_handler_that_notifies_is_answered_all_the_same(peer: LegacyPeer | ModernPeer, token: Any) -> None:
    meta = {
        "_meta": ({**ENVELOPE} if peer.era == "modern" else {}) | ({} if token is None else {"progressToken": token})
    }
    answer = peer.request("tools/call", {**meta, "name": "chatter", "arguments": {}})
    assert answer.status == 200
    assert answer.result["structuredContent"] == {"result": "said"}


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


def test_a_number_that_json_has_not_leaves_as_null(peer: LegacyPeer | ModernPeer) -> None:
    answer = peer.call("not_a_number").answer
    body = json.loads(answer.content, parse_constant=_refuse)
    assert body["result"]["structuredContent"] == {"mean": None, "bounds": [None, 1.5]}


# --- A server of one's own ------------------------------------------------------------------------------------


class Heard(NotificationParams):
    """The params of a notification that only ``raw`` knows."""

    text: str


heard: list[str] = []


async def _hear(ctx: ServerRequestContext[Any], params: Heard) -> None:
    heard.append(params.text)
    if params.text == "crash":
        raise RuntimeError("a secret")


async def _crash(ctx: ServerRequestContext[Any], params: Heard) -> dict[str, Any]:
    raise RuntimeError("a secret")


async def _not_json(ctx: ServerRequestContext[Any], params: Heard) -> Any:
    return object()


raw = Server("raw")
raw.add_notification_handler("notifications/test", Heard, _hear)
raw.add_request_handler("test/crash", Heard, _crash)
raw.add_request_handler("test/not_json", Heard, _not_json)


@pytest.fixture
def raw_server(settings: Settings) -> Iterator[None]:
    settings.MCP_SERVER = f"{__name__}:raw"
    heard.clear()
    yield
    site.on_the_loop(close_loop())


@pytest.mark.parametrize("method", ["test/crash", "test/not_json"])
def test_a_handler_that_crashes_tells_the_log(
    peer: LegacyPeer | ModernPeer, raw_server: None, caplog: pytest.LogCaptureFixture, method: str
) -> None:
    answer = peer.request(method, {"text": "x"})
    assert answer.status == 200
    assert answer.error["code"] == INTERNAL_ERROR
    # With clients of the handshake, the SDK's own app tells it.
    assert (b"a secret" in answer.content) == (method == "test/crash" and peer.era == "legacy")
    assert "Traceback" in caplog.text


def test_params_that_a_handler_does_not_take_are_the_clients_fault(
    peer: LegacyPeer | ModernPeer, raw_server: None
) -> None:
    assert peer.request("test/crash", {"text": 7}).error["code"] == INVALID_PARAMS


def test_a_servers_own_notifications_reach_it(legacy: LegacyPeer, raw_server: None) -> None:
    for text in ("first", "crash", "last"):
        assert legacy.notify("notifications/test", {"text": text}).status == 202
    assert legacy.notify("notifications/test", {"text": 7}).status == 202
    assert heard == ["first", "crash", "last"]


def test_a_notification_before_the_handshake_reaches_nobody(legacy: LegacyPeer, raw_server: None) -> None:
    stranger = LegacyPeer(InProcess())
    assert stranger.notify("notifications/test", {"text": "x"}).status == 400
    assert heard == []


def test_a_tool_that_exits_ends_itself_alone(legacy: LegacyPeer) -> None:
    answer = legacy.request("tools/call", {"name": "leave", "arguments": {}})
    assert answer.error["code"] == INTERNAL_ERROR
    assert legacy.request("ping").result == {}
