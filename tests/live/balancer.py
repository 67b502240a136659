"""An HTTP balancer for tests that never sends two requests down one connection, nor knows a session.

Each request goes over a fresh connection to the next process in turn, byte for byte but for its ``Connection`` header;
what comes back is passed on as it comes. A process that refuses the connection is skipped; one that dies in the middle
of an answer takes the client's connection with it.
"""

from __future__ import annotations

import re
import select
import socket
import threading
from collections.abc import Iterable
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

CONNECT_SECONDS: Final = 1.0
LINGER_SECONDS: Final = 1.0
MAX_HEAD_BYTES: Final = 64 * 1024
_CHUNK_BYTES: Final = 64 * 1024

# Of one connection, not of the request (RFC 9110, section 7.6.1).
_HOP_BY_HOP: Final = re.compile(rb"(?im)^(?:connection|keep-alive|proxy-connection):[^\r\n]*\r\n")
_UNAVAILABLE: Final = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Balancer:
    """Listens on loopback, from its making until ``close``; a thread for each connection."""

    def __init__(self, backends: Iterable[int], port: int = 0) -> None:
        self._lock = threading.Lock()
        self._backends = list(backends)
        self._turn = 0
        self._connections: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", port), backlog=512)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, name="balancer", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def add(self, backend: int) -> None:
        """Send requests to a port too; no effect where it is in turn already."""
        with self._lock:
            if backend not in self._backends:
                self._backends.append(backend)

    def remove(self, backend: int) -> None:
        """Send no further request to a port; those under way go on."""
        with self._lock, suppress(ValueError):
            self._backends.remove(backend)

    def cut(self) -> None:
        """Cut every connection that is open, as a network does, and take new ones."""
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Stop listening and cut every connection."""
        # A thread in accept() does not notice that its socket is closed; it does notice a shutdown.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            self._track(client)
            try:
                head, rest = _read_head(client)
                if not head:
                    return
                backend = self._connect()
                if backend is None:
                    client.sendall(_UNAVAILABLE)
                    return
                with backend:
                    self._track(backend)
                    try:
                        backend.sendall(head + rest)
                        _relay(client, backend)
                    finally:
                        self._forget(backend)
            finally:
                self._forget(client)

    def _connect(self) -> socket.socket | None:
        """A connection to the next process that takes one."""
        with self._lock:
            turn, backends = self._turn, list(self._backends)
            self._turn += 1
        for i in range(len(backends)):
            port = backends[(turn + i) % len(backends)]
            with suppress(OSError):
                return socket.create_connection(("127.0.0.1", port), timeout=CONNECT_SECONDS)
        return None

    def _track(self, connection: socket.socket) -> None:
        connection.settimeout(None)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._connections.add(connection)

    def _forget(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.discard(connection)


def _read_head(client: socket.socket) -> tuple[bytes, bytes]:
    """A request's head, told to close its connection afterwards, and what came behind it; empty when none came."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = client.recv(_CHUNK_BYTES)
        if not more or len(data) > MAX_HEAD_BYTES:
            return b"", b""
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    line, _, headers = (head + b"\r\n").partition(b"\r\n")
    return line + b"\r\n" + _HOP_BY_HOP.sub(b"", headers) + b"Connection: close\r\n\r\n", rest


def _relay(client: socket.socket, backend: socket.socket) -> None:
    """Pass bytes both ways until either side is done."""
    poll = select.poll()
    for connection in (client, backend):
        poll.register(connection, select.POLLIN)
    while True:
        for descriptor, _ in poll.poll():
            if descriptor == client.fileno():
                sent = client.recv(_CHUNK_BYTES)
                if not sent:
                    return
                try:
                    backend.sendall(sent)
                except OSError:
                    # It answered without reading to the end, as to a body that is too large: the answer counts.
                    poll.unregister(client)
            else:
                answered = backend.recv(_CHUNK_BYTES)
                if not answered:
                    _finish(client)
                    return
                client.sendall(answered)


def _finish(client: socket.socket) -> None:
    """Say that this is the end, and let the client read it: closed with bytes unread, a socket resets its peer."""
    client.shutdown(socket.SHUT_WR)
    client.settimeout(LINGER_SECONDS)
    while client.recv(_CHUNK_BYTES):
        pass
