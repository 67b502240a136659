"""``@mcp.custom_route``: served beside the site's own URLs, by the SDK's own application."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from typing import Any

import pytest
from django.core.checks import run_checks
from pytest_django import Settings

from mcpsite.endpoint import loop, own_routes
from tests.mcpsite import guarded_servers, site


@pytest.fixture(autouse=True)
def _routed(settings: Settings) -> None:
    settings.MCP_SERVER = "tests.mcpsite.guarded_servers:routed"


def _body(connection: site.Connection) -> bytes:
    return b"".join(connection.pieces)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_route_is_served_with_its_parameters_and_its_body(method: str) -> None:
    served = site.request(method, "/hooks/stripe/7", b"hello" if method == "POST" else b"")
    assert served.status == 201
    assert json.loads(_body(served)) == {"name": "stripe", "number": 7, "body": "hello" if method == "POST" else ""}


def test_a_method_that_it_has_not_is_405() -> None:
    served = site.request("DELETE", "/hooks/stripe/7")
    assert served.status == 405
    assert set(served.headers["Allow"].split(", ")) == {"GET", "HEAD", "POST"}


@pytest.mark.parametrize("path", ["/hooks/stripe/x", "/hooks/stripe", "/nothing"])
def test_what_no_route_has_is_the_sites_404(path: str) -> None:
    served = site.request("GET", path)
    assert served.status == 404
    assert served.headers["Content-Type"].startswith("text/html")


def test_a_sync_handler_and_its_background_task() -> None:
    assert _body(site.request("GET", "/plain?say=later")) == b"plain"
    assert guarded_servers.done_later.pop() == "later"


def test_a_stream_is_sent_piece_by_piece() -> None:
    assert site.request("GET", "/stream").pieces == [b"one ", b"two"]


def test_a_last_slash_is_taken_off_as_starlette_does() -> None:
    served = site.request("GET", "/stream/")
    assert served.status == 307
    assert served.headers["Location"] == "http://testserver/stream"


@pytest.mark.parametrize("debug", [True, False])
def test_a_handler_that_raises_is_500_and_in_the_log(
    settings: Settings, debug: bool, caplog: pytest.LogCaptureFixture
) -> None:
    settings.DEBUG = debug
    with caplog.at_level(logging.ERROR, own_routes.__name__):
        served = site.request("GET", "/fails")
    assert served.status == 500
    assert (b"a secret" in _body(served)) is debug
    assert [record.getMessage() for record in caplog.records] == ["a route of the server object failed: GET /fails"]


def test_a_path_cannot_add_a_line_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, own_routes.__name__):
        assert site.request("POST", "/hooks/a\nERROR \x1b[31mforged/7", b"\xff").status == 500
    [said] = [record.getMessage() for record in caplog.records]
    assert said == r"a route of the server object failed: POST /hooks/a\nERROR \x1b[31mforged/7"


def test_a_stream_that_breaks_is_not_taken_for_whole() -> None:
    with pytest.raises(RuntimeError, match="a secret"):
        site.request("GET", "/breaks")


@pytest.mark.parametrize("host", ["testserver", "evil.example.com"])
def test_the_host_is_checked_as_elsewhere(settings: Settings, host: str) -> None:
    settings.ALLOWED_HOSTS = ["testserver"]
    served = site.request("GET", "/stream", headers={"host": host})
    assert served.status == (200 if host == "testserver" else 400)


def test_it_is_found_below_a_prefix() -> None:
    assert _body(site.request("GET", "/below/stream", root_path="/below")) == b"one two"
    assert site.request("GET", "/below/healthz", root_path="/below").status == 200


@pytest.mark.parametrize(
    "path", ["/mcp", "/healthz", "/readyz", "/admin", "/admin/", "/admin/logout", "/static/own.css", "/"]
)
def test_the_sites_own_paths_stay_its_own(path: str) -> None:
    served = site.request("GET", path)
    assert b"usurped" not in _body(served)


def test_clashes_are_said_at_the_start() -> None:
    (warning,) = (found for found in run_checks() if found.id == "mcp_endpoint.W003")
    assert "/, /admin, /healthz, /mcp, /readyz, /static/own.css." in warning.msg.replace("/admin/{page}, ", "")
    assert "/hooks" not in warning.msg
    assert "/stream" not in warning.msg


def test_a_route_is_public_and_knows_who_sent_a_token(settings: Settings) -> None:
    settings.MCP_SERVER, settings.MCP_AUTH = "tests.mcpsite.guarded_servers:guarded", ""
    ann = guarded_servers.verifier.issue("ann", client="ann")
    assert _body(site.request("GET", "/hello")) == b"hello stranger"
    assert _body(site.request("GET", "/hello", headers=ann)) == b"hello ann"


def test_a_server_that_cannot_be_served_hides_no_other_page(settings: Settings) -> None:
    settings.MCP_SERVER = "no.such:server"
    assert site.request("GET", "/healthz").status == 200
    assert site.request("GET", "/admin/").status == 302
    assert site.request("GET", "/stream").status == 404


@pytest.mark.parametrize("server", ["mcpsite.server:mcp", "tests.mcpsite.servers:paged"])
def test_a_server_without_routes_changes_nothing(settings: Settings, server: str) -> None:
    settings.MCP_SERVER = server
    assert site.request("GET", "/stream").status == 404
    assert [found for found in run_checks() if (found.id or "").startswith("mcp_endpoint.")] == []


@pytest.mark.parametrize(("server", "is_said"), [("guarded_servers:routed", True), ("servers:tools", False)])
def test_routes_that_an_application_leaves_out_are_said(
    settings: Settings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, server: str, is_said: bool
) -> None:
    settings.MCP_SERVER = f"tests.mcpsite.{server}"
    monkeypatch.setattr(loop, "routes_are_served", threading.Event())

    async def begin() -> None:
        await loop.current_loop()
        await loop.close_loop()

    asyncio.run(begin())
    assert any("OwnRoutes in asgi.py" in record.getMessage() for record in caplog.records) is is_said


def test_other_connections_are_passed_on() -> None:
    seen: list[Any] = []

    async def below(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    async def nothing(*_: Any) -> None: ...

    site.on_the_loop(own_routes.OwnRoutes(below)({"type": "websocket", "path": "/stream"}, nothing, nothing))
    assert seen == ["websocket"]
