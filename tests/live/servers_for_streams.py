"""The server that the tests of streams are run against: tools that emit, ask, wait, announce and use the database.

``MCP_SERVER=tests.live.servers_for_streams:mcp``, and ``MCP_AUTH=tests.live.servers_for_streams.by_name`` where it
matters who calls.
"""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import anyio
from django.contrib.auth import get_user_model
from django.http import HttpRequest, HttpResponse
from mcp.server.mcpserver import Context, Elicit, MCPServer, Resolve
from mcp.shared.exceptions import MCPError
from mcp_types import LoggingLevel, SamplingMessage, TextContent
from pydantic import BaseModel

from mcpsite.endpoint.tools import Session, current_session

CurrentSession = Annotated[Session, Resolve(current_session)]

mcp: MCPServer[Any] = MCPServer("streams")


def by_name(request: HttpRequest) -> HttpResponse | None:
    """Believes what a caller says of itself."""
    request.mcp_principal = request.headers.get("Caller", "")  # type: ignore[attr-defined]
    return None


class Colour(BaseModel):
    colour: str


# --- Emitting ---------------------------------------------------------------------------------------------------


@mcp.tool()
async def count_to(last: int, pause: float, ctx: Context) -> str:
    """Logs every number from 1 on, ``pause`` seconds apart."""
    for number in range(1, last + 1):
        await ctx.info(number)
        await anyio.sleep(pause)
    return f"counted to {last}"


@mcp.tool()
async def count_progress(last: int, ctx: Context) -> str:
    """Reports its progress."""
    for number in range(1, last + 1):
        await ctx.report_progress(number, last)
    return f"counted to {last}"


@mcp.tool()
async def pour(number: int, size: int, ctx: Context) -> str:
    """Logs so many texts of so many characters."""
    for _ in range(number):
        await ctx.info("x" * size)
        await anyio.sleep(0)
    return "poured"


@mcp.tool()
async def pour_until(path: str, ctx: Context, session: CurrentSession) -> str:
    """Logs numbers without a pause until there is a file; then it keeps the last in the state, and counts itself."""
    number = 0
    while not Path(path).exists():
        number += 1
        await ctx.info(number)
        await anyio.sleep(0)
    session.state["poured"] = number
    await session.aincr("pours")
    return f"poured {number}"


@mcp.tool()
async def kept(session: CurrentSession) -> list[str]:
    """The names of what the session's state has, and how often ``pour_until`` counted itself."""
    return [*sorted(session.state), f"{await session.aincr('pours', 0)} pours"]


@mcp.tool()
async def say_large(size: int, ctx: Context) -> str:
    """Logs a text of so many characters, two bytes each, and answers with another."""
    await ctx.info("ä" * size)
    return "ö" * size


@mcp.tool()
async def send_away(last: int, pause: float, ctx: Context) -> str:
    """Counts, and sends its client away after the first number."""
    await ctx.info(1)
    await ctx.close_sse_stream()
    for number in range(2, last + 1):
        await anyio.sleep(pause)
        await ctx.info(number)
    return f"counted to {last}"


@mcp.tool()
async def fail_late(ctx: Context) -> str:
    """Logs, then fails with an error of the protocol."""
    await ctx.info(1)
    raise MCPError(code=-32099, message="too late")


@mcp.tool()
async def log_at_every_level(ctx: Context) -> str:
    """Logs once at each of four levels."""
    levels: tuple[LoggingLevel, ...] = ("debug", "info", "warning", "error")
    for level in levels:
        await ctx.log(level, level)
    return "logged"


# --- Waiting ----------------------------------------------------------------------------------------------------


@mcp.tool()
async def work(seconds: float, mark: str, ctx: Context, announced: bool = True) -> str:
    """Works on, and writes to a file how it ended; it says that it has begun if it is ``announced``."""
    try:
        if announced:
            await ctx.info("begun")
        await anyio.sleep(seconds)
    except anyio.get_cancelled_exc_class():
        Path(mark).write_text("cancelled")
        raise
    Path(mark).write_text("finished")
    return f"worked on process {os.getpid()}"


@mcp.tool()
def block(seconds: float) -> str:
    """Holds a thread."""
    anyio.from_thread.run(anyio.sleep, seconds)
    return "held"


@mcp.tool()
def block_until(path: str) -> str:
    """Holds a thread until there is a file; makes another, ``.begun``, when it begins."""
    Path(f"{path}.begun").touch()
    while not Path(path).exists():
        time.sleep(0.05)
    return "held"


@mcp.tool()
async def time_of_day() -> float:
    """What time it is here (s since 1970)."""
    return time.time()


# --- What the process holds -------------------------------------------------------------------------------------


@mcp.tool()
async def census() -> dict[str, int]:
    """Tasks, open files, and what lives of the classes of this project, of its server and of asyncio."""
    gc.collect()
    packages = ("mcpsite", "sessions_dynamo", "mcp", "uvicorn", "asyncio")
    kinds = (type(one) for one in gc.get_objects())
    living = Counter(f"{kind.__module__}.{kind.__qualname__}" for kind in kinds if kind.__module__.startswith(packages))
    return {**living, "tasks": len(asyncio.all_tasks()), "open files": len([*Path("/proc/self/fd").iterdir()])}


# --- Asking -----------------------------------------------------------------------------------------------------


@mcp.tool()
async def ask_user(question: str, ctx: Context) -> str:
    """Asks the user."""
    answer = await ctx.elicit(question, Colour)
    return answer.data.colour if answer.action == "accept" else answer.action


@mcp.tool()
async def ask_model(question: str, ctx: Context) -> str:
    """Asks the client's model."""
    prompt = SamplingMessage(role="user", content=TextContent(type="text", text=question))
    answer = await ctx.session.create_message([prompt], max_tokens=9, related_request_id=ctx.request_id)
    return getattr(answer.content, "text", "")


async def _which_colour() -> Elicit[Colour]:
    return Elicit("Which colour?", Colour)


@mcp.tool()
async def paint(what: str, colour: Annotated[Colour, Resolve(_which_colour)]) -> str:
    """Asks the user by a dependency: in the middle of a call, or between two (2026-07-28)."""
    return f"{what} in {colour.colour}"


# --- Besides the answer -----------------------------------------------------------------------------------------


@mcp.tool()
async def say_aside(first: int, last: int, ctx: Context) -> str:
    """Logs numbers on the session's standalone stream."""
    for number in range(first, last + 1):
        await ctx.session.send_log_message("info", number)
    return "said"


@mcp.tool()
async def announce(uri: str, ctx: Context) -> str:
    """Announces a resource's change to every subscriber."""
    await ctx.notify_resource_updated(uri)
    return "announced"


@mcp.tool()
async def close_standalone(ctx: Context) -> str:
    """Sends the standalone stream's client away."""
    await ctx.close_standalone_sse_stream()
    return "closed"


@mcp.resource("test://{name}")
def resource(name: str) -> str:
    """A resource to subscribe to."""
    return name


# --- Django's ORM -----------------------------------------------------------------------------------------------


@mcp.tool()
def count_users() -> int:
    """Asks the database, in a thread of its own."""
    return get_user_model().objects.count()


@mcp.tool()
async def count_users_on_the_loop() -> int:
    """Asks the database from the event loop, which Django refuses."""
    return get_user_model().objects.count()


@mcp.tool()
async def count_users_asynchronously() -> int:
    """Asks the database by Django's asynchronous interface."""
    return await get_user_model().objects.acount()
