"""The argument by which clients without sessions name theirs: offered with each tool that takes the session.

2026-07-28 removed sessions: each call would begin a new one. A tool that takes its session by dependency gets an
optional argument in the schema that such a client reads; it is taken off before the tool's own arguments are
validated, and the call that begins a session returns what to pass. Clients with sessions see none of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.tools import Tool

from mcpsite.endpoint.serving.dependencies import DEFAULT_ARGUMENT, current_session
from mcpsite.endpoint.serving.request import ServedRequest

_OPEN_OBJECT: Final = frozenset({"type", "title", "description", "properties", "required", "$defs"})
"""Keywords of an output's schema beside which one more property is surely valid."""

_BEGUN: Final = "mcpsite.session "
"""Before the ``requestState`` of a call that asks for input (2026-07-28): what it has begun is that of its next round.

The SDK's boundary seals both, and binds them to the caller and to the call.
"""


class SessionArgument:
    """Middleware of an ``MCPServer``: offers the argument, takes it off, and returns a new session's id."""

    def __init__(self, server: MCPServer[Any], name: str) -> None:
        self._server = server
        self._name = name

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """Pass one message on."""
        request = ctx.request
        if not isinstance(request, ServedRequest) or request.stored is not None:
            return await call_next(ctx)
        if ctx.method == "tools/list":
            return self._listed(await call_next(ctx))
        if ctx.method == "tools/call" and (tool := self._taker(ctx.params or {})) is not None:
            return await self._called(ctx, call_next, request, tool)
        return await call_next(ctx)

    def _taker(self, params: Mapping[str, Any]) -> Tool | None:
        """The tool of this name, if it takes the session."""
        name = params.get("name")
        # The only holder of a tool's function; the public list has its schemas alone.
        tool = self._server._tool_manager.get_tool(name) if isinstance(name, str) else None
        return tool if tool is not None and takes_session(tool) else None

    def _is_offered(self, schema: Mapping[str, Any]) -> bool:
        return self._name not in schema.get("properties", {})

    def _listed(self, result: HandlerResult) -> HandlerResult:
        if not isinstance(result, dict) or not isinstance(tools := result.get("tools"), list):
            return result
        return {**result, "tools": [self._offering(tool) for tool in tools]}

    def _offering(self, listed: dict[str, Any]) -> dict[str, Any]:
        if self._taker(listed) is None or not self._is_offered(schema := listed["inputSchema"]):
            return listed
        argument = {"type": "string", "title": "Session", "description": self._description}
        properties = {**schema.get("properties", {}), self._name: argument}
        return {**listed, "inputSchema": {**schema, "properties": properties}}

    @property
    def _description(self) -> str:
        return (
            f"Which stored session to use. Leave it out the first time: the result then has a {self._name}. Pass that,"
            " unchanged, in every later call to reach the same state. Never make one up."
        )

    async def _called(
        self, ctx: ServerRequestContext[Any, Any], call_next: CallNext, request: ServedRequest, tool: Tool
    ) -> HandlerResult:
        params = dict(ctx.params or {})
        begun, is_offered = _taken_from_state(params), self._is_offered(tool.parameters)
        if is_offered and isinstance(arguments := params.get("arguments"), Mapping):
            params["arguments"] = {name: value for name, value in arguments.items() if name != self._name}
            request.handle = arguments.get(self._name)
        if request.handle in (None, ""):
            request.handle = begun
        result = await call_next(replace(ctx, params=params))
        minted = begun or self._minted(request, result)
        if minted is None or not isinstance(result, dict):
            return result
        if result.get("resultType") == "input_required":
            # The client reads no more than the questions: it is told once the call is done.
            return {**result, "requestState": f"{_BEGUN}{minted} {result.get('requestState') or ''}"}
        # A tool that has the argument itself returns the id as it likes.
        return self._with_handle(result, minted, tool.output_schema) if is_offered else result

    def _minted(self, request: ServedRequest, result: HandlerResult) -> str | None:
        """The id of the session that this call begins: one that is stored, or will be when the call is saved."""
        session = request.used_session
        if request.handle not in (None, "") or session is None or not isinstance(result, dict):
            return None
        is_kept = session.is_stored or (bool(session.stored_state.changes) and not result.get("isError"))
        return session.session_id if is_kept else None

    def _with_handle(self, result: dict[str, Any], session_id: str, schema: Mapping[str, Any] | None) -> dict[str, Any]:
        text = f"{self._name}: {session_id}\nPass it in later calls to reach the same state."
        result = {
            **result,
            "content": [*result.get("content", []), {"type": "text", "text": text}],
            "_meta": {**(result.get("_meta") or {}), self._name: session_id},
        }
        structured = result.get("structuredContent")
        if isinstance(structured, dict) and self._name not in structured and _is_open(schema, self._name):
            result["structuredContent"] = {**structured, self._name: session_id}
        return result


def unnamed(target: object, name: str) -> list[str]:
    """The tools that take the session and have the usual argument for it themselves, which another name replaces."""
    if not isinstance(target, MCPServer) or name in ("", DEFAULT_ARGUMENT):
        return []
    tools = target._tool_manager.list_tools()
    return [tool.name for tool in tools if DEFAULT_ARGUMENT in tool.parameters["properties"] and takes_session(tool)]


def takes_session(tool: Tool) -> bool:
    """Whether a tool, or what it depends on, takes ``current_session``."""
    # All that it depends on, as the SDK found it once; a tool's own callable need not be hashable.
    return any(plan.fn is current_session for plan in tool.resolver_plans.values())


def _taken_from_state(params: dict[str, Any]) -> str | None:
    """The id of the session that an earlier round of this call began, taken off its ``requestState``."""
    state = params.get("requestState")
    if not isinstance(state, str) or not state.startswith(_BEGUN):
        return None
    begun, _, rest = state.removeprefix(_BEGUN).partition(" ")
    params["requestState"] = rest or None
    return begun


def _is_open(schema: Mapping[str, Any] | None, name: str) -> bool:
    """Whether an output of this schema stays valid with a text under one more name."""
    if schema is None:
        return True
    rest = schema.keys() - _OPEN_OBJECT
    is_open = not rest or (rest == {"additionalProperties"} and schema["additionalProperties"] is True)
    return is_open and name not in schema.get("properties", {})
