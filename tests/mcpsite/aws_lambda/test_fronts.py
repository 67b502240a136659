"""Each front door of a function, with its stage or base path: clients of both eras, and the staff pages' links."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from django.contrib.auth import get_user_model
from pytest_django import Settings

from tests.mcpsite.aws_lambda.conftest import Handler
from tests.mcpsite.aws_lambda.events import CONTEXT, FRONTS, HOST, Event, Front, alb, cookies, http_api, received, rest
from tests.mcpsite.peers import LegacyPeer, ModernPeer, Send

pytestmark = pytest.mark.usefixtures("dynamodb")
each_front = pytest.mark.parametrize("front", FRONTS, ids=str)


@pytest.fixture
def scopes(handler: Handler, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What reaches the site, which answers 204 to all of it."""
    seen: list[dict[str, Any]] = []

    async def site(scope: dict[str, Any], receive: Any, send: Any) -> None:
        seen.append(scope)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    monkeypatch.setattr(handler, "_site", site)
    return seen


def _places(scopes: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(scope["root_path"], scope["path"]) for scope in scopes]


def _ask(handler: Handler, front: Front, method: str, path: str, **given: Any) -> dict[str, Any]:
    event, _ = front.ask(method, path, **given)
    return handler(event, CONTEXT)


@each_front
def test_a_client_with_a_session(front: Front, behind: Callable[[Front], Send]) -> None:
    peer = LegacyPeer(behind(front)).connect()
    assert peer.call("store_app_state", key="colour", data="bläu").data["stored"] is True
    assert peer.call("get_app_state", key="colour").data["data"] == "bläu"
    assert peer.send("GET", b"", {**peer.headers, "Accept": "text/event-stream"}).status == 200
    assert peer.end().status == 200
    assert peer.request("ping").status == 404


@each_front
def test_a_client_without_sessions(front: Front, behind: Callable[[Front], Send]) -> None:
    peer = ModernPeer(behind(front))
    handle = peer.call("store_app_state", key="colour", data="blue").data["session_id"]
    assert peer.call("get_app_state", key="colour", session_id=handle).data["data"] == "blue"


@each_front
def test_a_body_in_base64(front: Front, behind: Callable[[Front], Send]) -> None:
    """A byte that is no UTF-8 comes as base64, and is refused as what it is."""
    answer = LegacyPeer(behind(front)).post(b'{"jsonrpc": "2.0", "id": 1, "method": "\xff"}')
    assert answer.status == 400
    assert "Parse error" in answer.error["message"]


@each_front
@pytest.mark.django_db(transaction=True)
def test_staff_log_in_and_every_link_has_the_prefix(front: Front, handler: Handler) -> None:
    get_user_model().objects.create_superuser("staff", password="secret")
    sent_away = received(_ask(handler, front, "GET", "/admin/mcp/"))
    assert sent_away.status == 302
    target = urlsplit(sent_away.headers["Location"])
    assert target.path == f"{front.prefix}/admin/login/"
    assert parse_qs(target.query)["next"] == [f"{front.prefix}/admin/mcp/"]

    page = _ask(handler, front, "GET", "/admin/login/?next=%2Fadmin%2F")
    assert received(page).status == 200
    _hold_to_prefix(received(page).content.decode(), front.prefix)
    token = _jar(page)["csrftoken"]

    form = f"username=staff&password=secret&next={front.prefix}/admin/&csrfmiddlewaretoken={token}".encode()
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Cookie": f"csrftoken={token}; theme=dark"}
    headers["Referer"] = f"https://{HOST}{front.prefix}/admin/login/"
    logged_in = _ask(handler, front, "POST", "/admin/login/", body=form, headers=headers)
    assert received(logged_in).status == 302
    assert received(logged_in).headers["Location"] == f"{front.prefix}/admin/"
    # Two cookies in one answer, by each door.
    assert {"sessionid", "csrftoken"} <= _jar(logged_in).keys()

    cookie = {"Cookie": f"sessionid={_jar(logged_in)['sessionid']}"}
    for path in ("/admin/", "/admin/try-it/"):
        shown = received(_ask(handler, front, "GET", path, headers=cookie))
        assert shown.status == 200, shown.content
        _hold_to_prefix(shown.content.decode(), front.prefix)


def _jar(result: dict[str, Any]) -> dict[str, str]:
    return {name: value for name, _, value in (text.partition(";")[0].partition("=") for text in cookies(result))}


def _hold_to_prefix(page: str, prefix: str) -> None:
    links = [link for link in re.findall(r'\b(?:href|src|action)="(/[^"]*)"', page) if not link.startswith("//")]
    assert len(links) > 5
    assert [link for link in links if not link.startswith(f"{prefix}/")] == []
    assert any(link.startswith(f"{prefix}/static/") for link in links)


@each_front
def test_queries_and_who_asks(front: Front, handler: Handler, scopes: list[dict[str, Any]]) -> None:
    result = _ask(handler, front, "GET", "/x?a=1&a=2&b=%C3%A4+%26")
    scope = scopes[0]
    assert received(result).status == 204
    assert (scope["root_path"], scope["path"]) == (front.prefix, f"{front.prefix}/x")
    pairs = parse_qs(scope["query_string"].decode())
    assert pairs["b"] == ["ä &"]
    assert pairs["a"] == (["2"] if front.name in ("rest-one-header", "alb") else ["1", "2"])
    assert scope["client"] == ("203.0.113.7", 0)
    assert scope["scheme"] == "https"
    assert dict(scope["headers"])[b"host"] == HOST.encode()
    assert scope["server"] == (HOST, 443)


@each_front
@pytest.mark.parametrize("path", ["/x%2541%20y", "/50%25", "/%C3%A4/", "/a%2Fb", "/x//"])
def test_a_path_is_decoded_once(front: Front, handler: Handler, scopes: list[dict[str, Any]], path: str) -> None:
    assert received(_ask(handler, front, "GET", path)).status == 204
    assert _places(scopes) == [(front.prefix, f"{front.prefix}{unquote(path)}")]


@pytest.mark.parametrize(
    ("event", "base", "placed"),
    [
        (http_api(), "/tools", ("/tools", "/tools/mcp")),
        (http_api("prod", "mcp.example.com"), "/tools", ("/tools", "/tools/mcp")),
        (http_api("prod"), "prod", ("/prod", "/prod/mcp")),
        (rest("prod"), "/prod/", ("/prod", "/prod/mcp")),
        (alb(many=True), "/tools", ("/tools", "/tools/mcp")),
    ],
    ids=["http-api", "hidden mapping", "stage", "rest", "alb"],
)
@pytest.mark.parametrize("is_passed_on", [True, False], ids=["passed on", "removed before"])
def test_the_base_path_that_is_set_wins(
    settings: Settings,
    handler: Handler,
    scopes: list[dict[str, Any]],
    event: Callable[[Any], Event],
    base: str,
    placed: tuple[str, str],
    is_passed_on: bool,
) -> None:
    settings.MCP_BASE_PATH = base
    front = Front("set", placed[0] if is_passed_on else "", event)
    assert received(_ask(handler, front, "GET", "/mcp")).status == 204
    assert _places(scopes) == [placed]


def test_a_stage_that_has_the_name_of_the_endpoint(handler: Handler, behind: Callable[[Front], Send]) -> None:
    peer = LegacyPeer(behind(Front("stage", "/mcp", http_api("mcp")))).connect()
    assert peer.request("ping").status == 200
    # A custom domain brings the stage in the path, and its clients do not have it.
    peer = LegacyPeer(behind(Front("custom", "", http_api("mcp", "mcp.example.com")))).connect()
    assert peer.request("ping").status == 200


def test_the_root_of_a_stage(handler: Handler) -> None:
    for path in ("/prod", "/prod/"):
        event, _ = Front("rest", "", rest("prod")).ask("GET", path)
        assert received(handler(event, CONTEXT)).headers["Location"] == "/prod/admin/"
