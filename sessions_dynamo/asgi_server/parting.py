"""The last answer on a connection, written here and not by the application: 400, 408, 431 and 503."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

from sessions_dynamo.asgi_server.state import State

LINGER_SECONDS: Final = 2.0
MAX_LINGERING: Final = 32


def part(transport: asyncio.Transport, state: State, status: HTTPStatus, *headers: tuple[bytes, bytes]) -> None:
    """Answer and close.

    What the client still sends is taken for a moment: to a closed socket it would be answered with a reset, which may
    overtake the answer. Nobody is waited for when many are in that state.
    """
    transport.write(_answer(status, [*state.default_headers, *headers]))
    if len(state.parting) >= MAX_LINGERING or not transport.can_write_eof():
        transport.set_protocol(asyncio.Protocol())
        transport.close()
        return
    transport.set_protocol(_Lingering(transport, state))
    transport.write_eof()
    if not transport.is_reading():
        transport.resume_reading()


def _answer(status: HTTPStatus, headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    body = status.phrase.encode()
    lines = [
        b"HTTP/1.1 %d %s" % (status, body),
        *(b"%s: %s" % header for header in headers),
        b"content-type: text/plain; charset=utf-8",
        b"content-length: %d" % len(body),
        b"connection: close",
    ]
    return b"\r\n".join([*lines, b"", body])


class _Lingering(asyncio.Protocol):
    """Takes what comes and does nothing with it, until the client closes or the time is over."""

    def __init__(self, transport: asyncio.Transport, state: State) -> None:
        self._state = state
        self._transport = transport
        self._timer = asyncio.get_running_loop().call_later(LINGER_SECONDS, transport.abort)
        state.parting.add(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        self._state.parting.discard(self._transport)
