"""The tools that the matrix drives clients through, on either server: they know nothing of how they are served."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

import anyio
from mcp.server.mcpserver import Context, Elicit, ListRoots, MCPServer, Resolve, Sample
from mcp_types import CreateMessageResult, ListRootsResult, SamplingMessage, TextContent
from pydantic import BaseModel

MARKS: Final = "CLIENTS_MARKS"
"""The environment variable that names the folder in which ``wait`` notes, for every process, how a call ended."""


class Colour(BaseModel):
    """The form that ``ask`` has a user fill in."""

    colour: str


def _ask_colour() -> Elicit[Colour]:
    return Elicit("Which colour?", Colour)


def _ask_model() -> Sample:
    return Sample([SamplingMessage(role="user", content=TextContent(type="text", text="Hello?"))], max_tokens=20)


def _ask_roots() -> ListRoots:
    return ListRoots()


def _mark(token: str) -> Path:
    if not re.fullmatch(r"[\w-]{1,64}", token):
        raise ValueError("A token is letters, digits and hyphens.")
    return Path(os.environ[MARKS]) / token


def _always(ctx: Context) -> bool:
    return True


def add_tools(mcp: MCPServer[Any], logs_below: Callable[[Context], bool] = _always) -> None:
    """Register the tools that emit, ask and wait. ``logs_below`` says whether ``log`` logs below level info, where the
    server does not filter by itself."""

    @mcp.tool()
    async def report(ctx: Context) -> str:
        """Reports its progress three times."""
        for done in (1, 2, 3):
            await ctx.report_progress(done, 3, f"{done} of 3")
        return "reported"

    @mcp.tool()
    async def log(ctx: Context) -> str:
        """Logs three times at level info, and once below it."""
        if logs_below(ctx):
            await ctx.debug("too low")
        for number in (1, 2, 3):
            await ctx.info(f"entry {number}")
        return "logged"

    @mcp.tool()
    async def ask(colour: Annotated[Colour, Resolve(_ask_colour)]) -> str:
        """Asks the user for a colour."""
        return f"the colour is {colour.colour}"

    @mcp.tool()
    async def sample(answer: Annotated[CreateMessageResult, Resolve(_ask_model)]) -> str:
        """Asks the client's model."""
        return f"the model said {getattr(answer.content, 'text', '')}"

    @mcp.tool()
    async def roots(listed: Annotated[ListRootsResult, Resolve(_ask_roots)]) -> str:
        """Asks for the client's roots."""
        return "the roots are " + ", ".join(str(root.uri) for root in listed.roots)

    @mcp.tool()
    async def wait(seconds: float, token: str, ctx: Context, announced: bool = False) -> str:
        """Says nothing for some seconds, but for one report of progress before if announced; see outcome."""
        mark = _mark(token)
        mark.write_text("begun")
        try:
            if announced:
                await ctx.report_progress(1, 2, "begun")
            await anyio.sleep(seconds)
        except anyio.get_cancelled_exc_class():
            mark.write_text("cancelled")
            raise
        mark.write_text("finished")
        return "waited to the end"

    @mcp.tool()
    def outcome(token: str) -> str:
        """What became of a call of wait: unknown, begun, cancelled or finished."""
        mark = _mark(token)
        return mark.read_text() if mark.exists() else "unknown"
