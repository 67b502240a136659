"""Host and Origin: checked before all else at the endpoint, and refused in the protocol's own form."""

from __future__ import annotations

import pytest
from django.core.asgi import get_asgi_application
from django.test import Client
from mcp_types import INVALID_REQUEST
from pytest_django import Settings

from tests.mcpsite import site
from tests.mcpsite.peers import LegacyPeer, ModernPeer

Peer = LegacyPeer | ModernPeer


@pytest.fixture(params=[True, False], ids=["debug", "no debug"])
def debug(request: pytest.FixtureRequest, settings: Settings) -> bool:
    settings.DEBUG = request.param
    settings.ALLOWED_HOSTS = ["mcp.example.com", "testserver"]
    return bool(request.param)


@pytest.mark.parametrize("host", ["evil.example.com", "mcp.example.com.evil.com", "a b", "", "mcp.example.com:x"])
def test_a_foreign_host_is_misdirected(peer: Peer, debug: bool, host: str) -> None:
    answer = peer.request("tools/list", headers={"Host": host})
    assert answer.status == 421
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.error["code"] == INVALID_REQUEST
    assert "ALLOWED_HOSTS" in answer.error["message"]
    assert answer.body["id"] is None


@pytest.mark.parametrize("host", ["mcp.example.com", "MCP.EXAMPLE.COM", "mcp.example.com:8062"])
def test_a_host_of_ours_is_served(peer: Peer, debug: bool, host: str) -> None:
    assert peer.request("tools/list", headers={"Host": host}).status == 200


def test_a_foreign_host_is_refused_for_every_method(legacy: LegacyPeer, debug: bool) -> None:
    for method in ("GET", "DELETE", "PUT", "OPTIONS"):
        answer = legacy.send(method, b"", {**legacy.headers, "Host": "evil.example.com"})
        assert (answer.status, answer.error["code"]) == (421, INVALID_REQUEST)


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example.com",
        "http://testserver.evil.com",
        "http://evil.com/testserver",
        "http://testserver@evil.com",
        "null",
        "testserver",
        "x",
        "://",
        "http://[::1",
        "http://testserver:8062",
        "http://testserver, https://evil.example.com",
    ],
)
def test_a_foreign_origin_is_forbidden(peer: Peer, debug: bool, origin: str) -> None:
    answer = peer.request("tools/list", headers={"Origin": origin})
    assert answer.status == 403
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.error["code"] == INVALID_REQUEST
    assert "MCP_ALLOWED_ORIGINS" in answer.error["message"]


@pytest.mark.parametrize("origin", ["http://testserver", "https://testserver", ""])
def test_the_sites_own_origin_is_served_whatever_its_scheme(peer: Peer, debug: bool, origin: str) -> None:
    assert peer.request("tools/list", headers={"Origin": origin}).status == 200


def test_a_trusted_origin_is_served_exactly(peer: Peer, debug: bool, settings: Settings) -> None:
    settings.MCP_ALLOWED_ORIGINS = ["https://app.example.com"]
    assert peer.request("tools/list", headers={"Origin": "https://app.example.com"}).status == 200
    for origin in ("http://app.example.com", "https://app.example.com:444", "https://app.example.com.evil.com"):
        assert peer.request("tools/list", headers={"Origin": origin}).status == 403


@pytest.mark.parametrize("origin", ["http://localhost:6274", "http://127.0.0.1:6274", "http://[::1]:6274"])
def test_a_page_on_this_machine_is_served_under_debug_alone(peer: Peer, debug: bool, origin: str) -> None:
    # The MCP Inspector is one.
    assert peer.request("tools/list", headers={"Origin": origin}).status == (200 if debug else 403)


def test_the_host_is_checked_before_who_calls(peer: Peer, settings: Settings) -> None:
    settings.MCP_AUTH = "tests.mcpsite.servers.callers_name"
    assert peer.request("tools/list", headers={"Host": "evil.example.com"}).status == 421
    assert peer.request("tools/list", headers={"Origin": "https://evil.example.com"}).status == 403
    assert peer.request("tools/list").status == 401


def test_other_pages_keep_djangos_own_answer(client: Client, settings: Settings) -> None:
    settings.DEBUG = False
    response = client.get("/admin/login/", headers={"Host": "evil.example.com"})
    assert response.status_code == 400


def test_a_project_without_the_middleware_is_guarded_too(peer: Peer, debug: bool, settings: Settings) -> None:
    settings.MIDDLEWARE = []
    assert peer.request("tools/list", headers={"Origin": "https://evil.example.com"}).status == 403
    assert peer.request("tools/list", headers={"Host": "evil.example.com"}).status == 421
    assert peer.request("tools/list").status == 200


def test_a_project_may_mount_it_elsewhere_and_ask_for_logins(settings: Settings, dynamodb: object) -> None:
    settings.ROOT_URLCONF = "tests.mcpsite.endpoint.access.mounted"
    settings.MIDDLEWARE = [
        *settings.MIDDLEWARE,
        "django.contrib.auth.middleware.LoginRequiredMiddleware",
    ]
    # Django's own handler, as another project has it.
    handler = get_asgi_application()
    foreign = site.request("POST", "/tools/mcp", headers={"Origin": "https://evil.example.com"}, app=handler)
    assert foreign.status == 403
    # No page to log in: the protocol's own answer.
    assert site.request("GET", "/tools/mcp", app=handler).status == 406


@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
def test_under_wsgi_it_says_what_to_serve_instead(client: Client, method: str) -> None:
    answer = client.generic(method, "/mcp")
    assert answer.status_code == 503
    assert "serve the project's asgi module" in answer.json()["error"]["message"]
