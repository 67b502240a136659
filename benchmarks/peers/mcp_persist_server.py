"""mcp-persist over Redis, its sessions durable and its events stored, under uvicorn: ``-m … PORT REDIS_URL``.

It keeps no state of a session for tools: these keep it in a hash of the same Redis.
"""

from __future__ import annotations

import sys

import redis.asyncio  # type: ignore[import-not-found]
import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp_persist import with_persistence  # type: ignore[import-not-found]

mcp = MCPServer("benchmark", version="1.0.0")
values = redis.asyncio.from_url(sys.argv[2], decode_responses=True)


def _key(ctx: Context) -> str:
    assert ctx.headers is not None
    return f"state:{ctx.headers['mcp-session-id']}"


@mcp.tool()
async def store(value: str, ctx: Context) -> str:
    """Store a value."""
    await values.hset(_key(ctx), "value", value)
    return "stored"


@mcp.tool()
async def read(ctx: Context) -> str:
    """Read the value."""
    return str(await values.hget(_key(ctx), "value"))


if __name__ == "__main__":
    app = with_persistence(mcp, backend="redis", url=sys.argv[2], ttl=3600, durable_sessions=True)
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
