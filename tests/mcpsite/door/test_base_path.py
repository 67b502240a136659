"""The path under which clients reach the site, behind proxies that pass it on and proxies that remove it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest
from django.core.asgi import get_asgi_application

from mcpsite.door.base_path import BasePath, below, normalised
from mcpsite.door.short_door import ShortDoor
from mcpsite.endpoint.own_routes import OwnRoutes
from tests.mcpsite.peers import Answer, LegacyPeer
from tests.mcpsite.site import Connection, on_the_loop

BASE = "/tools/v1"


def _ask(method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
    async def serve() -> Connection:
        app = BasePath(ShortDoor(OwnRoutes(get_asgi_application())), BASE)
        connection = Connection(method, path, body, headers, app=app)
        await connection.run()
        return connection

    served = on_the_loop(serve())
    return Answer(served.status, served.headers, b"".join(served.pieces))


@pytest.mark.parametrize("before", [BASE, ""], ids=["passed on", "removed"])
def test_a_client(dynamodb: Any, before: str) -> None:
    peer = LegacyPeer(lambda method, body, headers: _ask(method, f"{before}/mcp", body, headers)).connect()
    assert peer.call("store_app_state", key="colour", data="blue").data["stored"] is True
    assert peer.call("get_app_state", key="colour").data["data"] == "blue"


@pytest.mark.parametrize("before", [BASE, ""], ids=["passed on", "removed"])
def test_links_and_redirects(before: str, db: None) -> None:
    sent_away = _ask("GET", f"{before}/admin/mcp/")
    assert sent_away.headers["Location"] == f"{BASE}/admin/login/?next={BASE}/admin/mcp/"
    page = _ask("GET", f"{before}/admin/login/").content.decode()
    links = re.findall(r'\b(?:href|src|action)="(/[^"]*)"', page)
    assert links
    assert [link for link in links if not link.startswith(f"{BASE}/")] == []
    style = next(link for link in links if link.endswith(".css"))
    assert style.startswith(f"{BASE}/static/")


def test_what_is_not_there_says_where_the_rest_is() -> None:
    page = _ask("GET", f"{BASE}/nothing").content.decode()
    assert f'<code>{BASE}/mcp</code>; the staff pages are <a href="{BASE}/admin/">{BASE}/admin/</a>' in page


def test_the_root() -> None:
    for path in (BASE, f"{BASE}/", "/"):
        assert _ask("GET", path).headers["Location"] == f"{BASE}/admin/"


@pytest.mark.parametrize("path", [f"{BASE}/healthz", "/healthz"])
def test_a_health_check_need_not_know_it(path: str) -> None:
    assert _ask("GET", path).status == 200


@pytest.mark.parametrize("path", ["/tools/v10/healthz", "/tools/healthz", f"{BASE}{BASE}/healthz"])
def test_what_only_looks_like_it(path: str) -> None:
    assert _ask("GET", path).status == 404


@pytest.mark.parametrize(
    ("text", "path"), [("", ""), ("/", ""), ("tools", "/tools"), ("/tools/", "/tools"), ("//a/b//", "/a/b")]
)
def test_however_it_is_written(text: str, path: str) -> None:
    assert normalised(text) == path


def test_what_is_below() -> None:
    assert below("/a/b", "/a") == "/b"
    assert below("/a", "/a") == "/"
    assert below("/ab", "/a") is None


async def test_a_server_that_has_told_it_is_believed() -> None:
    seen: list[dict[str, Any]] = []

    async def site(scope: dict[str, Any], receive: Any, send: Any) -> None:
        seen.append(scope)

    for scope in (
        {"type": "http", "path": "/prod/mcp", "root_path": "/prod"},
        {"type": "lifespan"},
    ):
        await BasePath(site, BASE)(scope, _nothing, _nothing)
    assert [scope.get("path") for scope in seen] == ["/prod/mcp", None]


async def _nothing(*_: Any) -> Any:
    return None
