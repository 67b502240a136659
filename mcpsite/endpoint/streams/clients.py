"""The clients whose answers are under way: noticing those that left, and making room for calls.

An open response holds one of the server's threads, and a client that left is otherwise noticed only by writing to it.
"""

from __future__ import annotations

import select
import threading
from dataclasses import dataclass
from typing import Any

from mcpsite.endpoint.streams.outbox import Outbox
from mcpsite.endpoint.wire import sse


@dataclass(frozen=True, slots=True)
class _Client:
    socket: Any
    may_return: bool
    is_streaming: bool


class ClientWatch:
    """The answers under way in this process. Thread-safe."""

    def __init__(self, limit: int, retry_ms: int) -> None:
        self._limit = limit
        self._retry_ms = retry_ms
        self._clients: dict[Outbox, _Client] = {}
        self._stopping = False
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._clients)

    def expect(self, outbox: Outbox, socket: Any, *, may_return: bool) -> None:
        """Watch an answer that has not begun, and its client's socket (``None`` where the server shows none)."""
        self._watch(outbox, _Client(socket, may_return, is_streaming=False))

    def add(self, outbox: Outbox, socket: Any, *, may_return: bool) -> None:
        """Watch an answer that has begun to stream.

        ``may_return`` says that the client loses nothing if the response is closed: when all threads kept for
        streams are taken, the one that was quiet longest makes room.
        """
        self._watch(outbox, _Client(socket, may_return, is_streaming=True))
        with self._lock:
            crowded = sum(client.is_streaming for client in self._clients.values()) - self._limit
            quiet = sorted(
                (
                    other
                    for other, client in self._clients.items()
                    if client.is_streaming and client.may_return and other is not outbox
                ),
                key=lambda other: other.last_frame,
            )
        for other in quiet[: max(0, crowded)]:
            other.close(sse.retry(self._retry_ms))

    def discard(self, outbox: Outbox) -> None:
        """The answer ended."""
        with self._lock:
            self._clients.pop(outbox, None)

    def close_all(self) -> None:
        """The process is about to stop: let every client that may return do so elsewhere, now or once it streams."""
        with self._lock:
            self._stopping = True
            clients = dict(self._clients)
        for outbox, client in clients.items():
            self._send_away(outbox, client)

    def close_gone(self) -> None:
        """End the answers whose clients closed their connections."""
        with self._lock:
            clients = list(self._clients.items())
        sockets: dict[int, Outbox] = {}
        poll = select.poll()
        for outbox, client in clients:
            descriptor = -1 if client.socket is None else client.socket.fileno()
            if descriptor >= 0:
                sockets[descriptor] = outbox
                poll.register(descriptor, select.POLLRDHUP)
            elif client.socket is not None:
                # The server closed it, and never asked for the answer's first frame.
                outbox.gone()
        for descriptor, _ in poll.poll(0):
            sockets[descriptor].close()

    def _watch(self, outbox: Outbox, client: _Client) -> None:
        with self._lock:
            self._clients[outbox] = client
            stopping = self._stopping
        if stopping and client.is_streaming:
            self._send_away(outbox, client)

    def _send_away(self, outbox: Outbox, client: _Client) -> None:
        if not client.may_return:
            return
        if client.is_streaming:
            outbox.close(sse.retry(self._retry_ms))
        else:
            # As a stream it has an id to come back with.
            outbox.begin()
