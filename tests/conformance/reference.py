"""The same fixture behind the SDK's own Streamable HTTP, in one process: what our endpoint is compared with.

``python -m tests.conformance.reference PORT``
"""

from __future__ import annotations

import itertools
import sys
from typing import Any

import uvicorn
from mcp.server.context import ServerRequestContext
from mcp.server.streamable_http import EventCallback, EventMessage, EventStore
from mcp_types import (
    EmptyResult,
    JSONRPCMessage,
    SetLevelRequestParams,
    SubscribeRequestParams,
    UnsubscribeRequestParams,
)

from tests.conformance.server import mcp

RETRY_MS = 100


class MemoryEvents(EventStore):
    """What the SDK asks of whoever wants streams that can be resumed."""

    def __init__(self) -> None:
        self._events: dict[str, tuple[str, JSONRPCMessage | None]] = {}
        self._numbers = itertools.count(1)

    async def store_event(self, stream_id: str, message: JSONRPCMessage | None) -> str:
        event_id = str(next(self._numbers))
        self._events[event_id] = (stream_id, message)
        return event_id

    async def replay_events_after(self, last_event_id: str, send_callback: EventCallback) -> str | None:
        if last_event_id not in self._events:
            return None
        stream_id = self._events[last_event_id][0]
        for event_id, (stream, message) in list(self._events.items()):
            if stream == stream_id and message is not None and int(event_id) > int(last_event_id):
                await send_callback(EventMessage(message, event_id))
        return stream_id


async def accept(ctx: ServerRequestContext[Any, Any], params: object) -> EmptyResult:
    """The SDK leaves these three methods to the server; here nothing is logged below a level or ever updated."""
    return EmptyResult()


def main(port: int) -> None:
    app = mcp.streamable_http_app(event_store=MemoryEvents(), retry_interval=RETRY_MS)
    server = mcp.session_manager.app
    server.add_request_handler("logging/setLevel", SetLevelRequestParams, accept)
    server.add_request_handler("resources/subscribe", SubscribeRequestParams, accept)
    server.add_request_handler("resources/unsubscribe", UnsubscribeRequestParams, accept)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    main(int(sys.argv[1]))
