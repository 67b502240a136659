"""A response that is a stream of server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Final

from django.http import StreamingHttpResponse

CONTENT_TYPE: Final = "text/event-stream"


class EventStream(StreamingHttpResponse):
    """A response whose frames are taken from ``frames`` itself by whoever can close it in the task that reads it.

    Django's own iterators leave an asynchronous generator to be closed later, by another task.
    """

    def __init__(self, frames: AsyncGenerator[bytes], gone: Callable[[], None]) -> None:
        """``gone`` is called on the running loop once the response ended, whether any frame of it was taken or not;
        perhaps more than once."""
        super().__init__(frames, content_type=CONTENT_TYPE)
        self.frames = frames
        self.gone = gone
        self._loop = asyncio.get_running_loop()
        self["Cache-Control"] = "no-cache, no-transform"
        self["X-Accel-Buffering"] = "no"

    def close(self) -> None:
        """The response ended, perhaps before any frame was taken."""
        if not self._loop.is_closed():
            # Django's own handler calls this in a thread.
            self._loop.call_soon_threadsafe(self.gone)
        super().close()
