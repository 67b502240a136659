"""FastMCP's server object: its helpers find the request, its state holds, its errors have the specification's codes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from mcp_types import INVALID_PARAMS
from pytest_django import Settings

from mcpsite.endpoint.loop import close_loop
from mcpsite.endpoint.serving.errors import RESOURCE_NOT_FOUND
from mcpsite.endpoint.serving.served import served_server
from sessions_dynamo.key_value.store import DynamoDBKeyValue
from tests.mcpsite import site
from tests.mcpsite.fastmcp_installed import need_fastmcp
from tests.mcpsite.peers import InProcess, LegacyPeer, ModernPeer

need_fastmcp()

from tests.mcpsite import fastmcp_server  # noqa: E402

Peers = LegacyPeer | ModernPeer


@pytest.fixture(autouse=True)
def _served(settings: Settings, dynamodb: object) -> Iterator[None]:
    settings.MCP_SERVER = "tests.mcpsite.fastmcp_server:mcp"
    fastmcp_server.seen.clear()
    yield
    site.on_the_loop(close_loop())


def _names(peer: Peers, name: str) -> Any:
    """A peer of its own session, who says its name."""
    mine = type(peer)(InProcess({"X-Name": name}))
    return mine.connect() if isinstance(mine, LegacyPeer) else mine


def test_its_helpers_find_the_request(peer: Peers) -> None:
    assert _names(peer, "Ann").call("look").data == {
        "same": True,
        "path": "/mcp",
        "client": "127.0.0.1",
        "header": "Ann",
        "headers": "Ann",
        "forwarded": "Ann",
        "greeting": "hello",
        "lifespan": True,
        "transport": "streamable-http",
    }


def test_its_middleware_sees_every_message(peer: Peers) -> None:
    peer.call("look")
    peer.request("tools/list")
    assert {"tools/call", "tools/list"} <= set(fastmcp_server.seen)


def test_state_of_a_session_is_in_the_table_and_no_other_session_sees_it(legacy: LegacyPeer) -> None:
    legacy.call("add_note", text="one")
    assert legacy.call("add_note", text="two").data == {"result": ["one", "two"]}
    assert LegacyPeer(InProcess()).connect().call("add_note", text="x").data == {"result": ["x"]}

    store = DynamoDBKeyValue(default_collection="fastmcp_state")
    kept = site.on_the_loop(store.get(f"{legacy.session_id}:notes"))
    assert kept == {"value": ["one", "two"]}
    legacy.call("forget")
    assert site.on_the_loop(store.get(f"{legacy.session_id}:notes")) is None


def test_a_mounted_servers_state_is_in_the_table_too(legacy: LegacyPeer) -> None:
    legacy.call("child_keep", text="one")
    assert legacy.call("child_keep", text="two").data == {"result": ["one", "two"]}
    assert isinstance(fastmcp_server.child._state_storage, DynamoDBKeyValue)


def test_without_sessions_the_public_has_no_state_in_common(modern: ModernPeer) -> None:
    modern.call("add_note", text="one")
    assert modern.call("add_note", text="two").data == {"result": ["two"]}


def test_without_sessions_a_header_that_names_one_reaches_none(legacy: LegacyPeer) -> None:
    legacy.call("add_note", text="secret")
    thief = ModernPeer(InProcess(), {"Mcp-Session-Id": legacy.session_id})
    assert thief.call("add_note", text="x").data == {"result": ["x"]}


def test_without_sessions_a_signed_in_callers_state_is_the_callers(modern: ModernPeer, settings: Settings) -> None:
    settings.MCP_AUTH = "tests.mcpsite.servers.callers_name"
    ann, bob = (ModernPeer(InProcess({"X-Name": name})) for name in ("Ann of FastMCP", "Bob of FastMCP"))
    ann.call("forget")
    bob.call("forget")
    ann.call("add_note", text="one")
    bob.call("add_note", text="other")
    assert ann.call("add_note", text="two").data == {"result": ["one", "two"]}


def test_its_own_handle_holds_in_both_eras(peer: Peers) -> None:
    handle = peer.call("create_session").data["result"]
    peer.request("tools/call", {"name": "remember", "arguments": {"session_id": handle, "fact": "one"}})
    answer = peer.request("tools/call", {"name": "remember", "arguments": {"session_id": handle, "fact": "two"}})
    assert answer.result["structuredContent"] == {"result": ["one", "two"]}


@pytest.mark.parametrize(
    ("method", "params", "code", "text"),
    [
        ("prompts/get", {"name": "nope"}, INVALID_PARAMS, "Unknown prompt: 'nope'"),
        ("prompts/get", {"name": "greet", "arguments": {}}, INVALID_PARAMS, None),
        ("resources/read", {"uri": "nope://x"}, RESOURCE_NOT_FOUND, None),
    ],
    ids=["prompt", "argument", "resource"],
)
def test_what_is_not_there_has_the_specifications_code(
    peer: Peers, method: str, params: dict[str, Any], code: int, text: str | None
) -> None:
    error = peer.request(method, params).error
    assert error["code"] == (INVALID_PARAMS if peer.era == "modern" else code)
    assert text in (None, error["message"])


def test_resources_and_prompts_are_served(peer: Peers) -> None:
    assert peer.request("resources/read", {"uri": "note://a"}).result["contents"][0]["text"] == "note a"
    prompt = peer.request("prompts/get", {"name": "greet", "arguments": {"name": "Ann"}}).result
    assert prompt["messages"][0]["content"]["text"] == "Greet Ann"


def test_a_store_of_its_authors_is_kept(settings: Settings) -> None:
    store = DynamoDBKeyValue(default_collection="mine")
    fastmcp_server.child._state_storage, before = store, fastmcp_server.child._state_storage
    try:
        served_server.cache_clear()
        served_server()
        assert fastmcp_server.child._state_storage is store
    finally:
        fastmcp_server.child._state_storage = before
