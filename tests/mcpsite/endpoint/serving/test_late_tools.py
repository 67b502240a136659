"""A tool that one of many processes adds while it serves."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from mcp.server.mcpserver import MCPServer
from pytest_django import Settings

from mcpsite.endpoint.serving import late_tools
from tests.mcpsite import servers
from tests.mcpsite.peers import LegacyPeer, ModernPeer


@pytest.fixture
def growing(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> MCPServer[Any]:
    """A server with a tool that adds one."""
    server: MCPServer[Any] = MCPServer("growing")

    @server.tool()
    def grow(name: str) -> str:
        server.add_tool(lambda: "grown", name=name, description="A late one.")
        return "added"

    monkeypatch.setattr(servers, "growing", server, raising=False)
    settings.MCP_SERVER = "tests.mcpsite.servers:growing"
    # Of another test, perhaps.
    from mcpsite.endpoint.server_object.loading import load_server

    load_server.cache_clear()
    return server


def _said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == late_tools.__name__]


def test_it_is_said_once(
    growing: MCPServer[Any], peer: LegacyPeer | ModernPeer, caplog: pytest.LogCaptureFixture
) -> None:
    growing.add_tool(lambda: "early", name="early", description="Before the first message.")
    with caplog.at_level(logging.WARNING, late_tools.__name__):
        assert len(peer.request("tools/list").result["tools"]) == 2
        assert _said(caplog) == []
        peer.call("grow", name="one")
        (line,) = _said(caplog)
        assert "('one')" in line
        peer.call("grow", name="two")
        assert len(peer.request("tools/list").result["tools"]) == 4
    assert _said(caplog) == [line]
