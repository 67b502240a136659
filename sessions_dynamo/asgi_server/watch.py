"""Says when a handler blocks the loop: which, for how long, and how often."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
import traceback
from types import FrameType
from typing import Final

from sessions_dynamo import metrics

logger = logging.getLogger("sessions_dynamo.asgi_server")

TICK_SECONDS: Final = 0.25
BLOCKED_SECONDS: Final = 1.0
MAX_FRAMES: Final = 12


class LoopWatch:
    """A clock that the loop winds, and a thread that looks at it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """On the loop's own thread, where it runs."""
        self._loop = loop
        self._loop_thread = threading.get_ident()
        self._wound_at = time.monotonic()
        self._ended = threading.Event()
        self._timer = loop.call_soon(self._wind)
        threading.Thread(target=self._look, name="loop-watch", daemon=True).start()

    def end(self) -> None:
        """Look no longer."""
        self._ended.set()
        self._timer.cancel()

    def _wind(self) -> None:
        self._wound_at = time.monotonic()
        self._timer = self._loop.call_later(TICK_SECONDS, self._wind)

    def _look(self) -> None:
        blocked_since: float | None = None
        suspect: FrameType | None = None
        looked_at = time.monotonic()
        while not self._ended.wait(TICK_SECONDS):
            before, looked_at = looked_at, time.monotonic()
            wound_at, running = self._wound_at, None
            if blocked_since is not None:
                if wound_at != blocked_since:
                    logger.warning("The loop was blocked for %.1f s.", wound_at - blocked_since)
                    blocked_since = None
            # A thread that itself came late has seen a machine that stood still, not a handler.
            elif looked_at - wound_at > BLOCKED_SECONDS - TICK_SECONDS and looked_at - before < BLOCKED_SECONDS:
                running = _callback(sys._current_frames().get(self._loop_thread))
                # The same at two looks: not one of thousands that together take their time.
                if running is not None and running is suspect:
                    blocked_since = wound_at
                    self._accuse(looked_at - wound_at)
            suspect = running

    def _accuse(self, seconds: float) -> None:
        stack = traceback.extract_stack(sys._current_frames().get(self._loop_thread))[-MAX_FRAMES:]
        logger.warning("The loop is blocked since %.1f s:\n%s", seconds, "".join(traceback.format_list(stack)))
        metrics.count("LoopBlocked")


def _callback(frame: FrameType | None) -> FrameType | None:
    """The frame in which the loop runs one callback, or a step of a task; ``None`` between them."""
    while frame is not None and frame.f_code is not _RUN_CODE:
        frame = frame.f_back
    return frame


_RUN_CODE: Final = asyncio.Handle._run.__code__
