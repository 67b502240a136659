"""The same tools behind the SDK's own Streamable HTTP, in one process: a client that fails there too has its own fault.

What needs the site's tables has a stand-in in memory, under the same name. ``python -m tests.clients.reference PORT``
"""

from __future__ import annotations

import secrets
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

import uvicorn
from mcp.server.context import ServerRequestContext
from mcp.server.mcpserver import Context, MCPServer
from mcp_types import EmptyResult, SetLevelRequestParams

from tests.clients.tools import add_tools

mcp: MCPServer[Any] = MCPServer("clients")

_levels: dict[str, str] = {}
_state: defaultdict[str, dict[str, Any]] = defaultdict(dict)
_counts: Counter[tuple[str, str]] = Counter()


async def _set_level(ctx: ServerRequestContext[Any, Any], params: SetLevelRequestParams) -> EmptyResult:
    """The SDK leaves the method to the server, and filters nothing by it."""
    _levels[_session_id(getattr(ctx.request, "headers", None))] = params.level
    return EmptyResult()


def _session_id(headers: Mapping[str, str] | None) -> str:
    return (headers or {}).get("mcp-session-id", "")


add_tools(mcp, lambda ctx: _session_id(ctx.headers) not in _levels)


def _session(ctx: Context, handle: str | None) -> str:
    """The client's own session, or the handle that it was given, or a new one."""
    return _session_id(ctx.headers) or handle or secrets.token_urlsafe(16)


def _counted(session_id: str, name: str) -> int:
    _counts[session_id, name] += 1
    return _counts[session_id, name]


@mcp.tool()
def store_app_state(key: str, data: Any, ctx: Context, session_id: str | None = None) -> dict[str, Any]:
    """Keeps a value."""
    session = _session(ctx, session_id)
    _state[session][key] = data
    return {"stored": True, "key": key, "data": data, "session_id": session}


@mcp.tool()
def get_app_state(key: str, ctx: Context, session_id: str | None = None) -> dict[str, Any]:
    """Reads a value."""
    kept = _state[_session(ctx, session_id)]
    return {"found": key in kept, "key": key, "data": kept.get(key)}


@mcp.tool()
def lambda_operation(operation: str, input: Any, ctx: Context, session_id: str | None = None) -> dict[str, Any]:
    """Counts the runs of an operation."""
    session = _session(ctx, session_id)
    return {"execution_count": _counted(session, operation), "result": {"input": input}, "session_id": session}


@mcp.tool()
def dynamodb_info(session_id: str | None = None) -> dict[str, Any]:
    """There is no table here."""
    return {"tables": []}


@mcp.tool()
def global_state(region: str, data: Any, ctx: Context, session_id: str | None = None) -> dict[str, Any]:
    """Keeps a value for a region."""
    session = _session(ctx, session_id)
    _state[session][region] = data
    return {"stored": True, "region": region, "data": data, "session_id": session}


@mcp.tool()
def count(ctx: Context, session_id: str | None = None) -> dict[str, Any]:
    """Counts the calls of a session."""
    session = _session(ctx, session_id)
    return {"count": _counted(session, "count"), "session_id": session}


def main(port: int) -> None:
    app = mcp.streamable_http_app()
    mcp.session_manager.app.add_request_handler("logging/setLevel", SetLevelRequestParams, _set_level)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    main(int(sys.argv[1]))
