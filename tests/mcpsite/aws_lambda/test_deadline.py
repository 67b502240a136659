"""The function's time: what outlasts it is answered before its end, and later events do not wait for it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, Final

import pytest
from pytest_django import Settings

from mcpsite.endpoint.loop import current_loop
from sessions_dynamo.store.calls import recent_calls
from sessions_dynamo.store.events import default_store
from tests.aws_lambda import servers
from tests.mcpsite.aws_lambda.conftest import Handler
from tests.mcpsite.aws_lambda.events import CONTEXT, Front, http_api, received
from tests.mcpsite.peers import JSON_HEADERS, Answer, LegacyPeer, ModernPeer, Peer, Send

pytestmark = pytest.mark.usefixtures("dynamodb")

HTTP: Final = Front("http-api", "", http_api())
STREAM: Final = {"Accept": "text/event-stream"}
SHORT: Final = SimpleNamespace(**{**vars(CONTEXT), "get_remaining_time_in_millis": lambda: 1000})
SENTENCE: Final = "The call was ended after 1 s, which is all that its function had."


@pytest.fixture
def send(behind: Callable[[Front], Send]) -> Send:
    return behind(HTTP)


@pytest.fixture(autouse=True)
def _slow_tools(settings: Settings, handler: Any) -> Iterator[None]:
    settings.MCP_SERVER = "tests.aws_lambda.servers:mcp"
    servers.stubborn.clear()
    yield
    servers.stubborn.append("enough")
    with servers.holding:
        handler.close()


@pytest.fixture
def shortly(handler: Handler) -> Callable[..., Answer]:
    """A peer's call of a tool, in a function that has a second left."""

    def call(peer: Peer, tool: str, **arguments: Any) -> Answer:
        params = {"name": tool, "arguments": arguments, "_meta": {"progressToken": "p"}}
        if isinstance(peer, ModernPeer):
            params["_meta"] |= peer.message("x")["params"]["_meta"]
        message = peer.message("tools/call", params)
        routing = peer.routing(message) if isinstance(peer, ModernPeer) else {}
        event, _ = HTTP.ask("POST", "/mcp", json.dumps(message).encode(), {**JSON_HEADERS, **peer.headers, **routing})
        return received(handler(event, SHORT))

    return call


def _tasks(handler: Any) -> list[str]:
    async def left() -> list[str]:
        return [repr(task.get_coro()) for task in asyncio.all_tasks()]

    return [text for text in handler._loop.run_until_complete(left()) if "serve" in text]


@pytest.mark.parametrize("era", [LegacyPeer, ModernPeer])
def test_a_call_is_answered_and_leaves_nothing_running(
    handler: Handler,
    send: Send,
    shortly: Callable[..., Answer],
    caplog: pytest.LogCaptureFixture,
    era: type[LegacyPeer | ModernPeer],
) -> None:
    peer = LegacyPeer(send).connect() if era is LegacyPeer else ModernPeer(send)
    answer = shortly(peer, "sleep", seconds=60)
    assert answer.status == 504
    assert answer.error["message"].startswith(SENTENCE)
    # Its caller's own, for clients that look for it.
    assert isinstance(answer.body["id"], int)
    assert "the function's time was over" in caplog.text
    assert _tasks(handler) == []
    assert peer.request("tools/list").status == 200


def test_a_stream_ends_with_an_error_at_once_and_for_who_resumes(send: Send, shortly: Callable[..., Answer]) -> None:
    """Nobody waits for a lease to lapse."""
    peer = LegacyPeer(send).connect()
    answer = shortly(peer, "count", last=1000, pause=0.1)
    assert answer.status == 200
    assert b"notifications/progress" in answer.content
    assert answer.error["message"].startswith(SENTENCE)

    first = answer.content.split(b"\n", 1)[0].removeprefix(b"id: ").decode()
    again = peer.send("GET", b"", {**peer.headers, **STREAM, "Last-Event-ID": first})
    assert again.error == answer.error
    assert peer.request("ping").status == 200


def test_a_stream_without_a_session_ends_with_an_error(send: Send, shortly: Callable[..., Answer]) -> None:
    answer = shortly(ModernPeer(send), "count", last=1000, pause=0.1)
    assert b"notifications/progress" in answer.content
    assert answer.error["message"].startswith(SENTENCE)


def test_a_call_whose_client_was_let_go_is_ended_in_time_too(
    handler: Handler, send: Send, shortly: Callable[..., Answer]
) -> None:
    peer = LegacyPeer(send).connect()
    answer = shortly(peer, "let_go", seconds=60)
    assert answer.status == 200
    assert _tasks(handler) == []
    first = answer.content.split(b"\n", 1)[0].removeprefix(b"id: ").decode()
    again = peer.send("GET", b"", {**peer.headers, **STREAM, "Last-Event-ID": first})
    assert again.error["message"].startswith(SENTENCE)


def test_a_stream_that_stays_open_is_ended_with_a_way_back(handler: Handler, send: Send, settings: Settings) -> None:
    settings.STREAM_SECONDS = 600
    peer = LegacyPeer(send).connect()
    event, _ = HTTP.ask("GET", "/mcp", b"", {**peer.headers, **STREAM})
    answer = received(handler(event, SHORT))
    assert answer.status == 200
    # With it the client has a cursor to come back with.
    assert b"\nid: " in answer.content
    assert answer.content.endswith(b"retry: 1000\n\n")
    assert peer.request("ping").status == 200


@pytest.mark.parametrize(("tool", "is_said"), [("persist", True), ("dawdle", True), ("hold", False)])
def test_a_later_event_does_not_wait_for_a_call_that_does_not_end(
    send: Send, shortly: Callable[..., Answer], caplog: pytest.LogCaptureFixture, tool: str, is_said: bool
) -> None:
    peer = LegacyPeer(send).connect()
    assert shortly(peer, tool).error["message"].startswith(SENTENCE)
    assert peer.request("ping").status == 200
    assert shortly(peer, "sleep", seconds=0).status == 200
    assert servers.stubborn == []
    assert ("1 handlers did not end when they were cancelled" in caplog.text) is is_said


def test_what_a_call_changes_after_its_client_was_told_is_not_saved(
    handler: Any, send: Send, shortly: Callable[..., Answer]
) -> None:
    peer = LegacyPeer(send).connect()
    assert shortly(peer, "persist").status == 504
    servers.stubborn.append("enough")

    async def ended() -> None:
        async with asyncio.timeout(30):
            while (await current_loop())._unheeded:
                await asyncio.sleep(0.01)

    handler._loop.run_until_complete(ended())
    assert servers.stubborn == ["enough", "ended"]
    assert [peer.call("load", key=key).text for key in ("begun", "ended")] == ["None", "None"]


@pytest.mark.usefixtures("_no_record_of_calls")
def test_a_call_that_was_cut_off_is_recorded(send: Send, shortly: Callable[..., Answer], settings: Settings) -> None:
    settings.RECORD_CALLS = True
    peer = LegacyPeer(send).connect()
    shortly(peer, "persist")
    store = default_store()
    newest, *_ = store.drive(recent_calls(store.table, peer.session_id))
    assert (newest.tool, newest.outcome) == ("persist", "-32603")


def test_a_server_that_takes_long_to_begin_is_there_for_a_later_event(
    handler: Handler, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.MCP_SERVER = "tests.aws_lambda.servers:slow_to_begin"
    event, _ = HTTP.ask("GET", "/healthz")
    answer = received(handler(event, SHORT))
    assert answer.status == 504
    assert answer.error["message"].startswith(SENTENCE)
    assert "lifespan took all of the function's time" in caplog.text
    assert received(handler(event, CONTEXT)).status == 200
