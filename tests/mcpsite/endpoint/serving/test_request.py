"""The request of a handler: Starlette's, as code that was written for the SDK's own app expects it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest
from django.test import RequestFactory
from django.utils.functional import SimpleLazyObject
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from pytest_django import Settings
from starlette.requests import Request
from starlette.testclient import TestClient

from mcpsite.endpoint.serving.request import ServedRequest
from sessions_dynamo.store.session_operations import default_operations
from tests.mcpsite import site
from tests.mcpsite.peers import Answer, InProcess, LegacyPeer, ModernPeer

Peers = LegacyPeer | ModernPeer


def new_server() -> MCPServer[Any]:
    """A new one each time, to be served by the SDK as well."""
    server: MCPServer[Any] = MCPServer("requests")

    @server.tool()
    async def look(ctx: Context) -> dict[str, Any]:
        """What the request says of itself."""
        request = ctx.request_context.request
        assert isinstance(request, Request)
        request.state.seen = True
        return {
            "method": request.method,
            "url": str(request.url),
            "base_url": str(request.base_url),
            "client": list(request.client or ()),
            "query": dict(request.query_params),
            "cookies": dict(request.cookies),
            "header": [request.headers["X-Name"], request.headers["x-name"], (ctx.headers or {})["X-NAME"]],
            "twice": request.headers.getlist("x-twice"),
            "path_params": dict(request.path_params),
            "type": request.scope["type"],
            "seen": request.state.seen,
            "called": (await request.json())["params"]["name"],
            "length": len(await request.body()) == int(request.headers["content-length"]),
            "left": await request.is_disconnected(),
        }

    @server.tool()
    def user(ctx: Context) -> dict[str, Any]:
        """Who calls."""
        request = ctx.request_context.request
        assert isinstance(request, Request)
        return {"signed_in": bool(request.user.is_authenticated), "scopes": list(request.auth.scopes)}

    return server


served = new_server()

HEADERS = {"X-Name": "Ann", "Cookie": "a=1; b=2"}
PATH = "/mcp?page=2&q=%C3%BC"


def _ours(method: str, body: bytes, headers: Mapping[str, str]) -> Answer:
    answer = site.request(method, PATH, body, headers)
    return Answer(answer.status, answer.headers, b"".join(answer.pieces))


def _look(peer: Peers) -> dict[str, Any]:
    if isinstance(peer, LegacyPeer):
        peer.connect()
    return peer.call("look").data


@pytest.mark.parametrize("era", [LegacyPeer, ModernPeer], ids=lambda peer: peer.era)
def test_a_tool_finds_what_it_finds_under_the_sdks_own_app(
    dynamodb: object, settings: Settings, era: type[Peers]
) -> None:
    settings.MCP_SERVER = f"{__name__}:served"
    security = TransportSecuritySettings(enable_dns_rebinding_protection=False)
    app = new_server().streamable_http_app(json_response=True, transport_security=security)
    with TestClient(app, client=("127.0.0.1", 50000)) as client:

        def theirs(method: str, body: bytes, headers: Mapping[str, str]) -> Answer:
            response = client.request(method, PATH, content=body, headers=dict(headers))
            return Answer(response.status_code, response.headers, response.content)

        expected = _look(era(theirs, HEADERS))
    assert _look(era(_ours, HEADERS)) == expected
    assert expected["query"] == {"page": "2", "q": "ü"}
    assert expected["cookies"] == {"a": "1", "b": "2"}


def test_where_nobody_signs_in_the_user_is_nobody(peer: Peers, settings: Settings) -> None:
    settings.MCP_SERVER = f"{__name__}:served"
    assert peer.call("user").data == {"signed_in": False, "scopes": []}


def test_what_a_handler_leaves_in_the_requests_state_is_seen_by_no_other() -> None:
    process: dict[str, Any] = {"of the process": 1}
    scope = {"state": process}
    requests = [_request(RequestFactory().post("/mcp"), scope) for _ in range(2)]
    requests[0].state.mine = 1
    assert requests[1].scope["state"] == process == {"of the process": 1}


def test_a_request_that_no_asgi_server_made_has_what_is_known_of_it() -> None:
    http = RequestFactory().post("/mcp?a=1", b'{"a": 1}', content_type="application/json", HTTP_X_NAME="Ann")
    request = _request(http)
    assert (request.method, request.url.path, request.query_params["a"]) == ("POST", "/mcp", "1")
    assert (request.client, request.headers["x-name"]) == (None, "Ann")
    assert asyncio.run(request.json()) == {"a": 1}


def test_a_lazy_user_is_not_asked_for() -> None:
    http = RequestFactory().post("/mcp")

    def ask() -> AnonymousUser:
        raise AssertionError("the database was asked")

    http.user = SimpleLazyObject(ask)  # type: ignore[assignment]
    assert "user" in _request(http).scope


def _request(http: HttpRequest, scope: Mapping[str, Any] | None = None) -> ServedRequest:
    if scope is not None:
        http.scope = dict(scope)  # type: ignore[attr-defined]
    return ServedRequest(http, "", default_operations())


def test_headers_that_differ_in_case_alone_are_one(dynamodb: object, settings: Settings) -> None:
    settings.MCP_SERVER = f"{__name__}:served"
    looked = _look(LegacyPeer(InProcess(), {**HEADERS, "X-TWICE": "a"}))
    assert looked["twice"] == ["a"]
    assert looked["header"] == ["Ann"] * 3
