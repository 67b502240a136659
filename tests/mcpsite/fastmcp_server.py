"""A server of FastMCP's, as its users write one; imported only where FastMCP is installed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastmcp import Context, FastMCP
from fastmcp.dependencies import CurrentHeaders, CurrentRequest, Depends
from fastmcp.server.dependencies import get_http_headers, get_http_request, get_session
from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext
from fastmcp.server.sessions import SessionId, SessionProvider
from starlette.requests import Request

seen: list[str] = []
"""The methods that the middleware saw."""


@asynccontextmanager
async def _lifespan(_: FastMCP) -> AsyncIterator[dict[str, Any]]:
    yield {"opened": True}


class Watch(Middleware):
    """Remembers what passes."""

    async def on_message(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        seen.append(str(context.method))
        return await call_next(context)


mcp = FastMCP("fast", lifespan=_lifespan, middleware=[Watch()])
mcp.add_provider(SessionProvider())
child = FastMCP("child")


@child.tool
async def keep(text: str, ctx: Context) -> list[str]:
    """A mounted server's own state."""
    await ctx.set_state("kept", [*(await ctx.get_state("kept") or []), text])
    return list(await ctx.get_state("kept"))


mcp.mount(child, namespace="child")


@mcp.tool
async def add_note(text: str, ctx: Context) -> list[str]:
    """State of the session."""
    notes = [*(await ctx.get_state("notes") or []), text]
    await ctx.set_state("notes", notes)
    return notes


@mcp.tool
async def forget(ctx: Context) -> str:
    """Deletes it."""
    await ctx.delete_state("notes")
    return "forgotten"


@mcp.tool
async def remember(session_id: SessionId, fact: str) -> list[str]:
    """State by FastMCP's own handle."""
    session = await get_session(session_id)
    facts = [*(await session.get("facts") or []), fact]
    await session.set("facts", facts)
    return facts


def _greeting() -> str:
    return "hello"


@mcp.tool
async def look(
    ctx: Context,
    request: Request = CurrentRequest(),  # noqa: B008
    headers: dict[str, str] = CurrentHeaders(),  # noqa: B008
    greeting: str = Depends(_greeting),
) -> dict[str, Any]:
    """What FastMCP's helpers find."""
    found = get_http_request()
    return {
        "same": found is request,
        "path": found.url.path,
        "client": found.client.host if found.client else None,
        "header": request.headers["X-Name"],
        "headers": headers["x-name"],
        "forwarded": get_http_headers().get("x-name"),
        "greeting": greeting,
        "lifespan": ctx.lifespan_context.get("opened"),
        "transport": ctx.transport,
    }


@mcp.tool
async def ask(ctx: Context) -> str:
    """Elicitation, with progress before it."""
    await ctx.report_progress(1, 2, "asking")
    answer = await ctx.elicit("Your name?", response_type=str)
    return f"{answer.action}: {getattr(answer, 'data', None)}"


@mcp.tool
async def sample(ctx: Context) -> str:
    """Sampling."""
    result = await ctx.session.create_message(messages=[], max_tokens=10)
    return str(getattr(result.content, "text", ""))


@mcp.resource("note://{name}")
def note(name: str) -> str:
    """A resource."""
    return f"note {name}"


@mcp.prompt
def greet(name: str) -> str:
    """A prompt."""
    return f"Greet {name}"
