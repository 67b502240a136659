"""What a tool takes by dependency: its session, and its arguments exactly as the client sent them."""

from __future__ import annotations

from typing import Any, Final

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError

from mcpsite.endpoint.conf import conf
from mcpsite.endpoint.serving.request import ServedRequest
from mcpsite.endpoint.serving.session import Session, tool_errors
from sessions_dynamo.errors import SessionNotFound

DEFAULT_ARGUMENT: Final = "session_id"
"""What names a session in tools that have such an argument themselves, where ``MCP_SESSION_ARGUMENT`` is empty."""

MAX_SHOWN: Final = 64
"""Characters of what was sent that an error repeats."""


async def sent_arguments(ctx: Context) -> dict[str, Any]:
    """The call's arguments: a dependency for tools, ``Annotated[dict[str, Any], Resolve(sent_arguments)]``.

    For a tool that keeps any JSON value. The SDK parses a string that looks like JSON before the tool sees it, so
    that ``"null"`` and ``null`` would be one.
    """
    return dict((ctx.request_context.params or {}).get("arguments") or {})


async def current_session(ctx: Context) -> Session:
    """The session of the call: a dependency for tools, ``Annotated[Session, Resolve(current_session)]``.

    The client's own; for a client without sessions the one that its argument names, or a new one. An argument that
    names no live session of the caller is a tool error.
    """
    request = _served(ctx)
    name, handle = conf.MCP_SESSION_ARGUMENT or DEFAULT_ARGUMENT, request.handle
    if handle is None:
        # The tool has the argument itself.
        handle = ((ctx.request_context.params or {}).get("arguments") or {}).get(name)
    with tool_errors():
        try:
            return await request.session(handle)
        except SessionNotFound as exc:
            raise ToolError(
                f"{name}={str(handle)[:MAX_SHOWN]!r} names no session of yours: it does not exist, has ended, or"
                f" belongs to another caller. {_advice(request, name)}"
            ) from exc


def _advice(request: ServedRequest, name: str) -> str:
    if request.stored is None:
        return f"Pass what an earlier call returned, or leave {name} out to begin a new session."
    # LangChain's tools and LlamaIndex's open a session for each call and end it with DELETE, what it returned with it.
    return (
        f"Leave {name} out to use the session of this client. A client that opens a session for each call and ends it"
        " keeps no state from one call to the next: tell the user."
    )


async def user_session(ctx: Context) -> Session:
    """The caller's own session: a dependency for tools, ``Annotated[Session, Resolve(user_session)]``.

    Bound to the principal alone, so it is the same with every client of a user, in every conversation. Where nobody
    says who calls, the call is a tool error.
    """
    with tool_errors():
        return await _served(ctx).user_session()


def _served(ctx: Context) -> ServedRequest:
    request = ctx.request_context.request
    if not isinstance(request, ServedRequest):
        raise ToolError("There is no session here: this tool needs the site's own endpoint.")
    return request
