"""The answer to one request of 2026-07-28: frames that nobody stores; a client that leaves cancels its request."""

from __future__ import annotations

from collections.abc import Callable

from mcpsite.endpoint.streams.outbox import Answer, Outbox
from mcpsite.endpoint.wire import sse
from mcpsite.endpoint.wire.answers import Reply


class TransientStream:
    """One answer in the making, on the event loop."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._opened = False
        self._finished = False

    async def open(self) -> bool:
        """Make the answer an event stream, unless it was given; whether it is one."""
        self._opened = self._opened or not (self._finished or self._outbox.closed)
        return self._opened

    def serve(self, cancel: Callable[[], None]) -> None:
        """Its handler runs; nobody but its client ends it."""

    async def emit(self, data: str) -> None:
        """Send one message, at the pace of a client that takes them: it cannot come back for what it missed."""
        if not self._finished:
            self._opened = True
            self._outbox.put(sse.message(data))
            await self._outbox.paced()

    async def finish(self, reply: Reply, body: str) -> None:
        """Answer: one JSON body, or the stream's last message."""
        self._finished = True
        if self._opened:
            self._outbox.close(sse.message(body))
        else:
            self._outbox.put(Answer(reply, body))

    def close_response(self) -> None:
        """Send nothing more."""
        self._outbox.close()
