"""FastMCP's ``auth=`` and its routes, where FastMCP 4 is installed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from django.core.checks import run_checks
from pytest_django import Settings

from mcpsite.endpoint.server_object.http_app import served_app
from mcpsite.endpoint.server_object.loading import load_server
from tests.mcpsite import site
from tests.mcpsite.peers import JSON_HEADERS, InProcess, LegacyPeer, ModernPeer

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

pytest.importorskip("fastmcp", reason="FastMCP 4 is not installed: its authentication is not tried")

ANN = {"Authorization": "Bearer ann-token"}


@pytest.fixture(autouse=True)
def _served(dynamodb: DynamoDBClient, settings: Settings) -> None:
    settings.MCP_SERVER, settings.MCP_AUTH = "tests.mcpsite.fastmcp_servers:guarded", ""


@pytest.mark.parametrize("sent", [None, "Bearer nobody", "Bearer bob-token"])
def test_a_refusal_is_fastmcps(sent: str | None) -> None:
    headers = JSON_HEADERS | ({"Authorization": sent} if sent else {})
    app = load_server("tests.mcpsite.fastmcp_servers:guarded").http_app(path="/mcp")
    ours, theirs = site.request("POST", "/mcp", b"{}", headers), site.request("POST", "/mcp", b"{}", headers, app=app)
    assert ours.status == theirs.status == 401
    assert (ours.pieces, dict(ours.headers)) == (theirs.pieces, dict(theirs.headers))
    assert "/.well-known/oauth-protected-resource/mcp" in ours.headers["WWW-Authenticate"]


def test_its_metadata_and_its_routes_are_served() -> None:
    metadata = site.request("GET", "/.well-known/oauth-protected-resource/mcp")
    assert json.loads(b"".join(metadata.pieces))["resource"] == "http://testserver/mcp"
    assert b"".join(site.request("GET", "/hello/ann").pieces) == b"hello ann"


@pytest.mark.parametrize("kind", [LegacyPeer, ModernPeer])
def test_its_tools_see_the_token(kind: Any) -> None:
    peer = kind(InProcess(), ANN)
    if isinstance(peer, LegacyPeer):
        peer.connect()
    assert peer.call("who").data == {"sdk": "ann-token", "fastmcp": "ann-token"}
    assert peer.call("who_in_a_thread").data == {"sdk": "ann-token", "fastmcp": "ann-token"}
    assert peer.call("for_admins").answer.body.get("error") or peer.call("for_admins").failed


def test_both_are_refused(settings: Settings) -> None:
    settings.MCP_AUTH = "tests.mcpsite.servers.callers_name"
    assert [found.id for found in run_checks() if (found.id or "").startswith("mcp_endpoint.E")] == [
        "mcp_endpoint.E006"
    ]


def test_what_its_settings_wish_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    import fastmcp

    served_app.cache_clear()
    monkeypatch.setattr(fastmcp.settings, "stateless_http", True)
    monkeypatch.setattr(fastmcp.settings, "http_allowed_hosts", ["a.example.com"])
    said = [found.msg for found in run_checks() if found.id == "mcp_endpoint.W002"]
    served_app.cache_clear()
    assert [message.partition(" is not")[0] for message in said] == [
        "The server object's FASTMCP_STATELESS_HTTP=True",
        "The server object's FASTMCP_HTTP_ALLOWED_HOSTS=['a.example.com']",
    ]
