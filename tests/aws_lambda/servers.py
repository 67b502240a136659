"""The server of the sandboxes: it keeps state, reports progress, and asks its client."""

from __future__ import annotations

from typing import Annotated, Any

import anyio
from mcp.server.mcpserver import Context, MCPServer, Resolve
from pydantic import BaseModel, JsonValue

from mcpsite.endpoint.tools import Session, current_session

mcp: MCPServer[Any] = MCPServer("sandbox")

Own = Annotated[Session, Resolve(current_session)]


class Colour(BaseModel):
    colour: str


@mcp.tool()
async def store(key: str, value: JsonValue, session: Own) -> str:
    """Keeps a value."""
    session.state[key] = value
    return str(value)


@mcp.tool()
async def load(key: str, session: Own) -> str:
    """What was kept."""
    return str(await session.aget(key))


@mcp.tool()
async def count(last: int, ctx: Context, pause: float = 0) -> str:
    """Reports its progress."""
    for number in range(1, last + 1):
        await ctx.report_progress(number, last)
        await anyio.sleep(pause)
    return f"counted to {last}"


@mcp.tool()
async def sleep(seconds: float) -> str:
    """Takes its time."""
    await anyio.sleep(seconds)
    return "slept"


@mcp.tool()
async def ask(question: str, ctx: Context) -> str:
    """Asks whoever calls."""
    answer = await ctx.elicit(question, Colour)
    return answer.data.colour if answer.action == "accept" else answer.action
