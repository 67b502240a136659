"""The server object that benchmarks serve."""

from __future__ import annotations

from typing import Annotated

from mcp.server.mcpserver import Context, MCPServer, Resolve

from mcpsite.endpoint.serving.dependencies import current_session
from mcpsite.endpoint.serving.session import Session

mcp = MCPServer("benchmark", version="1.0.0")


@mcp.tool()
async def nothing() -> str:
    """Return at once."""
    return "done"


@mcp.tool()
async def store(value: str, session: Annotated[Session, Resolve(current_session)]) -> str:
    """Store a value."""
    session.state["value"] = value
    return "stored"


@mcp.tool()
async def read(session: Annotated[Session, Resolve(current_session)]) -> str:
    """Read the value."""
    return str(session.state.get("value"))


@mcp.tool()
async def count(session: Annotated[Session, Resolve(current_session)]) -> int:
    """Count the call."""
    return await session.aincr("calls")


@mcp.tool()
async def steps(number: int, ctx: Context) -> str:
    """Report progress a number of times."""
    for step in range(number):
        await ctx.report_progress(step + 1, number)
    return "done"


@mcp.tool()
async def changed(uri: str, ctx: Context) -> str:
    """Say that a resource changed."""
    await ctx.notify_resource_updated(uri)
    return "said"


@mcp.resource("bench://thing")
def thing() -> str:
    """A resource to subscribe to."""
    return "thing"
