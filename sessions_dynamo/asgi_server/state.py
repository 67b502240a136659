"""What the connections of one server share."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Final, Protocol

from uvicorn.server import ServerState

from sessions_dynamo.asgi_server.forwarded import Proxies
from sessions_dynamo.asgi_server.limits import Limits

logger = logging.getLogger("sessions_dynamo.asgi_server")

FULL_LOG_SECONDS: Final = 60.0


class Connection(Protocol):
    """A client's connection, as far as its neighbours need it."""

    def close(self) -> None:
        """Close it."""


class State(ServerState):
    """uvicorn's, with the limits, and the connections by what they wait for."""

    def __init__(self, limits: Limits, proxies: Proxies) -> None:
        super().__init__()
        self.limits = limits
        self.proxies = proxies
        self.stopping = False
        self.idle: dict[Connection, None] = {}
        """Connections without a request, the longest idle first."""
        self._said_full_at = float("-inf")
        self.parting: set[asyncio.Transport] = set()
        """Connections that have had their last answer."""

    def make_room(self) -> bool:
        """Whether another connection may come; the longest idle one goes for it."""
        if len(self.connections) < self.limits.max_connections:
            return True
        if not self.idle:
            self._say_full()
            return False
        next(iter(self.idle)).close()
        return True

    def _say_full(self) -> None:
        if time.monotonic() - self._said_full_at >= FULL_LOG_SECONDS:
            self._said_full_at = time.monotonic()
            most = self.limits.max_connections
            logger.warning("All of %d connections have a request under way: newcomers are answered 503.", most)
