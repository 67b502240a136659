"""The ASGI lifespan of the application, and what server and application agree on through its state.

``RELEASE_CLIENTS``: the application may put a callable there during startup; the server calls it on the loop, once, as
its first act of stopping, so that open streams end and hold nothing up. ``STOP_AT``: from then on, the loop's time at
which the lifespan's shutdown is cut off; whoever kills the process does so soon after.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

from uvicorn.config import Config

RELEASE_CLIENTS: Final = "mcpsite.release_clients"
STOP_AT: Final = "mcpsite.stop_at"

logger = logging.getLogger("sessions_dynamo.asgi_server")


class Lifespan:
    """Enters the application's lifespan and leaves it.

    uvicorn's ``auto`` takes any error of a startup for an application without a lifespan, and serves. Here that is only
    one that fails before it asked for its first event, and only where ``config.lifespan`` is ``auto``.
    """

    def __init__(self, config: Config) -> None:
        self.state: dict[str, Any] = {}
        self.should_exit = False
        """The application cannot serve."""
        self._config = config
        self._events: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        self._answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._asked = False
        self._task: asyncio.Task[None] | None = None

    async def startup(self) -> None:
        """Return once the application is ready, has no lifespan, or cannot start: ``should_exit``."""
        self._task = asyncio.get_running_loop().create_task(self._run())
        answer = await self._tell("lifespan.startup")
        if answer is None:
            self._task = None
            if self._asked or self._config.lifespan == "on":
                self._refuse("it ended at once")
        elif answer["type"] == "lifespan.startup.failed":
            self._refuse(answer.get("message", ""))

    async def shutdown(self) -> None:
        """Return once the application has ended what it does; how that went is logged."""
        if self._task is None or self._task.done():
            return
        answer = await self._tell("lifespan.shutdown")
        if answer is not None and answer["type"] == "lifespan.shutdown.failed":
            logger.error("The application's shutdown failed. %s", answer.get("message", ""))

    async def _tell(self, event: str) -> dict[str, Any] | None:
        """Send an event; the application's answer, or ``None`` if it ended without one."""
        assert self._task is not None
        self._events.put_nowait({"type": event})
        answer = asyncio.ensure_future(self._answers.get())
        try:
            await asyncio.wait({answer, self._task}, return_when=asyncio.FIRST_COMPLETED)
            # It may have answered and ended in one step.
            if not answer.done() and not self._answers.empty():
                await answer
            return answer.result() if answer.done() else None
        finally:
            answer.cancel()

    async def _run(self) -> None:
        scope: Any = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        app: Any = self._config.loaded_app
        try:
            await app(scope, self._receive, self._send)
        except Exception as exc:
            if self._asked or self._config.lifespan == "on":
                logger.error("The application's lifespan failed.", exc_info=exc)

    async def _receive(self) -> dict[str, str]:
        self._asked = True
        return await self._events.get()

    async def _send(self, message: dict[str, Any]) -> None:
        self._answers.put_nowait(message)

    def _refuse(self, reason: str) -> None:
        logger.error("The application did not start. %s", reason)
        self.should_exit = True
