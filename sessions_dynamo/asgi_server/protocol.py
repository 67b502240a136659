"""One connection: uvicorn's HTTP protocol with deadlines, bounds, and an eye on whether the client is still there."""

from __future__ import annotations

import asyncio
import urllib.parse
from http import HTTPStatus
from typing import Any, Final

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from sessions_dynamo.asgi_server.cycle import Cycle
from sessions_dynamo.asgi_server.parting import part
from sessions_dynamo.asgi_server.sending import Sending
from sessions_dynamo.asgi_server.state import State
from sessions_dynamo.deadlines import Deadline

MAX_UNPARSED_BYTES: Final = 64 * 1024
"""Of a head, or between two pieces of a body, without end; and of what is sent behind a request under way."""
FRAMING: Final = (b"content-length", b"transfer-encoding")
GREETING_SECONDS: Final = 1.0
"""So long a new connection counts as one that has a request: it is on its way."""
RETRY_AFTER: Final = (b"retry-after", b"1")


class _BehindTheRequest(Exception):
    """Another request begins before the one under way is answered."""


class Protocol(HttpToolsProtocol):
    """A connection serves one request at a time.

    Whoever sends more while one is under way is not read into a queue: uvicorn would stop reading then, and never see
    the client leave. The bytes are dropped, and the connection ends with the answer.
    """

    server_state: State

    def __init__(
        self,
        config: Config,
        server_state: State,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._receiving = False
        """Part of a request has come, and not its end."""
        self._is_kept = False
        """Idle behind an answer: it has another time than a connection that has yet to send anything."""
        self._unparsed = 0
        self._deadline = Deadline(self.loop, server_state.limits.read_seconds, self._on_deadline)
        self._left = False
        self._framing: list[tuple[bytes, bytes]] = []
        self._is_reframing = False

    # --- The connection ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        state = self.server_state
        if state.stopping or not state.make_room():
            self._left = True
            part(transport, state, HTTPStatus.SERVICE_UNAVAILABLE, RETRY_AFTER)
            return
        super().connection_made(transport)
        self._sending = Sending(transport, state.limits.send_seconds)
        state.idle[self] = self.loop.time() + GREETING_SECONDS
        self._expect_more()

    def data_received(self, data: bytes) -> None:
        self._unparsed += len(data)
        if not self._receiving:
            if self._is_answering():
                self._drop_surplus()
                return
            self._begin_receiving()
        self._parse(data)

    def _parse(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as exc:
            self._serve_without_upgrade(data[exc.args[0] :])
        except httptools.HttpParserError as exc:
            if isinstance(exc.__context__, _BehindTheRequest):
                self._drop_surplus()
            else:
                self._refuse(HTTPStatus.BAD_REQUEST)
        else:
            if self._receiving and self._unparsed > MAX_UNPARSED_BYTES:
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def eof_received(self) -> None:
        """Half closed counts as gone; but who cut a request off is told so."""
        if self._receiving and not self._has_begun_to_answer():
            self._refuse(HTTPStatus.BAD_REQUEST)
        else:
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()
        self._sending.look_away()
        self.connections.discard(self)

    def close(self) -> None:
        """Close; what was written is still sent, to a client that takes it."""
        self._leave()
        self.transport.close()
        self._sending.watch()

    def _leave(self) -> None:
        """The client is gone, or as good as: the application hears of it, and nothing waits for the client."""
        if self._left:
            return
        self._left = True
        self.server_state.idle.pop(self, None)
        self._deadline.end()
        if self.cycle is not None:
            self.cycle.disconnected = not self.cycle.response_complete
            self.cycle.message_event.set()
        self.flow.resume_writing()
        self.parser = None  # type: ignore[assignment]

    def _refuse(self, status: HTTPStatus) -> None:
        """Answer instead of the application, if it has not begun to, and close."""
        if self._left:
            return
        if self._has_begun_to_answer():
            self.close()
            return
        self._leave()
        self.connections.discard(self)
        part(self.transport, self.server_state, status)

    # --- Deadlines --------------------------------------------------------------------------------------------

    def _expect_more(self) -> None:
        self._deadline.set(self.server_state.limits.read_seconds)

    def _on_deadline(self) -> None:
        if self.flow.read_paused or (self.cycle is not None and self.cycle.waiting_for_100_continue):
            # The client waits for the application.
            self._expect_more()
        elif self._receiving:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)
        else:
            self.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._sending.watch()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._sending.look_away()
        if self._left:
            self._sending.watch()

    # --- One request after the other --------------------------------------------------------------------------

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _has_begun_to_answer(self) -> bool:
        return self._is_answering() and self.cycle.response_started

    def _begin_receiving(self) -> None:
        self._receiving = True
        self.server_state.idle.pop(self, None)
        if self._is_kept or not self._deadline.is_set:
            self._is_kept = False
            self._expect_more()

    def _drop_surplus(self) -> None:
        if self._is_answering():
            self.cycle.keep_alive = False
        if self._unparsed > MAX_UNPARSED_BYTES:
            self.close()

    def _serve_without_upgrade(self, rest: bytes) -> None:
        """There is nothing to upgrade to: serve the request itself.

        The parser takes its body for another protocol; Java's HTTP client sends one with every first request. A new
        parser that knows no more than the body's length reads it.
        """
        if self._framing:
            head = b"".join(b"%s: %s\r\n" % header for header in self._framing)
            self._framing, self._is_reframing = [], True
            self.parser = httptools.HttpRequestParser(self)
            self._parse(b"POST / HTTP/1.1\r\n" + head + b"\r\n")
            if rest and not self._left:
                self._parse(rest)
        elif rest:
            self._drop_surplus()

    def on_message_begin(self) -> None:
        if self._is_reframing:
            return
        if self._is_answering():
            raise _BehindTheRequest
        self._begin_receiving()
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        # RFC 9110, section 5.5: the blanks around a value are none of it. httptools leaves those behind it.
        super().on_header(name, value.strip(b" \t"))

    def on_headers_complete(self) -> None:
        if self._is_reframing:
            self._is_reframing = False
            return
        if self.parser.should_upgrade():
            self._framing = [header for header in self.headers if header[0] in FRAMING]
        scope, state = self.scope, self.server_state
        version = self.parser.get_http_version()
        scope["method"] = self.parser.get_method().decode("ascii")
        scope["http_version"] = version
        url = httptools.parse_url(self.url)
        scope["raw_path"] = url.path
        path = url.path.decode("ascii")
        scope["path"] = urllib.parse.unquote(path) if "%" in path else path
        scope["query_string"] = url.query or b""
        state.proxies.apply(scope)
        # Trailers would be added behind the back of who has read the headers.
        self.headers = _Trailers()
        self._unparsed = 0
        self._expect_more()
        # Counted here: a stream that its client ends never completes.
        state.total_requests += 1
        self.cycle = Cycle(
            scope=scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=state.default_headers,
            message_event=asyncio.Event(),
            # RFC 9110, section 10.1.1: to HTTP/1.0 there is no such answer, and it would be taken for the last one.
            expect_100_continue=self.expect_100_continue and version != "1.0",
            keep_alive=version != "1.0" and self.parser.should_keep_alive() and not state.stopping,
            on_response=self.on_response_complete,
        )
        self._start_asgi_task(self.cycle, self.app)

    def on_body(self, body: bytes) -> None:
        self._unparsed = 0
        if self.cycle.response_complete:
            return
        self.cycle.body += body
        if len(self.cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        self.cycle.message_event.set()

    def on_message_complete(self) -> None:
        if self._framing:
            return
        self._unparsed = 0
        self._receiving = False
        self._deadline.lift()
        if self.cycle.response_complete:
            self._become_idle()
        else:
            self.cycle.more_body = False
            self.cycle.message_event.set()

    def on_response_complete(self) -> None:
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if not self._receiving:
            self._become_idle()

    def _become_idle(self) -> None:
        self._unparsed = 0
        self.server_state.idle[self] = self.loop.time()
        self._is_kept = True
        self._deadline.set(self.timeout_keep_alive)


class _Trailers(list[tuple[bytes, bytes]]):
    """Takes headers that come after the head, and keeps none."""

    def append(self, item: tuple[bytes, bytes]) -> None:
        """Drop it."""
