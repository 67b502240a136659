"""A tool's arguments exactly as the client sent them."""

from __future__ import annotations

from typing import Any

from mcp.server.mcpserver import Context


def sent_arguments(ctx: Context) -> dict[str, Any]:
    """The call's arguments: a dependency for tools, ``Annotated[dict[str, Any], Resolve(sent_arguments)]``.

    For a tool that keeps any JSON value. The SDK parses a string that looks like JSON before the tool sees it, so
    that ``"null"`` and ``null`` would be one.
    """
    return dict((ctx.request_context.params or {}).get("arguments") or {})
