"""ASGI's lifespan: the served server's is entered before the first request, and left after the last."""

from __future__ import annotations

import gc
import logging

from mcpsite.door.request import Receive
from mcpsite.door.short_door import Application, Scope, Send
from mcpsite.endpoint.loop import begun_loop, close_loop, current_loop
from sessions_dynamo.asgi_server.lifespan import RELEASE_CLIENTS, STOP_AT
from sessions_dynamo.dataplane.loops import start_plane_of_this_loop

logger = logging.getLogger(__name__)


class Lifespan:
    """An ASGI application that answers for the lifespan, and passes on all else."""

    def __init__(self, application: Application) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one scope (ASGI 3.0)."""
        if scope["type"] != "lifespan":
            await self._application(scope, receive, send)
            return
        await receive()
        try:
            await current_loop()
        except BaseException as exc:
            logger.exception("the served MCP server's lifespan failed")
            await send({"type": "lifespan.startup.failed", "message": f"{type(exc).__name__}: {exc}"})
            if not isinstance(exc, Exception):
                raise
            return
        start_plane_of_this_loop()
        if "state" in scope:
            # Called first of all when the server is told to stop.
            scope["state"][RELEASE_CLIENTS] = release_clients
        # What was made until now lives as long as the process: the collector need not look at it, with every stream.
        gc.collect()
        gc.freeze()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        release_clients()
        await close_loop(by=scope.get("state", {}).get(STOP_AT))
        await send({"type": "lifespan.shutdown.complete"})


def release_clients() -> None:
    """Send the clients of open streams elsewhere, before this process stops."""
    if (serving := begun_loop()) is not None:
        serving.release_clients()
