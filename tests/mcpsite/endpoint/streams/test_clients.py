"""Clients that left, and room for calls."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from mcpsite.endpoint.streams.clients import ClientWatch
from mcpsite.endpoint.streams.outbox import Begin, Outbox
from mcpsite.endpoint.wire import sse

RETRY_MS = 700


@pytest.fixture
def watch() -> ClientWatch:
    return ClientWatch(3, RETRY_MS)


@pytest.fixture
def connection() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The server's end, and the client's."""
    ours, theirs = socket.socketpair()
    with closing(ours), closing(theirs):
        yield ours, theirs


def made(watch: ClientWatch, client: socket.socket | None = None, *, may_return: bool = True) -> Outbox:
    """A response of a client, as the endpoint makes it."""
    outbox = Outbox(lambda: watch.discard(outbox))
    watch.add(outbox, client, may_return=may_return)
    return outbox


def rest(outbox: Outbox) -> list[bytes]:
    return list(outbox.frames(60, b""))[1:]


# --- Those that left ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("leave", ["close", "shutdown"])
def test_a_client_that_left_is_noticed_without_writing(
    watch: ClientWatch, connection: tuple[socket.socket, socket.socket], leave: str
) -> None:
    ours, theirs = connection
    outbox = made(watch, ours)
    watch.close_gone()
    assert len(watch) == 1
    if leave == "close":
        theirs.close()
    else:
        theirs.shutdown(socket.SHUT_WR)
    watch.close_gone()
    assert outbox.closed
    assert rest(outbox) == []
    assert len(watch) == 0


def test_a_client_that_sends_more_is_still_there(
    watch: ClientWatch, connection: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = connection
    outbox = made(watch, ours)
    theirs.send(b"GET / HTTP/1.1\r\n")
    watch.close_gone()
    assert not outbox.closed


def test_a_client_that_left_before_its_answer_began_is_noticed_too(
    watch: ClientWatch, connection: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = connection
    outbox = Outbox(lambda: watch.discard(outbox))
    watch.expect(outbox, ours, may_return=True)
    theirs.close()
    watch.close_gone()
    assert outbox.closed
    assert outbox.first(60) is None


def test_a_response_that_the_server_never_began_to_write_is_forgotten(
    watch: ClientWatch, connection: tuple[socket.socket, socket.socket]
) -> None:
    ours, _ = connection
    outbox = made(watch, ours)
    ours.close()
    watch.close_gone()
    assert outbox.closed
    assert len(watch) == 0


def test_a_server_that_shows_no_socket_is_watched_for_room_alone(watch: ClientWatch) -> None:
    outbox = made(watch, None)
    watch.close_gone()
    assert not outbox.closed
    assert len(watch) == 1


# --- Room -----------------------------------------------------------------------------------------------------


def test_the_stream_that_was_quiet_longest_makes_room(watch: ClientWatch) -> None:
    first, second, third = (made(watch) for _ in range(3))
    time.sleep(0.002)
    first.put(b"news")
    assert not any(one.closed for one in (first, second, third))
    fourth = made(watch)
    assert [one.closed for one in (first, second, third, fourth)] == [False, True, False, False]
    assert rest(second) == [sse.retry(RETRY_MS)]
    assert len(watch) == 3


def test_as_many_make_room_as_come(watch: ClientWatch) -> None:
    older = [made(watch) for _ in range(3)]
    newer = [made(watch) for _ in range(3)]
    assert [one.closed for one in older] == [True] * 3
    assert [one.closed for one in newer] == [False] * 3


def test_who_cannot_come_back_is_never_sent_away(watch: ClientWatch) -> None:
    kept = [made(watch, may_return=False) for _ in range(3)]
    for _ in range(2):
        newest = made(watch)
        # It is let in all the same: to refuse it would be worse.
        assert not newest.closed
    assert not any(one.closed for one in kept)


def test_an_answer_that_may_yet_be_json_takes_no_streams_place(watch: ClientWatch) -> None:
    streams = [made(watch) for _ in range(3)]
    for _ in range(5):
        watch.expect(Outbox(), None, may_return=True)
    assert not any(one.closed for one in streams)


def test_responses_that_come_and_go_in_many_threads_leave_nothing(watch: ClientWatch) -> None:
    def come_and_go() -> None:
        for _ in range(50):
            outbox = made(watch)
            watch.close_gone()
            outbox.close()
            rest(outbox)

    threads = [threading.Thread(target=come_and_go) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(watch) == 0


# --- The end of the process -----------------------------------------------------------------------------------


def test_a_process_that_stops_sends_away_who_may_come_back(watch: ClientWatch) -> None:
    may, may_not = made(watch), made(watch, may_return=False)
    watch.close_all()
    assert rest(may) == [sse.retry(RETRY_MS)]
    assert not may_not.closed


def test_an_answer_that_is_waited_for_becomes_a_stream_first(watch: ClientWatch) -> None:
    outbox = Outbox()
    watch.expect(outbox, None, may_return=True)
    watch.close_all()
    assert outbox.first(60) == Begin()
    assert not outbox.closed
    watch.add(outbox, None, may_return=True)
    assert rest(outbox) == [sse.retry(RETRY_MS)]


def test_an_answer_of_who_cannot_come_back_is_waited_for(watch: ClientWatch) -> None:
    outbox = Outbox()
    watch.expect(outbox, None, may_return=False)
    watch.close_all()
    watch.add(outbox, None, may_return=False)
    assert not outbox.closed
