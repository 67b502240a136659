"""Workers that are killed, paused or told to stop while a client streams from them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from signal import SIGCONT, SIGSTOP
from typing import Any

import pytest

from tests.engines import on_dynamodb_local
from tests.live.stream_client import Client, ModernClient
from tests.live.stream_sites import POLL_SECONDS, StreamSite, stream_site

pytestmark = on_dynamodb_local

LEASE_SECONDS = 3.0
SLACK_SECONDS = 3.0
"""What a busy machine may add to a bound in time."""


@pytest.fixture(scope="module")
def site(engine: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[StreamSite]:
    with stream_site(
        engine[1], tmp_path_factory.mktemp("dying"), STREAM_LEASE_SECONDS=str(LEASE_SECONDS), RECORD_CALLS="false"
    ) as site:
        yield site


def logged(messages: list[dict[str, Any]]) -> list[Any]:
    return [message["params"]["data"] for message in messages if "method" in message]


def ends(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [message for message in messages if "method" not in message]


# --- Killed -----------------------------------------------------------------------------------------------------


def test_the_stream_of_a_killed_worker_ends_with_an_error_within_its_lease(site: StreamSite) -> None:
    dying, elsewhere, third = site.ports
    client = Client(site)
    request = client.message("tools/call", {"name": "count_to", "arguments": {"last": 1000, "pause": 0.02}})
    with client.send_to(dying, request) as stream:
        seen = logged(stream.messages(10))
        site.kill(dying)
        killed = time.monotonic()
        seen += logged(stream.messages())
    try:
        with client.get(elsewhere, stream.cursor) as rest:
            received = rest.messages()
        took = time.monotonic() - killed
        with client.get(third, stream.cursor) as again:
            assert again.messages() == received
        with client.get(third, stream.frames[0].event_id) as whole:
            everything = whole.messages()
    finally:
        site.start(dying)
    # Whatever was stored before the kill, though its client may not have got it, and then one end.
    seen += logged(received)
    assert seen == [*range(1, len(seen) + 1)]
    (end,) = ends(received)
    assert received[-1] == end
    assert end["id"] == request["id"]
    assert end["error"]["code"] == -32603
    assert took < LEASE_SECONDS + POLL_SECONDS + SLACK_SECONDS
    assert logged(everything) == seen
    assert ends(everything) == [end]


def test_clients_that_wait_together_are_told_one_end(site: StreamSite) -> None:
    dying, *living = site.ports
    client = Client(site)
    with client.start(dying, "count_to", last=1000, pause=0.02) as stream:
        stream.messages(3)
        site.kill(dying)
    try:
        with ThreadPoolExecutor(8) as pool:
            waiting = [client.get(living[turn % 2], stream.cursor) for turn in range(8)]
            received = list(pool.map(lambda stream: stream.messages(), waiting))
    finally:
        site.start(dying)
    assert all(messages == received[0] for messages in received)
    assert len(ends(received[0])) == 1


# --- Paused -----------------------------------------------------------------------------------------------------


def test_a_paused_owner_that_wakes_does_not_end_a_stream_again(site: StreamSite) -> None:
    paused, elsewhere, third = site.ports
    client = Client(site)
    stream = client.start(paused, "count_to", last=10, pause=0.2)
    stream.messages(3)
    site.signal(paused, SIGSTOP)
    try:
        with client.get(elsewhere, stream.cursor) as rest:
            received = rest.messages()
    finally:
        site.signal(paused, SIGCONT)
    (end,) = ends(received)
    assert end["error"]["code"] == -32603
    # The owner wakes, finishes, and finds that its stream has ended; its own client is not told another end.
    assert ends(stream.messages()) in ([], [end])
    stream.close()
    with client.get(third, stream.frames[0].event_id) as whole:
        assert ends(whole.messages()) == [end]


def test_a_pause_within_the_lease_is_not_noticed(site: StreamSite) -> None:
    paused, elsewhere, _ = site.ports
    client = Client(site)
    with client.start(paused, "count_to", last=10, pause=0.1) as stream:
        seen = logged(stream.messages(3))
    site.signal(paused, SIGSTOP)
    with client.get(elsewhere, stream.cursor) as rest:
        time.sleep(LEASE_SECONDS / 3)
        site.signal(paused, SIGCONT)
        received = rest.messages()
    assert seen + logged(received) == [*range(1, 11)]
    assert "result" in received[-1]


def test_tools_that_hold_every_thread_do_not_cost_a_stream_its_lease(site: StreamSite, tmp_path: Path) -> None:
    busy, elsewhere, _ = site.ports
    client, other = Client(site), Client(site)
    with client.start(busy, "work", seconds=2 * LEASE_SECONDS + 2, mark=str(tmp_path / "mark")) as stream:
        stream.next()
    with ThreadPoolExecutor(45) as pool:
        blocked = [pool.submit(other.start, busy, "block", seconds=2 * LEASE_SECONDS) for _ in range(45)]
        with client.get(elsewhere, stream.cursor) as rest:
            assert "result" in rest.answer()
        for call in blocked:
            call.result().close()


# --- Told to stop -----------------------------------------------------------------------------------------------


def test_a_worker_that_is_told_to_stop_finishes_what_runs_and_sends_its_clients_elsewhere(
    site: StreamSite, tmp_path: Path
) -> None:
    stopping, elsewhere, _ = site.ports
    client, modern = Client(site), ModernClient(site)
    mark = tmp_path / "mark"
    standalone = client.get(stopping)
    begun = client.start(stopping, "work", seconds=2, mark=str(mark))
    begun.next()
    with ThreadPoolExecutor(1) as pool:
        silent = pool.submit(client.start, stopping, "work", seconds=2.5, mark=str(mark), announced=False)
        subscription = modern.listen(stopping, "test://a")
        subscription.next()
        time.sleep(0.5)
        started = time.monotonic()
        process = site.stop(stopping)
        streams = [standalone, begun, silent.result(), subscription]
    try:
        for stream in streams:
            assert ends(stream.messages()) == []
            assert stream.retry == 1000
        assert time.monotonic() - started < 1 + SLACK_SECONDS, "clients waited for the handlers"
        for stream in (begun, streams[2]):
            with client.get(elsewhere, stream.cursor) as rest:
                assert "worked on" in rest.answer()["result"]["content"][0]["text"]
        assert mark.read_text() == "finished"
        process.wait(30)
        assert time.monotonic() - started < 2.5 + 2 + SLACK_SECONDS
    finally:
        process.wait(30)
        for stream in streams:
            stream.close()
        site.start(stopping)


def test_a_worker_with_quiet_streams_alone_stops_at_once(site: StreamSite) -> None:
    stopping = site.ports[0]
    streams = [Client(site).get(stopping) for _ in range(5)]
    process = site.stop(stopping)
    started = time.monotonic()
    try:
        for stream in streams:
            stream.messages()
            assert stream.retry == 1000
            stream.close()
        process.wait(30)
        assert time.monotonic() - started < 3 + SLACK_SECONDS
    finally:
        process.wait(30)
        site.start(stopping)
