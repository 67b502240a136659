"""What one response has yet to send: put there by handlers and streams, taken by the task that writes to the client."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Final

from mcpsite.endpoint.wire import sse
from mcpsite.endpoint.wire.answers import Reply

MAX_FRAMES: Final = 1000
"""Frames that wait for a client that does not read; at more its connection is closed."""
MAX_BYTES: Final = 8 * 1024 * 1024
"""The same, of bytes."""
PACE_FRAMES: Final = 100
"""Frames that wait before who can wait keeps the client's pace."""
PACE_BYTES: Final = 1024 * 1024
"""The same, of bytes."""
PACE_SECONDS: Final = 1.0
"""A client that takes nothing for so long holds nobody up."""
_LOOK_SECONDS: Final = 0.005


@dataclass(frozen=True, slots=True)
class Answer:
    """The whole answer as one JSON body."""

    reply: Reply
    body: str


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong before there was an answer."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class Begin:
    """The answer is to be a stream, whatever its handler does."""


Item = bytes | Answer | Failure | Begin | None


class Outbox:
    """Frames of one response, in order: never in the way of who puts them, and taken by one task.

    ``on_gone`` is called when the response ends for whatever reason; ``farewell`` goes before an end after which its
    client is to come back.
    """

    __slots__ = ("_bytes", "_farewell", "_is_gone", "_items", "_on_gone", "_taken_at", "_taker", "closed", "last_frame")

    def __init__(self, on_gone: Callable[[], None] | None = None, farewell: bytes = b"") -> None:
        self._farewell = farewell
        self._items: deque[Item] = deque()
        self._bytes = 0
        self._taker: asyncio.Future[None] | None = None
        self._on_gone = on_gone
        self._is_gone = False
        self.closed = False
        self.last_frame = time.monotonic()
        """When the newest frame was put (monotonic s): how idle the stream is."""
        self._taken_at = self.last_frame

    def put(self, item: Item) -> bool:
        """Hand over a frame or an answer; ``False`` once the response has ended."""
        if self.closed:
            return False
        if len(self._items) >= MAX_FRAMES or self._bytes > MAX_BYTES:
            self.close()
            return False
        self.last_frame = time.monotonic()
        if not self._items:
            self._taken_at = self.last_frame
        self._put(item)
        return True

    async def paced(self) -> None:
        """Wait while much waits for a client that is taking it."""
        while len(self._items) > PACE_FRAMES or self._bytes > PACE_BYTES:
            if self.closed or time.monotonic() - self._taken_at > PACE_SECONDS:
                return
            await asyncio.sleep(_LOOK_SECONDS)

    def close(self, last_frame: bytes | None = None) -> None:
        """End the response after what was put."""
        if not self.closed:
            self.closed = True
            if last_frame is not None:
                self._put(last_frame)
            self._put(None)

    def send_away(self) -> None:
        """End the response after what was put, for its client to come back."""
        self.close(self._farewell or None)

    def begin(self) -> None:
        """Make the response an event stream now, if it is none."""
        self._put(Begin())

    @property
    def waiting(self) -> int:
        """How much waits to be taken."""
        return len(self._items)

    def take(self) -> Item:
        """What was put first of what waits; ``None`` is the end. Raises ``IndexError`` where nothing waits."""
        item = self._items.popleft()
        self._taken_at = time.monotonic()
        if isinstance(item, bytes):
            self._bytes -= len(item)
        return item

    async def first(self, timeout: float) -> Item:
        """The first item; ``Begin`` where there is none for ``timeout`` seconds."""
        try:
            return await self._take(timeout)
        except TimeoutError:
            return Begin()

    def gone(self) -> None:
        """The response ended."""
        self.closed = True
        if not self._is_gone:
            self._is_gone = True
            if self._on_gone is not None:
                self._on_gone()

    async def frames(self, keep_alive: float, first: bytes, *, seconds: float | None = None) -> AsyncGenerator[bytes]:
        """The body of a streaming response, with a comment whenever ``keep_alive`` seconds were silent.

        After ``seconds`` its client is sent away; what was put by then is still sent.
        """
        ends = None if seconds is None else time.monotonic() + seconds
        try:
            yield first
            while True:
                if ends is not None and time.monotonic() >= ends:
                    self.send_away()
                    ends = None
                wait = keep_alive if ends is None else min(keep_alive, max(0.0, ends - time.monotonic()))
                try:
                    item = await self._take(wait)
                except TimeoutError:
                    if wait == keep_alive:
                        yield sse.KEEP_ALIVE
                    continue
                if isinstance(item, bytes):
                    yield item
                elif item is None:
                    return
        finally:
            self.gone()

    def _put(self, item: Item) -> None:
        if isinstance(item, bytes):
            self._bytes += len(item)
        self._items.append(item)
        if self._taker is not None and not self._taker.done():
            self._taker.set_result(None)

    async def _take(self, timeout: float) -> Item:
        if not self._items:
            loop = asyncio.get_running_loop()
            self._taker = taker = loop.create_future()
            # A timer and a future, no task and no scope: thousands of streams wait here.
            timer = loop.call_later(timeout, _wake, taker)
            try:
                await taker
            finally:
                timer.cancel()
                self._taker = None
            if not self._items:
                raise TimeoutError
        return self.take()


def _wake(taker: asyncio.Future[None]) -> None:
    if not taker.done():
        taker.set_result(None)
