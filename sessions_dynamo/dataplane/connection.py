"""One HTTP/1.1 connection, as a client has it: a request, its answer, then the next. It knows no DynamoDB."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from http import HTTPStatus
from typing import Final, cast

import httptools

from sessions_dynamo.dataplane.attempts import Received
from sessions_dynamo.deadlines import Deadline

KEEP_ALIVE_SECONDS: Final = 45.0
"""DynamoDB closes what idles for 60 s or more; a new connection costs a whole TLS handshake."""
MAX_HEAD_BYTES: Final = 64 * 1024
"""Of an answer's head."""
_UNFRAMED: Final = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})
"""Answers that have no body whatever their headers say (RFC 9112, section 6.3)."""


class Broken(Exception):
    """The connection ended before the answer did, or what came is no HTTP."""


class Silent(Exception):
    """Nothing came for too long."""


class Connection(asyncio.Protocol):
    """Serves one request at a time. ``asyncio`` calls it, and ``httptools`` with what the bytes say."""

    def __init__(self, loop: asyncio.AbstractEventLoop, read_seconds: float) -> None:
        """``read_seconds`` without a byte, while an answer is waited for, end it."""
        self.lost: asyncio.Future[None] = loop.create_future()
        """Done once nothing is left of it."""
        self._loop = loop
        self._read_seconds = read_seconds
        self._transport: asyncio.Transport
        self._parser = httptools.HttpResponseParser(self)
        self._answer: asyncio.Future[Received] | None = None
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._status = 0
        """Of the answer that comes; 0 until its head has come."""
        self._head_bytes = 0
        self._deadline = Deadline(loop, read_seconds, self._end_silence)

    @property
    def is_open(self) -> bool:
        """Whether another request may be sent."""
        return self._answer is None and not self._transport.is_closing()

    async def exchange(self, request: bytes) -> Received:
        """The answer to a request. Raises ``Broken``, ``Silent``; whatever it raises, the connection is no more open:
        the server may have done what was asked."""
        answer: asyncio.Future[Received] = self._loop.create_future()
        self._answer = answer
        self._deadline.set(self._read_seconds)
        try:
            self._transport.write(request)
            return await answer
        except BaseException:
            self.abort()
            raise

    def abort(self) -> None:
        """Close now."""
        self._transport.abort()

    # --- What asyncio says ------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        with suppress(OSError):
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._deadline.set(KEEP_ALIVE_SECONDS)

    def data_received(self, data: bytes) -> None:
        if self._answer is None:
            # Nobody asked: whatever comes next would be taken for an answer.
            self._transport.abort()
            return
        if self._status:
            # A head, with what comes before it, has one time for all of it.
            self._deadline.set(self._read_seconds)
        else:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as exc:
            self._break(f"what came is no HTTP answer: {exc}")
        else:
            if not self._status and self._head_bytes > MAX_HEAD_BYTES:
                self._break("the answer's head has no end")

    def eof_received(self) -> None:
        if self._status and not self._is_framed():
            # It ends where the connection does (RFC 9112, section 6.3).
            self._complete()
        # asyncio closes by itself, but over TLS some turns of the loop later.
        self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._deadline.end()
        self._fail(Broken(str(exc) if exc else "the connection was closed"))
        self.lost.set_result(None)

    # --- What httptools says ----------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._answer is None:
            # Behind an answer, in the same piece: the next request would take it for its own.
            self._transport.abort()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._status:
            return  # A trailer: it would change what the head has said.
        text, field = value.decode("latin-1").rstrip(), name.decode("latin-1").lower()
        self._headers[field] = f"{self._headers[field]}, {text}" if field in self._headers else text

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()
        if self._status >= HTTPStatus.OK:
            self._deadline.set(self._read_seconds)

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        if self._status < HTTPStatus.CONTINUE:
            self._break(f"{self._status} is no HTTP status")
        elif self._status < HTTPStatus.OK:
            self._begin()  # Informational: the answer follows.
        else:
            # An answer may come before its request is sent; another would wait behind that.
            reusable = self._parser.should_keep_alive() and not self._transport.get_write_buffer_size()
            self._complete()
            if not reusable:
                self._transport.abort()

    # --- Its own ----------------------------------------------------------------------------------------------

    def _is_framed(self) -> bool:
        return self._headers.keys() & {"content-length", "transfer-encoding"} != set() or self._status in _UNFRAMED

    def _begin(self) -> None:
        self._headers, self._body, self._status, self._head_bytes = {}, [], 0, 0

    def _complete(self) -> None:
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
            answer.set_result(Received(self._status, self._headers, body))
        self._begin()
        self._deadline.set(KEEP_ALIVE_SECONDS)

    def _break(self, why: str) -> None:
        self._transport.abort()
        self._fail(Broken(why))

    def _fail(self, failure: Exception) -> None:
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            answer.set_exception(failure)

    def _end_silence(self) -> None:
        """Nothing came for too long, or nothing was asked."""
        self._transport.abort()
        self._fail(Silent(f"nothing came for {self._read_seconds} s"))
