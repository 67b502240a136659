"""What a tool takes by dependency: its session, and its arguments exactly as the client sent them."""

from __future__ import annotations

from typing import Any

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError

from mcpsite.endpoint.serving.request import ServedRequest
from mcpsite.endpoint.serving.session import Session, tool_errors


async def sent_arguments(ctx: Context) -> dict[str, Any]:
    """The call's arguments: a dependency for tools, ``Annotated[dict[str, Any], Resolve(sent_arguments)]``.

    For a tool that keeps any JSON value. The SDK parses a string that looks like JSON before the tool sees it, so
    that ``"null"`` and ``null`` would be one.
    """
    return dict((ctx.request_context.params or {}).get("arguments") or {})


async def current_session(ctx: Context) -> Session:
    """The session of the call: a dependency for tools, ``Annotated[Session, Resolve(current_session)]``.

    A handle that names no live session of the caller is a tool error.
    """
    request = ctx.request_context.request
    if not isinstance(request, ServedRequest):
        raise ToolError("There is no session here: this tool needs the site's own endpoint.")
    arguments = (ctx.request_context.params or {}).get("arguments") or {}
    with tool_errors():
        return await request.session(arguments.get("session_id"))
