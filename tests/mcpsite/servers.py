"""Servers that somebody might name in ``MCP_SERVER``: the SDK's own API, and the session by dependency."""

from __future__ import annotations

import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Annotated, Any

import anyio
from django.contrib.auth import get_user_model
from django.http import HttpRequest, HttpResponse
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.mcpserver import Context, MCPServer, Resolve
from mcp.server.mcpserver.exceptions import ToolError
from mcp.shared.exceptions import MCPError
from mcp_types import (
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    Tool,
)
from pydantic import Field

from mcpsite.endpoint.serving.dependencies import current_session
from mcpsite.endpoint.serving.session import Session
from sessions_dynamo.store.sessions import default_store

CurrentSession = Annotated[Session, Resolve(current_session)]

# --- Tools of every kind --------------------------------------------------------------------------------------

caller: ContextVar[str] = ContextVar("caller", default="nobody")


def callers_name(request: HttpRequest) -> HttpResponse | None:
    """An ``MCP_AUTH``: whoever names themselves is believed."""
    name = request.headers.get("X-Name", "")
    if not name:
        return HttpResponse("Say your name", status=401, headers={"WWW-Authenticate": "Name"})
    caller.set(name)
    request.mcp_principal = name  # type: ignore[attr-defined]
    return None


async def callers_account(request: HttpRequest) -> HttpResponse | None:
    """An async ``MCP_AUTH`` that asks the database."""
    user = await get_user_model().objects.filter(username=request.headers.get("X-Name", "")).afirst()
    if user is None:
        return HttpResponse("Nobody knows you", status=401)
    request.user = user
    return None


@asynccontextmanager
async def _lifespan(_: MCPServer[dict[str, Any]]) -> AsyncIterator[dict[str, Any]]:
    lives.append("begun")
    yield {"thread": threading.current_thread().name}
    lives.append("ended")


lives: list[str] = []
"""What became of the lifespan of ``tools``."""

tools: MCPServer[dict[str, Any]] = MCPServer("tools", lifespan=_lifespan)


@tools.tool()
async def leave() -> str:
    """A tool that calls what it should not."""
    sys.exit(3)


@tools.tool()
def thread_of() -> dict[str, Any]:
    """The thread that a sync tool runs on."""
    return {"thread": threading.get_ident()}


@tools.tool()
def add_note(text: str, session: CurrentSession) -> dict[str, Any]:
    """A sync tool, as in the README."""
    session.state["notes"] = [*session.state.get("notes", []), text]
    return {"notes": session.state["notes"], "number": session.incr("added"), "session_id": session.session_id}


@tools.tool()
async def add_note_async(text: str, session: CurrentSession) -> dict[str, Any]:
    """The same, async."""
    session.state["notes"] = [*(await session.aget("notes", [])), text]
    return {"notes": session.state["notes"], "number": await session.aincr("added"), "session_id": session.session_id}


@tools.tool()
async def incr_in_async(session: CurrentSession) -> int:
    """A mistake: it would hold the event loop."""
    return session.incr("added")


@tools.tool()
def use_regions(region: str, value: str, session: CurrentSession) -> dict[str, Any]:
    """What else a sync tool waits for: a region's entry, and what the replica there has."""
    session.set_global_state(region, value)
    replica = session.replica_state(region)
    return {"keys": sorted(replica), "colour": replica.get("colour"), "session_id": session.session_id}


@tools.tool()
async def use_regions_async(region: str, value: str, session: CurrentSession) -> dict[str, Any]:
    """The same, async."""
    await session.aset_global_state(region, value)
    replica = await session.areplica_state(region)
    return {"keys": sorted(replica), "colour": await replica.aget("colour"), "session_id": session.session_id}


@tools.tool()
async def hold_the_loop(how: str, session: CurrentSession) -> str:
    """Mistakes: each of these would."""
    match how:
        case "set_global_state":
            session.set_global_state("eu-west-1", 1)
        case "replica_state":
            session.replica_state("eu-west-1")
        case "state[]":
            return str(session.state["colour"])
        case "state.get":
            return str(session.state.get("colour"))
        case "state.items":
            return str(dict(session.state))
    return "unreached"


@tools.tool()
def recall(session: CurrentSession) -> dict[str, Any]:
    """Reads in every way that a mapping has."""
    state = session.state
    return {"by_key": state["colour"], "by_get": state.get("colour"), "all": dict(state), "none": state.get("none", 7)}


@tools.tool()
async def recall_async(session: CurrentSession) -> dict[str, Any]:
    """The awaitable way; what it has read is there for the others."""
    value, none = await session.aget("colour"), await session.aget("none", 7)
    return {"by_key": session.state["colour"], "by_get": value, "all": dict(session.state), "none": none}


@tools.tool()
async def count_at_once(session: CurrentSession) -> dict[str, Any]:
    """Counts from two tasks."""
    async with anyio.create_task_group() as both:
        both.start_soon(session.aincr, "left")
        both.start_soon(session.aincr, "right")
    return {"session_id": session.session_id}


@tools.tool()
def write_and_fail(how: str, session: CurrentSession, counted: bool = False) -> str:
    """Changes the state, then fails."""
    session.state["colour"] = "red"
    session.state.pop("kept", None)
    if counted:
        session.incr("failures")
    match how:
        case "tool error":
            raise ToolError("on purpose")
        case "protocol error":
            raise MCPError(code=-32050, message="on purpose", data={"why": "test"})
        case "crash":
            raise RuntimeError("a secret")
    return "unreached"


@tools.tool()
def remember(value: str, session: CurrentSession) -> dict[str, Any]:
    """Writes one key without reading it."""
    session.state["colour"] = value
    return {"session_id": session.session_id}


@tools.tool()
def lose_a_race(session: CurrentSession) -> str:
    """Reads a key, and writes it after another call has."""
    before = session.state.get("colour")
    rival = default_store().load(session.session_id)
    rival.state["colour"] = "green"
    default_store().save(rival)
    session.state["colour"] = f"{before}, then blue"
    return "won"


@tools.tool()
def end_own_session(session: CurrentSession, write: bool) -> str:
    """The session ends while its call runs, as when staff ends it."""
    default_store().terminate(session.session_id)
    if write:
        session.state["colour"] = "red"
    return "done"


@tools.tool()
async def who(ctx: Context) -> dict[str, Any]:
    """What reaches a handler from the request that it answers."""
    request: Any = ctx.request_context.request
    return {
        "variable": caller.get(),
        "principal": request.principal,
        "agent": request.http.headers.get("User-Agent"),
        "lifespan": ctx.request_context.lifespan_context,
        "thread": threading.current_thread().name,
    }


@tools.tool()
async def client_of(ctx: Context) -> dict[str, Any]:
    """What the server knows of the client that calls."""
    capabilities, info = ctx.client_capabilities, ctx.session.client_params
    return {
        "version": ctx.protocol_version,
        "capabilities": capabilities.model_dump(mode="json", by_alias=True, exclude_none=True)
        if capabilities
        else None,
        "name": info.client_info.name if info else None,
        "request_id": ctx.request_id,
    }


@tools.tool()
async def chatter(ctx: Context) -> str:
    """Notifies along the way."""
    await ctx.report_progress(1, 2, "half")
    return "said"


@tools.tool()
def not_a_number() -> dict[str, Any]:
    """Returns what Python's floats have and JSON has not."""
    return {"mean": float("nan"), "bounds": [float("-inf"), 1.5]}


@tools.tool()
def without_session() -> str:
    """Knows nothing of sessions."""
    return "plain"


@tools.tool()
def count_users() -> dict[str, Any]:
    """A sync tool that asks the database."""
    return {"users": get_user_model().objects.count(), "thread": threading.get_ident()}


@tools.tool()
async def count_users_async() -> dict[str, Any]:
    """The same, by Django's own awaitable form."""
    return {"users": await get_user_model().objects.acount()}


# --- Lifespans that fail ------------------------------------------------------------------------------------------

attempts: list[str] = []


@asynccontextmanager
async def _failing_once(_: MCPServer[None]) -> AsyncIterator[None]:
    attempts.append("begun")
    if len(attempts) == 1:
        raise RuntimeError("a secret")
    yield


@asynccontextmanager
async def _dying(_: MCPServer[dict[str, Any]]) -> AsyncIterator[dict[str, Any]]:
    async def crash() -> None:
        await doomed.wait()
        raise RuntimeError("a background task of the lifespan crashed")

    doomed = anyio.Event()
    async with anyio.create_task_group() as background:
        background.start_soon(crash)
        yield {"doomed": doomed}
        background.cancel_scope.cancel()


flaky: MCPServer[None] = MCPServer("flaky", lifespan=_failing_once)
mortal: MCPServer[dict[str, Any]] = MCPServer("mortal", lifespan=_dying)


@mortal.tool()
async def doom(ctx: Context) -> str:
    """Crashes the lifespan's background task a moment later."""
    ctx.request_context.lifespan_context["doomed"].set()
    return "doomed"


# --- x-mcp-header ---------------------------------------------------------------------------------------------


def with_headers() -> MCPServer[Any]:
    """A server whose tool mirrors arguments into headers; a new one each time, to be served by the SDK as well."""
    server: MCPServer[Any] = MCPServer("headers")

    @server.tool()
    def route(
        region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})],
        size: Annotated[int | None, Field(json_schema_extra={"type": "integer", "x-mcp-header": "Size"})] = None,
        text: str = "",
    ) -> str:
        """Where to."""
        return f"{region}/{size}"

    @server.tool()
    def crash() -> str:
        """Never returns."""
        raise RuntimeError("a secret")

    @server.tool()
    def refuse(code: int) -> str:
        """A protocol error of its own."""
        raise MCPError(code=code, message="refused")

    return server


mirrored = with_headers()

# --- A low-level server, whose schemas are found by listing ---------------------------------------------------

PAGES = {
    None: (["first"], "2"),
    "2": (["second"], "3"),
    "3": (["third"], None),
}
_SCHEMA = {"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}}}


async def _list(ctx: ServerRequestContext[Any], params: PaginatedRequestParams | None) -> ListToolsResult:
    names, cursor = PAGES[params.cursor if params else None]
    return ListToolsResult(tools=[Tool(name=name, input_schema=_SCHEMA) for name in names], next_cursor=cursor)


async def _list_in_a_circle(ctx: ServerRequestContext[Any], params: PaginatedRequestParams | None) -> ListToolsResult:
    return ListToolsResult(tools=[], next_cursor="b" if params and params.cursor == "a" else "a")


async def _list_and_crash(ctx: ServerRequestContext[Any], params: PaginatedRequestParams | None) -> ListToolsResult:
    raise RuntimeError("a secret")


async def _call(ctx: ServerRequestContext[Any], params: CallToolRequestParams) -> CallToolResult:
    return CallToolResult(content=[TextContent(type="text", text=f"called {params.name}")])


def _no_schema(name: str) -> None:
    raise RuntimeError("a secret")


paged = Server("paged", on_list_tools=_list, on_call_tool=_call)
circular = Server("circular", on_list_tools=_list_in_a_circle, on_call_tool=_call)
broken = Server("broken", on_list_tools=_list_and_crash, on_call_tool=_call)
schemaless = Server("schemaless", get_tool_input_schema=_no_schema, on_call_tool=_call)

not_a_server = object()
