"""What is not an answer: the standalone stream and who holds it, subscriptions, levels, cancellations, the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.engines import on_dynamodb_local
from tests.live.stream_client import Client, ModernClient
from tests.live.stream_sites import POLL_SECONDS, StreamSite, stream_site

pytestmark = on_dynamodb_local

URI = "test://watched"
SLACK_SECONDS = 2.0
"""What a busy machine may add to a bound in time."""


@pytest.fixture(scope="module")
def site(engine: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[StreamSite]:
    with stream_site(engine[1], tmp_path_factory.mktemp("standalone")) as site:
        yield site


@pytest.fixture
def client(site: StreamSite) -> Client:
    return Client(site)


def logged(messages: list[dict[str, Any]]) -> list[Any]:
    return [message["params"]["data"] for message in messages if message.get("method") == "notifications/message"]


def call(client: Client, port: int, tool: str, /, **arguments: Any) -> dict[str, Any]:
    """A call's answer."""
    with client.start(port, tool, **arguments) as stream:
        return stream.answer()


def eventually(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


# --- One holder -------------------------------------------------------------------------------------------------


def test_messages_of_every_worker_reach_the_stream_wherever_it_is(site: StreamSite, client: Client) -> None:
    with client.get(site.ports[0]) as stream:
        for place, port in enumerate(site.ports):
            call(client, port, "say_aside", first=10 * place, last=10 * place + 9)
        assert sorted(logged(stream.messages(30))) == [*range(30)]


def test_messages_of_one_call_stay_in_order(site: StreamSite, client: Client) -> None:
    for port in site.ports:
        with client.get(site.ports[0]) as stream:
            call(client, port, "say_aside", first=1, last=40)
            assert logged(stream.messages(40)) == [*range(1, 41)]


def test_messages_sent_while_no_stream_is_open_go_to_the_next(site: StreamSite, client: Client) -> None:
    call(client, site.ports[1], "say_aside", first=1, last=40)
    with client.get(site.ports[0]) as stream:
        assert logged(stream.messages(40)) == [*range(1, 41)]
        call(client, site.ports[2], "say_aside", first=41, last=41)
        assert logged(stream.messages(1)) == [41]
    assert len({frame.event_id for frame in stream.frames}) == 42


@pytest.mark.parametrize("place", [0, 1], ids=["on the same worker", "on another worker"])
def test_a_newer_stream_takes_over(site: StreamSite, client: Client, place: int) -> None:
    with client.get(site.ports[0]) as older, client.get(site.ports[place]) as newer:
        call(client, site.ports[0], "say_aside", first=1, last=3)
        assert logged(newer.messages(3)) == [1, 2, 3]
        assert logged(older.messages()) == []


def test_nothing_is_lost_or_doubled_while_streams_take_over_from_one_another(site: StreamSite, client: Client) -> None:
    last = 150
    received: list[Any] = []
    cursor = None
    with ThreadPoolExecutor(3) as pool:
        talking = [
            pool.submit(call, client, port, "say_aside", first=1000 * place + 1, last=1000 * place + last)
            for place, port in enumerate(site.ports)
        ]
        while len(received) < 3 * last:
            with client.get(site.turn(), cursor) as stream:
                assert stream.status == 200
                received += logged(stream.messages(17 if len(received) < 2 * last else 3 * last - len(received)))
                cursor = stream.cursor or cursor
        for talk in talking:
            assert "result" in talk.result()
    assert sorted(received) == sorted(1000 * place + number for place in range(3) for number in range(1, last + 1))
    for place in range(3):
        own = [number for number in received if number // 1000 == place]
        assert own == sorted(own)


def test_what_a_client_that_left_unnoticed_missed_is_replayed_before_what_follows(
    site: StreamSite, client: Client
) -> None:
    for round_number in range(5):
        with client.get(site.ports[0]) as stream:
            next(stream.read())
        # Its worker does not know yet that it has gone.
        call(client, site.ports[0], "say_aside", first=1, last=3)
        call(client, site.ports[1], "say_aside", first=4, last=6)
        with client.get(site.ports[round_number % 3], stream.cursor) as again:
            assert sorted(logged(again.messages(6))) == [*range(1, 7)]


def test_a_handler_sends_the_client_of_the_standalone_stream_away(site: StreamSite, client: Client) -> None:
    for port in site.ports:
        with client.get(site.ports[0]) as stream:
            call(client, port, "close_standalone")
            stream.messages()
            assert stream.retry == 1000
        # At once, and on a worker that has still to hear of the request to close.
        with client.get(site.ports[1]) as again:
            time.sleep(3 * POLL_SECONDS)
            call(client, site.ports[2], "say_aside", first=1, last=1)
            assert logged(again.messages(1)) == [1]


def test_sessions_do_not_mix(site: StreamSite) -> None:
    clients = [Client(site) for _ in range(4)]
    streams = [client.get(site.turn()) for client in clients]
    for number, client in enumerate(clients):
        call(client, site.turn(), "say_aside", first=number, last=number)
    for number, stream in enumerate(streams):
        with stream:
            assert logged(stream.messages(1)) == [number]


# --- Server events ----------------------------------------------------------------------------------------------


def subscribe(client: Client, port: int, method: str = "resources/subscribe") -> None:
    with client.send_to(port, client.message(method, {"uri": URI})) as answer:
        assert answer.answer()["result"] == {}


def test_a_resources_change_reaches_subscribers_of_both_eras_on_every_worker(site: StreamSite) -> None:
    subscribed = [Client(site) for _ in site.ports]
    for place, client in enumerate(subscribed):
        subscribe(client, site.ports[(place + 1) % 3])
    stranger = Client(site)
    modern = ModernClient(site)
    streams = [client.get(port) for client, port in zip(subscribed, site.ports, strict=True)]
    not_asked = stranger.get(site.ports[0])
    listening = [modern.listen(port, URI) for port in site.ports]
    for stream in listening:
        assert stream.next()["method"] == "notifications/subscriptions/acknowledged"
    started = time.monotonic()
    call(stranger, site.ports[0], "announce", uri=URI)
    call(stranger, site.ports[0], "announce", uri="test://other")
    for stream in (*streams, *listening):
        message = stream.next()
        assert message["method"] == "notifications/resources/updated"
        assert message["params"]["uri"] == URI
    assert time.monotonic() - started < POLL_SECONDS + 0.25 + SLACK_SECONDS
    call(stranger, site.ports[1], "say_aside", first=1, last=1)
    assert not_asked.next()["params"]["data"] == 1
    for stream in (*streams, *listening, not_asked):
        stream.close()


def test_a_resources_change_is_told_once(site: StreamSite, client: Client) -> None:
    modern = ModernClient(site)
    subscribe(client, site.ports[0])
    with client.get(site.ports[1]) as stream, modern.listen(site.ports[2], URI) as listening:
        listening.next()
        for port in site.ports:
            call(client, port, "announce", uri=URI)
        for open_stream in (stream, listening):
            assert [message["params"]["uri"] for message in open_stream.messages(3)] == [URI] * 3
        time.sleep(4 * POLL_SECONDS)
        call(client, site.ports[0], "say_aside", first=1, last=1)
        assert logged(stream.messages(1)) == [1]


def test_a_subscription_ends(site: StreamSite, client: Client) -> None:
    subscribe(client, site.ports[0])
    subscribe(client, site.ports[1], "resources/unsubscribe")
    with client.get(site.ports[2]) as stream:
        for port in site.ports:
            call(client, port, "announce", uri=URI)
        time.sleep(3 * POLL_SECONDS)
        call(client, site.ports[0], "say_aside", first=1, last=1)
        assert logged(stream.messages(1)) == [1]


# --- The session's log level ------------------------------------------------------------------------------------


def test_a_log_level_is_honoured_by_every_worker(site: StreamSite, client: Client) -> None:
    for level, expected in (("warning", ["warning", "error"]), ("debug", ["debug", "info", "warning", "error"])):
        with client.send_to(site.turn(), client.message("logging/setLevel", {"level": level})) as answer:
            assert answer.answer()["result"] == {}
        for port in site.ports:
            with client.start(port, "log_at_every_level") as stream:
                assert logged(stream.messages()) == expected
    call(client, site.ports[0], "say_aside", first=1, last=1)
    with client.send_to(site.turn(), client.message("logging/setLevel", {"level": "error"})) as answer:
        answer.answer()
    call(client, site.ports[0], "say_aside", first=2, last=2)
    with client.get(site.ports[1]) as stream:
        assert logged(stream.messages(1)) == [1]


# --- Cancellation -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [0, 1], ids=["on the same worker", "on another worker"])
def test_a_cancelled_request_ends(site: StreamSite, client: Client, tmp_path: Path, place: int) -> None:
    mark = tmp_path / "mark"
    request = client.message("tools/call", {"name": "work", "arguments": {"seconds": 20, "mark": str(mark)}})
    with client.send_to(site.ports[0], request) as stream:
        assert logged([stream.next()]) == ["begun"]
        notice = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": request["id"]}}
        with client.send_to(site.ports[place], notice) as accepted:
            assert accepted.status == 202
        (end,) = stream.messages()
    assert end["id"] == request["id"]
    assert "error" in end
    assert mark.read_text() == "cancelled"


def test_a_cancellation_is_not_for_a_later_request_of_the_same_id(
    site: StreamSite, client: Client, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    request = client.message("tools/call", {"name": "work", "arguments": {"seconds": 1, "mark": str(mark)}})
    notice = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": request["id"]}}
    client.send_to(site.ports[1], notice).close()
    with client.send_to(site.ports[0], request) as stream:
        assert "result" in stream.answer()
    assert mark.read_text() == "finished"


def test_a_client_that_drops_its_stream_has_not_cancelled(site: StreamSite, client: Client, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    with client.start(site.ports[0], "work", seconds=1, mark=str(mark)) as stream:
        stream.next()
    assert eventually(mark.exists)
    assert mark.read_text() == "finished"
    with client.get(site.ports[1], stream.cursor) as rest:
        assert "result" in rest.answer()


@pytest.mark.parametrize("announced", [True, False], ids=["while it streams", "before it began to stream"])
def test_without_sessions_a_client_cancels_by_closing_its_response(
    site: StreamSite, tmp_path: Path, announced: bool
) -> None:
    mark = tmp_path / "mark"
    modern = ModernClient(site)
    with ThreadPoolExecutor(1) as pool:
        port = site.ports[0]
        arguments = {"seconds": 20, "mark": str(mark), "announced": announced}
        message = modern.message("tools/call", {"name": "work", "arguments": arguments})
        message["params"]["_meta"]["io.modelcontextprotocol/logLevel"] = "info"
        if announced:
            modern.send_to(port, message).close()
        else:
            with pytest.raises(TimeoutError):
                pool.submit(modern.send_to, port, message, seconds=1).result()
    assert eventually(mark.exists)
    assert mark.read_text() == "cancelled"


# --- The end of a session ---------------------------------------------------------------------------------------


def test_the_end_of_a_session_ends_what_it_has_open_on_every_worker(
    site: StreamSite, client: Client, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    standalone = client.get(site.ports[0])
    running = client.start(site.ports[1], "work", seconds=20, mark=str(mark))
    running.next()
    with client.start(site.ports[1], "count_to", last=500, pause=0.05) as dropped:
        dropped.messages(1)
    resumed = client.get(site.ports[2], dropped.cursor)
    other = Client(site).get(site.ports[0])
    started = time.monotonic()
    assert client.end().status == 200
    for stream in (standalone, resumed, running):
        stream.messages()
        stream.close()
    assert time.monotonic() - started < POLL_SECONDS + SLACK_SECONDS
    assert eventually(mark.exists)
    assert mark.read_text() == "cancelled"
    for cursor in (None, dropped.cursor):
        with client.get(site.turn(), cursor) as refused:
            assert refused.status == 404
    other.close()
