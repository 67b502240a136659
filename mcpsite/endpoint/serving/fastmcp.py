"""FastMCP's server object: what its own HTTP application would give its handlers, and a state that all workers see.

What ``ctx.set_state`` keeps goes through FastMCP's own seam, ``session_state_store``, which is memory otherwise.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from typing import Any, Final

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.lowlevel import Server
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from mcpsite.endpoint.server_object.loading import is_fastmcp
from sessions_dynamo import schema
from sessions_dynamo.key_value.store import DynamoDBKeyValue

_PREFIX: Final = "_fastmcp_state_prefix"
"""Where FastMCP keeps what its keys begin with, in the state of the SDK's connection."""


def serve_fastmcp(target: Any, server: Server[Any]) -> None:
    """Make FastMCP's server object fit for many workers."""
    for each in _with_mounted(target, set()):
        # One that was given a store of its own keeps it.
        if each._state_storage is None:
            each._state_storage = DynamoDBKeyValue()
    if as_over_http not in server.middleware:
        # Before FastMCP's own, which begins its context.
        server.middleware.insert(0, as_over_http)


async def as_over_http(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """Middleware: says by which transport a message came, and whose state it may reach.

    FastMCP takes an ``Mcp-Session-Id`` that a client without sessions made up for the begin of its keys.
    """
    context = sys.modules["fastmcp.server.context"]
    connection = ctx.session._connection
    if ctx.protocol_version in MODERN_PROTOCOL_VERSIONS:
        connection.state[_PREFIX] = _callers(getattr(ctx.request, "principal", ""))
    token = context.set_transport("streamable-http")
    try:
        return await call_next(ctx)
    finally:
        context.reset_transport(token)


def _callers(principal: str) -> str:
    """What the keys of a caller without a session begin with: its own, or for the public each request's."""
    if not principal:
        return schema.new_session_id()
    return f"caller.{hashlib.sha256(principal.encode()).hexdigest()}"


def _with_mounted(target: Any, seen: set[int]) -> Iterator[Any]:
    """A server and those mounted on it, each with a state of its own."""
    if id(target) in seen:
        return
    seen.add(id(target))
    yield target
    for provider in target.providers:
        # Renaming wraps a provider in another.
        while (inner := getattr(provider, "_inner", None)) is not None:
            provider = inner
        if is_fastmcp(mounted := getattr(provider, "server", None)):
            yield from _with_mounted(mounted, seen)
