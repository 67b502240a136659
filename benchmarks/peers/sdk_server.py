"""The SDK's own Streamable HTTP server, without storage, under uvicorn: ``-m … PORT``."""

from __future__ import annotations

import sys

import uvicorn
from mcp.server.mcpserver import Context, MCPServer

mcp = MCPServer("benchmark", version="1.0.0")


@mcp.tool()
async def steps(number: int, ctx: Context) -> str:
    """Report progress a number of times."""
    for step in range(number):
        await ctx.report_progress(step + 1, number)
    return "done"


if __name__ == "__main__":
    uvicorn.run(mcp.streamable_http_app(), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
