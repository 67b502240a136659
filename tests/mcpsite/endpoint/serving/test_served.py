"""``MCP_SERVER`` names the server object: any ``MCPServer`` or low-level ``Server`` of the SDK, or a clear error."""

from __future__ import annotations

import pytest
from django.core.checks import run_checks
from mcp.server.lowlevel import Server
from mcp.server.mcpserver import MCPServer
from pytest_django import Settings

from mcpsite.endpoint.server_object.loading import load_server
from mcpsite.endpoint.serving.served import served_server
from tests.mcpsite.peers import LegacyPeer, ModernPeer


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("mcpsite.server:mcp", "dynamodb-sessions"),
        ("tests.mcpsite.servers:tools", "tools"),
        ("tests.mcpsite.servers:paged", "paged"),
    ],
)
def test_a_server_is_found_by_its_path(path: str, name: str) -> None:
    server = load_server(path)
    assert isinstance(server, Server | MCPServer)
    assert server.name == name
    assert load_server(path) is server


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("", "package.module:attribute"),
        ("tests.mcpsite.servers", "none of mcp, server, app"),
        ("mcpsite.server:", "package.module:attribute"),
        (":mcp", "package.module:attribute"),
        ("mcpsite.nowhere:mcp", "No module named"),
        ("mcpsite.server:nothing", "nothing"),
        ("tests.mcpsite.servers:not_a_server", "it is a object"),
        ("tests.mcpsite.servers:add_note", "it is a function"),
    ],
)
def test_a_path_that_names_no_server_is_refused_with_what_to_write(settings: Settings, path: str, problem: str) -> None:
    settings.MCP_SERVER = path
    (error,) = (found for found in run_checks() if found.id == "mcp_endpoint.E004")
    assert problem in error.msg
    assert error.hint is not None
    assert "mcpsite.server:mcp" in error.hint


def test_the_served_server_follows_the_setting(settings: Settings) -> None:
    assert served_server().name == "dynamodb-sessions"
    settings.MCP_SERVER = "tests.mcpsite.servers:tools"
    assert served_server().name == "tools"
    assert served_server() is served_server()


def test_a_low_level_server_is_served_in_both_eras(legacy: LegacyPeer, modern: ModernPeer, settings: Settings) -> None:
    settings.MCP_SERVER = "tests.mcpsite.servers:paged"
    for peer in (legacy, modern):
        page = peer.request("tools/list").result
        assert [tool["name"] for tool in page["tools"]] == ["first"]
        page = peer.request("tools/list", {"cursor": page["nextCursor"]}).result
        assert [tool["name"] for tool in page["tools"]] == ["second"]
        assert peer.call("first").answer.result["content"][0]["text"] == "called first"


def test_both_eras_see_what_the_server_says_of_itself(legacy: LegacyPeer, modern: ModernPeer) -> None:
    discovered = modern.request("server/discover").result
    assert discovered["instructions"].startswith("Keeps application state")
    assert (
        legacy.request(
            "initialize",
            {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}},
        ).result["instructions"]
        == discovered["instructions"]
    )
