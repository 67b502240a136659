"""FastMCP with its state in DynamoDB, by its own key-value storage, under uvicorn: ``-m … PORT``.

A store is a GetItem and a PutItem, a read two GetItem: FastMCP asks at every call what the session may see, and keeps
the session itself in the process's memory.
"""

from __future__ import annotations

import sys

import uvicorn
from fastmcp import Context, FastMCP  # type: ignore[import-not-found]
from key_value.aio.stores.dynamodb import DynamoDBStore  # type: ignore[import-not-found]


async def store(value: str, ctx: Context) -> str:
    """Store a value."""
    await ctx.set_state("value", value)
    return "stored"


async def read(ctx: Context) -> str:
    """Read the value."""
    return str(await ctx.get_state("value"))


mcp = FastMCP("benchmark", session_state_store=DynamoDBStore(table_name="fastmcp"))
mcp.tool(store)
mcp.tool(read)

if __name__ == "__main__":
    uvicorn.run(mcp.http_app(), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
