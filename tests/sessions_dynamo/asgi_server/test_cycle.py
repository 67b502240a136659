"""How an answer goes out: in as few pieces as it can, and whole."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sessions_dynamo.asgi_server.cycle import Cycle


class Transport:
    """Remembers what is written."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.written.append(data)

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


def cycle(transport: Transport, method: str = "POST", *, keep_alive: bool = True) -> Cycle:
    return Cycle(
        scope={"method": method, "path": "/", "http_version": "1.1"},
        transport=cast("asyncio.Transport", transport),
        flow=SimpleNamespace(write_paused=False, resume_reading=lambda: None),
        logger=logging.getLogger(__name__),
        access_logger=logging.getLogger(__name__),
        access_log=False,
        default_headers=[],
        message_event=asyncio.Event(),
        expect_100_continue=False,
        keep_alive=keep_alive,
        on_response=lambda: None,
    )


def run(answering: Cycle, *messages: dict[str, Any]) -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        for message in messages:
            await send(message)

    asyncio.run(answering.run_asgi(application))


START = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]}
STREAM = {"type": "http.response.start", "status": 200, "headers": []}


def piece(body: bytes, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body, "more_body": more}


@pytest.mark.parametrize("keep_alive", [True, False])
def test_a_head_goes_out_with_its_body(keep_alive: bool) -> None:
    transport = Transport()
    run(cycle(transport, keep_alive=keep_alive), START, piece(b"ok"))
    (answer,) = transport.written
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\nok")
    assert transport.closed is not keep_alive


def test_a_head_alone_is_no_answer_yet() -> None:
    transport = Transport()

    async def begin() -> None:
        answering = cycle(transport)
        await answering.send(cast("Any", STREAM))
        assert transport.written == []
        await answering.send(cast("Any", piece(b"first", more=True)))
        await answering.send(cast("Any", piece(b"second", more=True)))

    asyncio.run(begin())
    first, second = transport.written
    assert first.endswith(b"transfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n")
    assert second == b"6\r\nsecond\r\n"


def test_the_answer_to_head_is_its_head() -> None:
    transport = Transport()
    run(cycle(transport, "HEAD"), START, piece(b""))
    (answer,) = transport.written
    assert answer.endswith(b"content-length: 2\r\n\r\n")


def test_to_http_1_0_the_connections_end_is_the_bodys() -> None:
    transport = Transport()
    answering = cycle(transport, keep_alive=False)
    answering.scope["http_version"] = "1.0"
    run(answering, STREAM, piece(b"first", more=True), piece(b"second", more=True), piece(b""))
    head, _, body = b"".join(transport.written).partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head
    assert body == b"firstsecond"
    assert transport.closed


def test_an_application_that_stops_behind_its_head_is_an_error() -> None:
    """Nothing of it has gone out yet."""
    transport = Transport()
    run(cycle(transport), START)
    (answer,) = transport.written
    assert answer.startswith(b"HTTP/1.1 500 ")


def test_a_head_that_cannot_be_written_is_an_error() -> None:
    transport = Transport()
    run(cycle(transport), {**STREAM, "headers": [(b"x-name", b"a\x01b")]})
    (answer,) = transport.written
    assert answer.startswith(b"HTTP/1.1 500 ")


def test_a_head_behind_the_first_piece_is_no_second_answer() -> None:
    transport = Transport()
    run(cycle(transport), STREAM, piece(b"first", more=True), STREAM)
    assert len(transport.written) == 1
    assert transport.closed


def test_one_that_stops_in_its_body_has_the_connection_closed() -> None:
    transport = Transport()
    run(cycle(transport), STREAM, piece(b"first", more=True))
    assert len(transport.written) == 1
    assert transport.closed


def test_a_head_that_was_begun_twice_is_still_sent() -> None:
    transport = Transport()
    answering = cycle(transport)

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        with pytest.raises(RuntimeError):
            await send(START)
        await send(piece(b"ok"))

    asyncio.run(answering.run_asgi(application))
    assert b"".join(transport.written).startswith(b"HTTP/1.1 200 OK\r\n")


def test_one_that_says_nothing_is_an_error_and_the_connection_goes_on() -> None:
    transport = Transport()
    run(cycle(transport))
    (answer,) = transport.written
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert answer.endswith(b"Internal Server Error")


def test_continue_is_said_before_the_head() -> None:
    transport = Transport()

    async def ask() -> None:
        answering = cycle(transport)
        answering.waiting_for_100_continue = True
        answering.message_event.set()
        await answering.receive()

    asyncio.run(ask())
    assert transport.written == [b"HTTP/1.1 100 Continue\r\n\r\n"]
