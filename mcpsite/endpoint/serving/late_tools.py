"""Tools that one process adds or removes while it serves: the others know nothing of it, and the log says so once."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.mcpserver import MCPServer

from mcpsite.endpoint.server_object.loading import is_fastmcp

logger = logging.getLogger(__name__)

_LOOKED_AT: Final = frozenset({"tools/list", "tools/call"})

Names = Callable[[], frozenset[str]]


class LateTools:
    """Middleware that compares the tools with those that were there at the first message, when all had begun alike."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._first: frozenset[str] | None = None
        self._is_said = False

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """Pass one message on."""
        if ctx.method not in _LOOKED_AT or self._is_said:
            return await call_next(ctx)
        if self._first is None:
            self._first = self._names()
        try:
            return await call_next(ctx)
        finally:
            if changed := sorted(self._first ^ self._names()):
                self._is_said = True
                logger.warning(
                    "tools were added or removed while the site serves (%s): this process alone knows of it, and"
                    " another may serve the next request. Define them when the module is imported, or in the lifespan.",
                    ", ".join(map(repr, changed)),
                )


def names_of(target: Any) -> Names | None:
    """How to ask a server object for the names of its tools; ``None`` where only its list handler knows them."""
    if isinstance(target, MCPServer):
        # The public list has their schemas, too, and is made anew each time.
        return lambda: frozenset(tool.name for tool in target._tool_manager.list_tools())
    if is_fastmcp(target):
        components = getattr(getattr(target, "local_provider", None), "_components", {})
        return lambda: frozenset(key for key in components if key.startswith("tool:"))
    return None
