"""The same tools behind the SDK's own Streamable HTTP, in one process: a client that fails there too has its own fault.

What needs the site's tables has a stand-in in memory, under the same name. ``python -m tests.clients.reference PORT``
"""

from __future__ import annotations

import secrets
import sys
from collections import Counter, defaultdict
from typing import Any

import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp_types import SetLevelRequestParams

from tests.clients.tools import add_tools
from tests.conformance.reference import accept

mcp: MCPServer[Any] = MCPServer("clients")
add_tools(mcp)

_state: defaultdict[str, dict[str, Any]] = defaultdict(dict)
_counts: Counter[tuple[str, str]] = Counter()


def _session(ctx: Context, handle: str | None) -> str:
    """The client's own session, or the handle that it was given, or a new one."""
    return (ctx.headers or {}).get("mcp-session-id") or handle or secrets.token_urlsafe(16)


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
    mcp.session_manager.app.add_request_handler("logging/setLevel", SetLevelRequestParams, accept)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    main(int(sys.argv[1]))
