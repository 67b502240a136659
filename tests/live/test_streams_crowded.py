"""More streams than threads, streams that may not stay open, and what else holds a connection or a thread."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.engines import on_dynamodb_local
from tests.live.stream_client import Client, ModernClient
from tests.live.stream_sites import StreamSite, stream_site
from tests.mcpsite.peers import JSON_HEADERS

pytestmark = on_dynamodb_local

MAX_STREAMS = 6
RETRY_MS = 300
SLACK_SECONDS = 2.0
"""What a busy machine may add to a bound in time."""


@pytest.fixture(scope="module")
def site(engine: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[StreamSite]:
    """One process, with few threads."""
    with stream_site(
        engine[1],
        tmp_path_factory.mktemp("crowded"),
        count=1,
        THREADS="10",
        MAX_STREAMS=str(MAX_STREAMS),
        STREAM_RETRY_MS=str(RETRY_MS),
        STREAM_KEEPALIVE_SECONDS="1",
    ) as site:
        yield site


@pytest.fixture(scope="module")
def brief_site(engine: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[StreamSite]:
    """Where no stream may stay open, as on Lambda."""
    with stream_site(engine[1], tmp_path_factory.mktemp("brief"), count=2, STREAM_SECONDS="0") as site:
        yield site


def port_of(site: StreamSite) -> int:
    return site.ports[0]


def data(answer: dict[str, Any]) -> Any:
    return answer["result"]["structuredContent"]["result"]


# --- More streams than there is room for ------------------------------------------------------------------------


def test_the_streams_that_were_quiet_longest_make_room_and_calls_are_answered(site: StreamSite) -> None:
    with ExitStack() as opened:
        clients = [Client(site) for _ in range(3 * MAX_STREAMS)]
        streams = [opened.enter_context(client.get(port_of(site))) for client in clients]
        for stream in streams[:-MAX_STREAMS]:
            assert stream.messages() == []
            assert stream.retry == RETRY_MS
        started = time.monotonic()
        for client in clients:
            assert client.request("ping").result == {}
        assert time.monotonic() - started < 0.1 * len(clients) + SLACK_SECONDS
        for number, (client, stream) in enumerate(zip(clients[-MAX_STREAMS:], streams[-MAX_STREAMS:], strict=True)):
            assert client.call("say_aside", first=number, last=number).text == "said"
            assert stream.next()["params"]["data"] == number


def test_a_client_that_made_room_loses_nothing(site: StreamSite) -> None:
    client = Client(site)
    with ExitStack() as opened:
        stream = opened.enter_context(client.get(port_of(site)))
        others = [opened.enter_context(Client(site).get(port_of(site))) for _ in range(MAX_STREAMS)]
        stream.messages()
        assert client.call("say_aside", first=1, last=3).text == "said"
        with client.get(port_of(site), stream.cursor) as again:
            assert [message["params"]["data"] for message in again.messages(3)] == [1, 2, 3]
        assert others[0].messages() == []


def test_the_stream_of_a_running_call_makes_room_too_and_is_resumed(site: StreamSite) -> None:
    client = Client(site)
    with ExitStack() as opened:
        counting = opened.enter_context(client.start(port_of(site), "count_to", last=4, pause=0.5))
        seen = [counting.next()]
        for _ in range(MAX_STREAMS):
            opened.enter_context(Client(site).get(port_of(site)))
        seen += counting.messages()
        if "result" not in seen[-1]:
            assert counting.retry == RETRY_MS
            with client.get(port_of(site), counting.cursor) as rest:
                seen += rest.messages()
        assert [message["params"]["data"] for message in seen[:-1]] == [1, 2, 3, 4]
        assert "result" in seen[-1]


def test_a_client_that_left_makes_room_at_once(site: StreamSite) -> None:
    for _ in range(3 * MAX_STREAMS):
        Client(site).get(port_of(site)).close()
    time.sleep(1)
    with ExitStack() as opened:
        streams = [opened.enter_context(Client(site).get(port_of(site))) for _ in range(MAX_STREAMS)]
        for stream in streams:
            # Open, or the read would end.
            next(stream.read())
        assert Client(site).request("ping").result == {}


# --- Quiet streams ----------------------------------------------------------------------------------------------


def test_a_quiet_stream_begins_at_once_and_is_kept_alive(site: StreamSite) -> None:
    for version in ("2025-06-18", "2025-11-25"):
        client = Client(site, version)
        started = time.monotonic()
        with client.get(port_of(site)) as stream:
            assert time.monotonic() - started < 0.5 + SLACK_SECONDS
            assert stream.headers["X-Accel-Buffering"] == "no"
            lines = [stream._response.readline() for _ in range(9)]
            assert lines.count(b": keep-alive\n") >= 2


def test_a_silent_handlers_answer_becomes_a_stream_after_the_keep_alive_interval(
    site: StreamSite, tmp_path: Path
) -> None:
    arguments = {"seconds": 2, "mark": str(tmp_path / "mark"), "announced": False}
    for client in (Client(site), Client(site, "2025-06-18"), ModernClient(site)):
        with client.start(port_of(site), "work", **arguments) as stream:
            assert stream.is_events
            assert "result" in stream.answer()


# --- STREAM_SECONDS=0 -------------------------------------------------------------------------------------------


def test_a_stream_that_may_not_stay_open_is_replayed_and_closed(brief_site: StreamSite) -> None:
    client = Client(brief_site)
    with client.start(brief_site.ports[0], "count_to", last=3, pause=0) as stream:
        cursor = next(stream.read()).event_id
        live = stream.messages()
    assert len(live) == 4
    with client.get(brief_site.ports[1], cursor) as replay:
        assert replay.messages() == live
    with client.start(brief_site.ports[0], "count_to", last=20, pause=0.1) as running:
        seen = running.messages(2)
        cursor = running.cursor
    deadline = time.monotonic() + 20
    while "result" not in seen[-1] and time.monotonic() < deadline:
        with client.get(brief_site.turn(), cursor) as poll:
            seen += poll.messages()
            cursor = poll.cursor or cursor
            assert poll.retry == 1000 or "result" in seen[-1]
        time.sleep(0.2)
    assert [message["params"]["data"] for message in seen[:-1]] == [*range(1, 21)]


def test_messages_on_the_standalone_stream_wait_for_the_next_look(brief_site: StreamSite) -> None:
    client = Client(brief_site)
    received, cursor = [], None
    for first in (1, 4, 7):
        assert client.call("say_aside", first=first, last=first + 2).text == "said"
        with client.get(brief_site.turn(), cursor) as look:
            started = time.monotonic()
            received += [message["params"]["data"] for message in look.messages()]
            assert look.retry == 1000
            cursor = look.cursor or cursor
        assert time.monotonic() - started < SLACK_SECONDS
    assert received == [*range(1, 10)]


# --- Connections ------------------------------------------------------------------------------------------------


def test_a_connection_is_used_again_after_five_idle_seconds(site: StreamSite) -> None:
    client = Client(site)
    connection = http.client.HTTPConnection("127.0.0.1", port_of(site), timeout=10)
    connection.connect()
    socket = connection.sock
    for idle in (0, 5):
        time.sleep(idle)
        body = json.dumps(client.message("ping"))
        connection.request("POST", "/mcp", body, {**JSON_HEADERS, **client.headers})
        assert json.loads(connection.getresponse().read())["result"] == {}
        assert connection.sock is socket
    connection.close()


def test_a_chunked_body_is_read_whole(site: StreamSite) -> None:
    client = Client(site)
    text = "x" * 3_000_000
    body = json.dumps(client.message("tools/call", {"name": "ask_nobody", "arguments": {"text": text}})).encode()
    connection = http.client.HTTPConnection("127.0.0.1", port_of(site), timeout=10)
    chunks = (body[start : start + 70_000] for start in range(0, len(body), 70_000))
    connection.request("POST", "/mcp", chunks, {**JSON_HEADERS, **client.headers}, encode_chunked=True)
    answer = json.loads(connection.getresponse().read())
    # Read to its end, it is refused for its tool.
    assert "ask_nobody" in json.dumps(answer)
    connection.close()


# --- Handlers that use the ORM ----------------------------------------------------------------------------------


@pytest.mark.parametrize("tool", ["count_users", "count_users_asynchronously"])
def test_a_tool_may_use_the_database(site: StreamSite, tool: str) -> None:
    for client in (Client(site), ModernClient(site)):
        with client.start(port_of(site), tool) as stream:
            assert data(stream.answer()) == 0


def test_an_async_tool_that_blocks_on_the_database_fails_and_the_log_says_why(site: StreamSite) -> None:
    outcome = Client(site).call("count_users_on_the_loop")
    assert outcome.failed
    assert "SynchronousOnlyOperation: You cannot call this from an async context" in site.log(port_of(site))
