"""One request and its answer: uvicorn's, quiet about what is cancelled, and fair to the loop when the client left."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from uvicorn._types import ASGI3Application, ASGISendEvent, HTTPResponseStartEvent
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle


class Cycle(RequestResponseCycle):
    """One request and its answer."""

    def __init__(self, *, transport: asyncio.Transport, **rest: Any) -> None:
        self._line = _Line(transport)
        self._ends_with_connection = False
        super().__init__(transport=cast("asyncio.Transport", self._line), **rest)

    async def run_asgi(self, app: ASGI3Application) -> None:
        """Run the application; what it leaves undone is a 500, or a connection that ends."""
        try:
            await app(self.scope, self.receive, self.send)
        except asyncio.CancelledError:
            self.transport.close()
            raise
        except Exception as exc:
            self.logger.error("Exception in ASGI application\n", exc_info=exc)
            await self._give_up()
        else:
            if not self.response_complete and not self.disconnected:
                self.logger.error("The ASGI application returned without a whole response.")
                await self._give_up()
        finally:
            self.on_response = _nothing

    async def send(self, message: ASGISendEvent) -> None:
        """Send; to a client that has left it does nothing, but lets the loop go on."""
        if message["type"] == "http.response.start" and not self.response_started:
            self._line.hold()
            self._choose_end(message)
            await super().send(message)
            return
        if self._ends_with_connection and message["type"] == "http.response.body":
            self.expected_content_length = len(message.get("body", b""))
        await super().send(message)
        self._line.release()
        # Closing: nothing is lost officially before the loop has had a turn.
        if self.disconnected or self.transport.is_closing():
            await asyncio.sleep(0)

    def _choose_end(self, start: HTTPResponseStartEvent) -> None:
        """Chunks are for HTTP/1.1 alone (RFC 9112, section 6.1): an older client reads until the connection closes."""
        if self.scope["http_version"] == "1.0":
            self._ends_with_connection = all(name.lower() != b"content-length" for name, _ in start.get("headers", ()))
            self.chunked_encoding = False if self._ends_with_connection else None

    async def _give_up(self) -> None:
        if self.response_started and self._line.drop():
            # Nothing of it has gone out.
            self.response_started, self.chunked_encoding, self.expected_content_length = False, None, 0
            self._ends_with_connection = False
        if self.response_started:
            self.transport.close()
        else:
            await self.send_500_response()


class _Line:
    """The connection as an answer has it: the head goes out with what comes first of the body, in one piece.

    ASGI, "Response Start": a server must not send it before that. To send it apart costs as much as all else that the
    server does for an answer.
    """

    __slots__ = ("_head", "_is_held", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""
        self._is_held = False

    def hold(self) -> None:
        """Keep what is written next."""
        self._is_held = True

    def write(self, data: bytes) -> None:
        """Write; what is held goes before it."""
        if self._is_held:
            self._head, self._is_held = self._head + data, False
        else:
            head, self._head = self._head, b""
            self._transport.write(head + data)

    def drop(self) -> bool:
        """Forget what is held; whether anything was, or was about to be: a head that could not be written."""
        held, self._head = self._is_held or self._head != b"", b""
        self._is_held = False
        return held

    def release(self) -> None:
        """Write what is still held: the answer to a HEAD request has no body."""
        if self._head:
            self.write(b"")

    def close(self) -> None:
        """Close, when what was written is sent."""
        self.release()
        self._transport.close()

    def is_closing(self) -> bool:
        """Whether the connection is closed, or about to be."""
        return self._transport.is_closing()


def _nothing() -> None:
    """What follows an answer that is given."""
