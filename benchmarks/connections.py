"""HTTP/1.1 over asyncio with as little cost as can be: one message read, and one connection that is kept."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

_LINGER_NOT = socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)


class ConnectionGone(Exception):
    """The other side closed before a whole message."""


@dataclass(frozen=True, slots=True)
class Message:
    """A request or an answer; header names in lower case, the body whole and without chunks."""

    first: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def status(self) -> int:
        return int(self.first.split(" ", 2)[1])

    def encode(self) -> bytes:
        """As it is sent, with its length."""
        headers = {name: value for name, value in self.headers.items() if name != "transfer-encoding"}
        headers["content-length"] = str(len(self.body))
        head = "".join([f"{self.first}\r\n", *(f"{name}: {value}\r\n" for name, value in headers.items()), "\r\n"])
        return head.encode("latin-1") + self.body


async def read_head(reader: asyncio.StreamReader) -> Message:
    """What stands before a body; raises ``ConnectionGone``."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, OSError) as exc:
        raise ConnectionGone from exc
    first, *lines = head[:-4].decode("latin-1").split("\r\n")
    parted = (line.partition(":") for line in lines)
    return Message(first, {name.lower(): value.strip() for name, _, value in parted}, b"")


async def read_message(reader: asyncio.StreamReader) -> Message:
    """The next message to its end; raises ``ConnectionGone``."""
    head = await read_head(reader)
    try:
        if head.headers.get("transfer-encoding") == "chunked":
            body = await _chunks(reader)
        else:
            body = await reader.readexactly(int(head.headers.get("content-length", 0)))
    except (asyncio.IncompleteReadError, OSError) as exc:
        raise ConnectionGone from exc
    return Message(head.first, head.headers, body)


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    parts = []
    while size := int(await reader.readuntil(b"\r\n"), 16):
        parts.append((await reader.readexactly(size + 2))[:-2])
    await reader.readexactly(2)
    return b"".join(parts)


class Connection:
    """A connection to one server, opened when it is needed; not for two requests at once."""

    def __init__(self, url: str, source: str | None = None) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._address = parts.hostname, parts.port
        self._path = parts.path or "/"
        self._source = (source, 0) if source else None
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect, unless it is connected."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._address, local_addr=self._source)
        return self._streams

    async def send(self, method: str, headers: str, body: bytes = b"") -> asyncio.StreamReader:
        """Write a request; ``headers`` are whole lines. The answer comes from the reader."""
        reader, writer = await self.open()
        host, port = self._address
        head = f"{method} {self._path} HTTP/1.1\r\nHost: {host}:{port}\r\n{headers}"
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        writer.write(f"{head}{length}\r\n".encode("latin-1") + body)
        return reader

    async def request(self, method: str, headers: str = "", body: bytes = b"") -> Message:
        """An answer, read to its end; raises ``ConnectionGone``."""
        answer = await read_message(await self.send(method, headers, body))
        if answer.headers.get("connection", "").lower() == "close":
            self.close()
        return answer

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    def abort(self) -> None:
        """End it by RST: what a client does that dies."""
        if self._streams is not None:
            transport = self._streams[1].transport
            transport.get_extra_info("socket").setsockopt(*_LINGER_NOT)
            transport.abort()
            self._streams = None
