"""The hand-off from the event loop to the one thread that writes a response."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from mcpsite.endpoint.wire import sse
from mcpsite.endpoint.wire.answers import Reply

MAX_FRAMES: Final = 1000
"""Frames that wait for a client that does not read; at more its connection is closed."""
MAX_BYTES: Final = 32 * 1024 * 1024
"""The same, of bytes."""


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
    """Frames of one response, in order. Written from any thread, read by one.

    ``on_gone`` is called from the reading thread when the response ends for whatever reason.
    """

    def __init__(self, on_gone: Callable[[], None] | None = None) -> None:
        self._items: queue.SimpleQueue[Item] = queue.SimpleQueue()
        self._on_gone = on_gone
        # Apart, because two threads count.
        self._bytes_put = self._bytes_taken = 0
        self.closed = False
        self.last_frame = time.monotonic()
        """When the newest frame was put (monotonic s): how idle the stream is."""

    def put(self, item: Item) -> bool:
        """Hand over a frame or an answer; ``False`` once the response has ended."""
        if self.closed:
            return False
        if self._items.qsize() >= MAX_FRAMES or self._bytes_put - self._bytes_taken > MAX_BYTES:
            self.close()
            return False
        self.last_frame = time.monotonic()
        if isinstance(item, bytes):
            self._bytes_put += len(item)
        self._items.put(item)
        return True

    def close(self, last_frame: bytes | None = None) -> None:
        """End the response after what was put."""
        if not self.closed:
            self.closed = True
            if last_frame is not None:
                self._items.put(last_frame)
            self._items.put(None)

    def begin(self) -> None:
        """Make the response an event stream now, if it is none."""
        self._items.put(Begin())

    def first(self, timeout: float) -> Item:
        """The first item; ``Begin`` where there is none for ``timeout`` seconds."""
        try:
            return self._take(timeout)
        except queue.Empty:
            return Begin()

    def gone(self) -> None:
        """The response ended."""
        self.closed = True
        if self._on_gone is not None:
            self._on_gone()

    def frames(
        self, keep_alive: float, first: bytes, *, seconds: float | None = None, farewell: bytes = b""
    ) -> Iterator[bytes]:
        """The body of a streaming response, with a comment whenever ``keep_alive`` seconds were silent.

        After ``seconds`` it ends with ``farewell``; what was put by then is still sent.
        """
        ends = None if seconds is None else time.monotonic() + seconds
        try:
            yield first
            while True:
                if ends is not None and time.monotonic() >= ends:
                    self.close(farewell)
                    ends = None
                wait = keep_alive if ends is None else min(keep_alive, max(0.0, ends - time.monotonic()))
                try:
                    item = self._take(wait)
                except queue.Empty:
                    if wait == keep_alive:
                        yield sse.KEEP_ALIVE
                    continue
                if isinstance(item, bytes):
                    yield item
                elif item is None:
                    return
        finally:
            self.gone()

    def _take(self, timeout: float) -> Item:
        item = self._items.get(timeout=timeout)
        if isinstance(item, bytes):
            self._bytes_taken += len(item)
        return item
