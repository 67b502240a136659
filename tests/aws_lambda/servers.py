"""The server of the sandboxes: it keeps state, reports progress, and asks its client."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any, Final

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


STUBBORN_SECONDS: Final = 8.0
stubborn: Final[list[str]] = []
"""What became of calls that do not end when they are cancelled; ``"enough"`` ends them."""
holding: Final = threading.Lock()
"""Held while ``hold`` runs."""


def _goes_on(began: float) -> bool:
    return "enough" not in stubborn and time.monotonic() < began + STUBBORN_SECONDS


@mcp.tool()
async def persist(session: Own) -> str:
    """Does not heed that it is cancelled."""
    session.state["begun"] = True
    began = time.monotonic()
    while _goes_on(began):
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0.01)
    stubborn.append("ended")
    session.state["ended"] = True
    return "persisted"


@mcp.tool()
async def dawdle() -> str:
    """Takes its time to clean up."""
    try:
        await anyio.sleep(60)
    finally:
        began = time.monotonic()
        while _goes_on(began):
            await anyio.sleep(0.01)
        stubborn.append("ended")
    return "dawdled"


@mcp.tool()
def hold() -> str:
    """Holds a thread."""
    with holding:
        began = time.monotonic()
        while _goes_on(began):
            time.sleep(0.01)
        stubborn.append("ended")
    return "held"


@mcp.tool()
async def let_go(seconds: float, ctx: Context) -> str:
    """Sends its client away, and works on."""
    await ctx.info("begun")
    await ctx.close_sse_stream()
    await anyio.sleep(seconds)
    return "worked"


@asynccontextmanager
async def _slow(_: MCPServer[None]) -> AsyncIterator[None]:
    await anyio.sleep(1)
    yield


slow_to_begin: MCPServer[None] = MCPServer("slow", lifespan=_slow)


@mcp.tool()
async def ask(question: str, ctx: Context) -> str:
    """Asks whoever calls."""
    answer = await ctx.elicit(question, Colour)
    return answer.data.colour if answer.action == "accept" else answer.action
