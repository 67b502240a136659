"""A client of one worker or another, that reads event streams frame by frame and may drop them at any point."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from itertools import islice
from types import TracebackType
from typing import Any, Final, Self

from django.utils.datastructures import CaseInsensitiveMapping

from tests.live.stream_sites import StreamSite
from tests.mcpsite.peers import (
    CLIENT_INFO,
    JSON_HEADERS,
    LEGACY,
    Answer,
    LegacyPeer,
    ModernPeer,
)

READ_SECONDS: Final = 25.0
ASKABLE: Final[dict[str, Any]] = {"elicitation": {}, "sampling": {}}


@dataclass(frozen=True, slots=True)
class Frame:
    """One event of a stream; a frame with a ``retry`` hint alone has no data."""

    data: str
    event_id: str | None
    retry: int | None

    @property
    def message(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self.data)
        return message


class Stream:
    """An open response."""

    def __init__(self, connection: HTTPConnection, response: HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.frames: list[Frame] = []
        """Every frame read so far."""
        self._connection = connection
        self._response = response
        # Taken here: a response that has been read to its end lets its socket go.
        self._socket: socket.socket | None = connection.sock

    @property
    def is_events(self) -> bool:
        return self.headers.get_content_type() == "text/event-stream"

    @property
    def cursor(self) -> str | None:
        """The id of the last event that had one."""
        return next((frame.event_id for frame in reversed(self.frames) if frame.event_id), None)

    @property
    def retry(self) -> int | None:
        """The last retry hint (ms)."""
        return next((frame.retry for frame in reversed(self.frames) if frame.retry is not None), None)

    def read(self) -> Iterator[Frame]:
        """Frames as they come, until the stream ends or its connection breaks; raises ``TimeoutError``."""
        fields: dict[str, str] = {}
        while True:
            try:
                line = self._response.readline()
            except TimeoutError:
                raise
            except (OSError, ValueError):
                return
            if not line.endswith(b"\n"):
                return
            text = line.decode().removesuffix("\n")
            if text:
                name, _, value = text.partition(": ")
                fields[name] = value
            elif any(fields):
                retry = int(fields["retry"]) if "retry" in fields else None
                frame = Frame(fields.get("data", ""), fields.get("id"), retry)
                self.frames.append(frame)
                fields = {}
                yield frame
            else:
                fields = {}  # A comment.

    def messages(self, count: int | None = None) -> list[dict[str, Any]]:
        """The next messages: so many, or all until the stream ends."""
        return list(islice((frame.message for frame in self.read() if frame.data), count))

    def next(self) -> dict[str, Any]:
        """The next message; the stream must have one."""
        (message,) = self.messages(1)
        return message

    def json(self) -> dict[str, Any]:
        """The whole answer."""
        body: dict[str, Any] = json.loads(self._response.read())
        return body

    def answer(self) -> dict[str, Any]:
        """The message that answers a request, whether the answer is a stream or not."""
        return self.messages()[-1] if self.is_events else self.json()

    def close(self) -> None:
        """Drop it: the connection is cut, whatever was on its way."""
        if self._socket is not None:
            self._socket.close()
            self._response.close()
            self._connection.close()
            self._socket = None

    def reset(self) -> None:
        """Drop it by RST."""
        assert self._socket is not None
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def taken(self, size: int) -> int:
        """How many bytes could be taken, up to ``size``; raises ``TimeoutError``."""
        return len(self._response.read1(size))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def open_stream(
    port: int, method: str, body: Any = None, headers: Mapping[str, str] | None = None, *, seconds: float = READ_SECONDS
) -> Stream:
    """Send one request to a process; its answer, not read yet. ``seconds`` is the longest silence."""
    connection = HTTPConnection("127.0.0.1", port, timeout=seconds)
    encoded = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    try:
        connection.request(method, "/mcp", encoded, dict(headers or {}))
        return Stream(connection, connection.getresponse())
    except BaseException:
        connection.close()
        raise


class Client(LegacyPeer):
    """A client with a session; what names no port goes to the next process in turn."""

    def __init__(
        self,
        site: StreamSite,
        version: str = LEGACY,
        capabilities: Mapping[str, Any] = ASKABLE,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(self._send, headers)
        self.site = site
        handshake = {"protocolVersion": version, "capabilities": capabilities, "clientInfo": CLIENT_INFO}
        answer = self.request("initialize", handshake)
        assert answer.status == 200, answer.content
        self.headers |= {"Mcp-Session-Id": answer.headers["Mcp-Session-Id"], "MCP-Protocol-Version": version}
        accepted = self.notify("notifications/initialized")
        assert accepted.status == 202, (accepted.status, accepted.content)

    def send_to(self, port: int, message: Mapping[str, Any]) -> Stream:
        """Post a message to a process."""
        return open_stream(port, "POST", message, {**JSON_HEADERS, **self.headers})

    def start(self, port: int, tool: str, /, **arguments: Any) -> Stream:
        """Call a tool on a process."""
        return self.send_to(port, self.message("tools/call", {"name": tool, "arguments": arguments}))

    def reply(self, port: int, request: Mapping[str, Any], result: Any) -> int:
        """Answer a request of the server's at a process; the HTTP status."""
        with self.send_to(port, {"jsonrpc": "2.0", "id": request["id"], "result": result}) as answer:
            return answer.status

    def get(self, port: int, cursor: str | None = None) -> Stream:
        """Open the standalone stream at a process, or resume a stream at ``cursor``."""
        headers = {"Accept": "text/event-stream", **self.headers}
        return open_stream(port, "GET", None, headers | ({"Last-Event-ID": cursor} if cursor else {}))

    def _send(self, method: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        return read_answer(self.site.turn(), method, body, headers)


class ModernClient(ModernPeer):
    """A client without sessions."""

    def __init__(
        self,
        site: StreamSite,
        capabilities: Mapping[str, Any] = ASKABLE,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(self._send, headers)
        self.site = site
        self.capabilities = capabilities

    def message(self, method: str, params: Any = None) -> dict[str, Any]:
        message = super().message(method, params)
        envelope = message["params"]["_meta"]
        declared = {"io.modelcontextprotocol/clientCapabilities": self.capabilities}
        message["params"]["_meta"] = {**envelope, **declared}
        return message

    def send_to(self, port: int, message: Mapping[str, Any], *, seconds: float = READ_SECONDS) -> Stream:
        """Post a request to a process; ``seconds`` is how long the client waits for each byte of the answer."""
        headers = {**JSON_HEADERS, **self.headers, **self.routing(message)}
        return open_stream(port, "POST", message, headers, seconds=seconds)

    def start(self, port: int, tool: str, /, **arguments: Any) -> Stream:
        """Call a tool on a process."""
        return self.send_to(port, self.message("tools/call", {"name": tool, "arguments": arguments}))

    def listen(self, port: int, *uris: str) -> Stream:
        """Subscribe to resources at a process."""
        return self.send_to(
            port, self.message("subscriptions/listen", {"notifications": {"resourceSubscriptions": list(uris)}})
        )

    def _send(self, method: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        return read_answer(self.site.turn(), method, body, headers)


def read_answer(port: int, method: str, body: bytes, headers: Mapping[str, str]) -> Answer:
    """Send one request to a process and read all of its answer; an event stream's is its last message."""
    with open_stream(port, method, body, headers) as stream:
        if not stream.is_events:
            return Answer(stream.status, CaseInsensitiveMapping(stream.headers.items()), stream._response.read())
        return Answer(
            stream.status, CaseInsensitiveMapping(stream.headers.items()), json.dumps(stream.messages()[-1]).encode()
        )
