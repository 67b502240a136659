"""Servers on loopback that answer as they are told, byte by byte, and remember what they were asked."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
from binascii import crc32
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import responses
from typing import Any


@dataclass(frozen=True, slots=True)
class Seen:
    """A request; names of headers in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


Play = Callable[[socket.socket, Seen], bool]
"""Answers one request; whether the connection stays open for another."""


class Server:
    """Plays a script, one part for each request, the last one for all that follow."""

    def __init__(self, *script: Play, tls: ssl.SSLContext | None = None) -> None:
        self.script = list(script)
        self.seen: list[Seen] = []
        self.connections = 0
        self.open: set[socket.socket] = set()
        self.released = threading.Event()
        self._tls = tls
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self.released.set()
        self._listener.close()
        self.drop_connections()

    def drop_connections(self) -> None:
        """Close every connection, idle ones too."""
        for connection in list(self.open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError):
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with self._lock:
                self.connections += 1
                self.open.add(connection)
            try:
                with connection, connection.makefile("rb") as lines:
                    while (seen := _read(lines)) is not None:
                        with self._lock:
                            self.seen.append(seen)
                            play = self.script[min(len(self.seen), len(self.script)) - 1]
                        if not play(connection, seen):
                            return
            finally:
                self.open.discard(connection)


@contextmanager
def serving(*script: Play, tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    """A server that plays these, until the end of the block."""
    server = Server(*script, tls=tls)
    try:
        yield server
    finally:
        server.close()


def _read(lines: Any) -> Seen | None:
    first = lines.readline().decode()
    if not first:
        return None
    method, target, _ = first.split(" ", 2)
    headers = {}
    while (line := lines.readline().decode().strip()) != "":
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return Seen(method, target, headers, lines.read(int(headers.get("content-length", 0))))


def answer(body: dict[str, Any] | bytes = b"{}", status: int = 200, *, crc: str | None = "", **headers: str) -> bytes:
    """An HTTP answer as DynamoDB gives it; ``crc=None`` leaves the checksum out."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = {
        "x-amzn-RequestId": "AN-ID",
        "Content-Type": "application/x-amz-json-1.0",
        "Content-Length": str(len(content)),
    }
    if crc is not None:
        lines["x-amz-crc32"] = crc or str(crc32(content))
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = f"HTTP/1.1 {status} {responses[status]}\r\n" + "".join(f"{k}: {v}\r\n" for k, v in lines.items())
    return head.encode() + b"\r\n" + content


def error(code: str, status: int = 400, *, message: str = "no", **members: Any) -> bytes:
    """An error of DynamoDB."""
    body = {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": message, **members}
    return answer(body, status)


def sends(data: bytes) -> Play:
    """Answers, and keeps the connection."""

    def play(connection: socket.socket, _: Seen) -> bool:
        connection.sendall(data)
        return True

    return play


def trickles(data: bytes) -> Play:
    """Answers a byte at a time, and keeps the connection."""

    def play(connection: socket.socket, _: Seen) -> bool:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for end in range(len(data)):
            connection.sendall(data[end : end + 1])
        return True

    return play


def cuts(data: bytes = b"") -> Play:
    """Sends this much, then closes."""

    def play(connection: socket.socket, _: Seen) -> bool:
        connection.sendall(data)
        return False

    return play


def resets(connection: socket.socket, _: Seen) -> bool:
    """Breaks the connection off."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


def stalls(data: bytes = b"") -> Play:
    """Sends this much, then nothing, until the client closes."""

    def play(connection: socket.socket, _: Seen) -> bool:
        connection.sendall(data)
        while connection.recv(1024):
            pass
        return False

    return play
