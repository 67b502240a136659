"""The line that a refused request leaves in the log, by the short door and by Django's own handler."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.test import override_settings
from pytest_django import Settings

from mcpsite.door.short_door import Application
from sessions_dynamo import schema
from sessions_dynamo.conf import conf
from sessions_dynamo.store.session_operations import SessionOperations
from tests.mcpsite.faults import failing, raising
from tests.mcpsite.peers import CLIENT_INFO, JSON_HEADERS, Answer, InProcess, LegacyPeer, ModernPeer
from tests.mcpsite.site import Connection, application, on_the_loop

if TYPE_CHECKING:
    pass

pytestmark = pytest.mark.usefixtures("dynamodb")

LOGGER = "mcpsite.endpoint.wire.refusals"
SECRET = "canary-7f3a"


@cache
def django_alone() -> Application:
    """As a project without the short door serves it: Django's handler and all middleware."""
    first = "mcpsite.endpoint.access.origins.TransportSecurityMiddleware"
    with override_settings(MIDDLEWARE=[first, *settings.MIDDLEWARE]):
        return get_asgi_application()


def by_django(method: str, body: bytes, headers: Any) -> Answer:
    async def serve() -> Connection:
        connection = Connection(method, "/mcp", body, headers, app=django_alone())
        await connection.run()
        return connection

    served = on_the_loop(serve())
    return Answer(served.status, served.headers, b"".join(served.pieces))


@pytest.fixture(params=[InProcess(), by_django], ids=["short door", "django"])
def peer(request: pytest.FixtureRequest) -> LegacyPeer:
    return LegacyPeer(request.param, {"User-Agent": "curl/8"})


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], list[tuple[str, str]]]]:
    """Level and text of what was logged of requests since the last look."""
    # Each sets up logging once.
    application(), django_alone()
    django = logging.getLogger("django")
    # The site's own settings, and those of most projects, keep it from the root.
    django.addHandler(caplog.handler)
    caplog.set_level(logging.INFO)

    def look() -> list[tuple[str, str]]:
        named = [record for record in caplog.records if record.name in (LOGGER, "django.request")]
        seen = list(dict.fromkeys(id(record) for record in named))
        said = {id(record): (record.levelname, record.getMessage()) for record in named}
        caplog.clear()
        return [said[one] for one in seen]

    yield look
    django.removeHandler(caplog.handler)


def hashed(session_id: str) -> str:
    return hashlib.sha256(session_id.encode()).hexdigest()[:12]


def test_a_session_that_is_gone_is_told_with_all_that_is_known(
    peer: LegacyPeer, lines: Callable[[], list[tuple[str, str]]]
) -> None:
    session_id = schema.new_session_id()
    peer.headers["Mcp-Session-Id"] = session_id
    assert peer.call("store_app_state", key=SECRET, data=SECRET).answer.status == 404
    gone = "404 no such session: it never was, has ended, has expired, or is another caller's"
    rest = f"{gone}, session {hashed(session_id)}, client curl/8"
    assert lines() == [("INFO", f"POST tools/call: {rest}")]
    peer.send("GET", b"", {**JSON_HEADERS, **peer.headers})
    peer.end()
    assert lines() == [("INFO", f"GET: {rest}"), ("INFO", f"DELETE: {rest}")]


def test_a_session_that_is_there_tells_whose_client_it_is(
    peer: LegacyPeer, lines: Callable[[], list[tuple[str, str]]]
) -> None:
    peer.connect()
    assert lines() == []
    headers = {"Accept": "text/event-stream", **peer.headers, "Last-Event-ID": SECRET}
    assert peer.send("GET", b"", headers).status == 400
    [(level, text)] = lines()
    assert level == "WARNING"
    assert text.startswith("GET: 400 Unknown Last-Event-ID: ")
    client = f"{CLIENT_INFO['name']}/{CLIENT_INFO['version']}"
    assert text.endswith(f", session {hashed(peer.session_id)}, client {client}")


@pytest.mark.parametrize("handshake", ["{", "[]", "null", '{"clientInfo": 7}'])
def test_a_row_that_somebody_else_wrote_changes_no_answer(
    peer: LegacyPeer, lines: Callable[[], list[tuple[str, str]]], dynamodb: Any, handshake: str
) -> None:
    peer.connect()
    dynamodb.update_item(
        TableName=conf.DYNAMODB_SESSIONS_TABLE,
        Key={"session_id": {"S": peer.session_id}},
        UpdateExpression="SET client_params = :params",
        ExpressionAttributeValues={":params": {"S": handshake}},
    )
    answer = peer.send("GET", b"", {"Accept": "text/event-stream", **peer.headers, "Last-Event-ID": SECRET})
    assert (answer.status, answer.body["error"]["code"]) == (400, -32600)
    [(_, text)] = lines()
    assert text.endswith(", client curl/8")


@pytest.mark.parametrize(
    ("method", "body", "headers", "level", "start"),
    [
        ("POST", b"{", JSON_HEADERS, "WARNING", "POST: 400 Parse error: "),
        ("POST", b"[]", JSON_HEADERS, "WARNING", "POST: 400 JSON-RPC batches are not supported"),
        ("POST", b"{}", {"Content-Type": "text/plain"}, "WARNING", "POST: 400 Invalid Content-Type"),
        ("POST", b"{}", {"Content-Type": "application/json"}, "WARNING", "POST: 406 Not acceptable"),
        ("POST", b'{"jsonrpc":"2.0","id":1,"method":"ping"}', JSON_HEADERS, "WARNING", "POST ping: 400 Missing Mcp-Se"),
        ("PUT", b"", {}, "INFO", "PUT: 405 Method not allowed"),
        ("POST", b"{}", {"Origin": "https://evil.example"}, "WARNING", "POST: 403 Invalid Origin header"),
        ("POST", b"{}", {"Host": "evil.example"}, "WARNING", "POST: 421 Invalid Host header"),
    ],
)
def test_each_refusal_is_one_line_with_its_reason(
    peer: LegacyPeer,
    lines: Callable[[], list[tuple[str, str]]],
    method: str,
    body: bytes,
    headers: Any,
    level: str,
    start: str,
) -> None:
    assert peer.send(method, body, headers).status >= 400
    [(seen, text)] = lines()
    assert seen == level
    assert text.startswith(start)


def test_without_sessions_the_message_tells_whose_client_it_is(lines: Callable[[], list[tuple[str, str]]]) -> None:
    modern = ModernPeer(InProcess())
    modern.request("ping", headers={"Mcp-Method": SECRET})
    assert lines() == [("WARNING", "POST ping: 400 a header does not say what the body says, client peer/1")]
    modern.request("nope/nope", {"name": SECRET})
    [(level, text)] = lines()
    assert (level, text) == ("INFO", "POST nope/nope: 404 JSON-RPC error -32601, client peer/1")


def test_a_caller_who_may_not_come_in_is_told_of_without_what_it_showed(
    peer: LegacyPeer, settings: Settings, lines: Callable[[], list[tuple[str, str]]]
) -> None:
    settings.MCP_AUTH = "tests.mcpsite.servers.callers_name"
    assert peer.request("ping", headers={"Authorization": f"Bearer {SECRET}"}).status == 401
    assert lines() == [("INFO", "POST: 401 Unauthorized, client curl/8")]


def test_storage_that_is_away_says_so_once(peer: LegacyPeer, lines: Callable[[], list[tuple[str, str]]]) -> None:
    peer.connect()
    with failing("GetItem"):
        assert peer.request("ping").status == 503
    [(level, text)] = lines()
    assert level == "WARNING"
    assert text.startswith("POST ping: 503 storage is unavailable: ")


def test_a_failure_of_ours_is_djangos_to_tell_with_its_traceback(
    peer: LegacyPeer, lines: Callable[[], list[tuple[str, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    peer.connect()
    monkeypatch.setattr(SessionOperations, "load", raising(RuntimeError("a bug")))
    assert peer.request("ping").status == 500
    [(level, text)] = lines()
    assert level == "ERROR"
    assert text.startswith("POST ping: 500 Internal server error, session ")


def test_nothing_that_a_client_sends_breaks_the_line_or_floods_it(
    peer: LegacyPeer, lines: Callable[[], list[tuple[str, str]]]
) -> None:
    peer.headers |= {"User-Agent": "a\tb\x1b[31m" + "c" * 5000, "Mcp-Session-Id": "x" * 5000}
    peer.request("\n" + "m" * 5000)
    [(_, text)] = lines()
    assert text.isprintable()
    assert text.isascii()
    assert len(text) < 500


def test_no_secret_is_in_any_line(peer: LegacyPeer, lines: Callable[[], list[tuple[str, str]]]) -> None:
    value = {"jsonrpc": "2.0", "id": SECRET, "method": "tools/call"}
    bodies = [
        value | {"params": {"name": SECRET, "arguments": {"data": SECRET}}},
        value | {"params": SECRET},
        value | {"jsonrpc": SECRET},
        {**value, "method": {"a": SECRET}},
        [value],
    ]
    for body in bodies:
        for headers in ({}, {"Mcp-Session-Id": SECRET}, {"MCP-Protocol-Version": "2026-07-28", "Mcp-Name": SECRET}):
            peer.post(json.dumps(body).encode(), {"Authorization": SECRET, "Cookie": SECRET, **headers})
    said = lines()
    assert len(said) == 3 * len(bodies)
    assert not [text for _, text in said if SECRET in text]
