"""The clients whose answers are under way in this process: where they are to go when it is full, or stops."""

from __future__ import annotations

from dataclasses import dataclass

from mcpsite.endpoint.streams.outbox import Outbox


@dataclass(slots=True)
class _Client:
    may_return: bool
    is_streaming: bool = False


class Clients:
    """The answers under way. ``may_return`` says that a client loses nothing if its response is closed."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._clients: dict[Outbox, _Client] = {}
        self._streaming = 0
        self._stopping = False

    def __len__(self) -> int:
        return len(self._clients)

    @property
    def streaming(self) -> int:
        """Answers that are open event streams."""
        return self._streaming

    def expect(self, outbox: Outbox, *, may_return: bool) -> None:
        """An answer that has not begun."""
        self._clients[outbox] = _Client(may_return)

    def add(self, outbox: Outbox, *, may_return: bool) -> None:
        """An answer that has begun to stream: over the limit, the one that was quiet longest makes room."""
        client = self._clients.setdefault(outbox, _Client(may_return))
        if not client.is_streaming:
            client.is_streaming = True
            self._streaming += 1
        if self._stopping:
            self._send_away(outbox, client)
        elif self._streaming > self._limit:
            others = (
                other
                for other, client in self._clients.items()
                if client.is_streaming and client.may_return and other is not outbox and not other.closed
            )
            if (quiet := min(others, key=lambda other: other.last_frame, default=None)) is not None:
                quiet.send_away()

    def discard(self, outbox: Outbox) -> None:
        """The answer ended."""
        client = self._clients.pop(outbox, None)
        if client is not None and client.is_streaming:
            self._streaming -= 1

    def close_all(self) -> None:
        """The process is about to stop: let every client that may return do so elsewhere, now or once it streams."""
        self._stopping = True
        self.send_away()

    def send_away(self) -> None:
        """Let every client that may return do so, now or once it streams."""
        for outbox, client in list(self._clients.items()):
            self._send_away(outbox, client)

    def _send_away(self, outbox: Outbox, client: _Client) -> None:
        if not client.may_return:
            return
        if client.is_streaming:
            outbox.send_away()
        else:
            # As a stream it has an id to come back with.
            outbox.begin()
