"""What the connections of one server share."""

from __future__ import annotations

import asyncio
from typing import Protocol

from uvicorn.server import ServerState

from sessions_dynamo.asgi_server.forwarded import Proxies
from sessions_dynamo.asgi_server.limits import Limits


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
        self.parting: set[asyncio.Transport] = set()
        """Connections that have had their last answer."""

    def make_room(self) -> bool:
        """Whether another connection may come; the longest idle one goes for it."""
        if len(self.connections) < self.limits.max_connections:
            return True
        if not self.idle:
            return False
        next(iter(self.idle)).close()
        return True
