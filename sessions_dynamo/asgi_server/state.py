"""What the connections of one server share."""

from __future__ import annotations

import asyncio
import logging
import time
from itertools import islice
from typing import Final, Protocol

from uvicorn.server import ServerState

from sessions_dynamo.asgi_server.forwarded import Proxies
from sessions_dynamo.asgi_server.limits import Limits

logger = logging.getLogger("sessions_dynamo.asgi_server")

FULL_LOG_SECONDS: Final = 60.0
MAX_LOOKS: Final = 32


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
        self.idle: dict[Connection, float] = {}
        """Connections without a request, the longest idle first, and since when one may be closed for another."""
        self._said_full_at = float("-inf")
        self.parting: set[asyncio.Transport] = set()
        """Connections that have had their last answer."""

    def make_room(self) -> bool:
        """Whether another connection may come; the longest idle one goes for it. On the loop."""
        if len(self.connections) < self.limits.max_connections:
            return True
        now = asyncio.get_running_loop().time()
        for connection, since in islice(self.idle.items(), MAX_LOOKS):
            if since <= now:
                connection.close()
                return True
        self._say_full()
        return False

    def _say_full(self) -> None:
        if time.monotonic() - self._said_full_at >= FULL_LOG_SECONDS:
            self._said_full_at = time.monotonic()
            most = self.limits.max_connections
            logger.warning("All of %d connections have a request under way: newcomers are answered 503.", most)
