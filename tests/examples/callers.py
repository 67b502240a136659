"""The official SDK's client in both eras and FastMCP's in both, behind one way to call a tool."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from mcp.client import Client
from mcp.client.context import ClientRequestContext
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.shared.exceptions import MCPError
from mcp_types import ElicitRequestParams, ElicitResult

from tests.mcpsite.fastmcp_installed import need_fastmcp

need_fastmcp()

from fastmcp import Client as FastMCPClient  # noqa: E402
from fastmcp.client.elicitation import ElicitResult as FastMCPElicitResult  # noqa: E402

Mode = Literal["legacy", "auto"]
Answer = Callable[[str], dict[str, Any] | None]
"""The user: a question's text to the form's content, or ``None`` to decline."""

Kind = tuple[Literal["mcp", "fastmcp"], Mode]
EVERY_KIND: Final[tuple[Kind, ...]] = (("mcp", "legacy"), ("mcp", "auto"), ("fastmcp", "legacy"), ("fastmcp", "auto"))
"""Whose client it is, and its mode."""


class CallFailed(Exception):
    """A call's error, be it the tool's or the protocol's: its text."""


@dataclass
class Caller:
    """A connected client. Without sessions it passes on the ``session_id`` that a call returned, as a model would."""

    kind: Kind
    version: str
    _call: Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]
    _takes_session: frozenset[str]
    progress: list[float]
    """What was reported, in whatever order it was heard."""
    handle: dict[str, Any] = field(default_factory=dict)

    async def call(self, tool: str, /, **arguments: Any) -> Any:
        """A tool's structured result; raises ``CallFailed``."""
        handle = self.handle if tool in self._takes_session else {}
        result = await self._call(tool, {**arguments, **handle})
        if named := result.pop("session_id", None):
            self.handle = {"session_id": named}
        return result


@asynccontextmanager
async def connected(
    kind: Kind, url: str, *, token: str | None = None, answer: Answer | None = None
) -> AsyncIterator[Caller]:
    """A client of this kind at a URL, that signs in with a token and has a user who answers."""
    library, mode = kind
    heard: list[float] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        heard.append(progress)

    if library == "mcp":

        async def ask(context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
            content = answer(params.message) if answer else None
            return ElicitResult(action="accept" if content else "decline", content=content)

        async with create_mcp_http_client({"Authorization": f"Bearer {token}"} if token else None) as http:
            transport = streamable_http_client(url, http_client=http)
            async with Client(transport, mode=mode, elicitation_callback=ask if answer else None) as client:

                async def call(tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
                    try:
                        result = await client.call_tool(tool, arguments, progress_callback=note)
                    except MCPError as exc:
                        raise CallFailed(exc.error.message) from exc
                    if result.is_error:
                        raise CallFailed(" ".join(getattr(block, "text", "") for block in result.content))
                    return dict(result.structured_content or {})

                tools = (await client.list_tools()).tools
                yield Caller(kind, client.protocol_version, call, _with_handle(tools), heard)
        return

    async def ask_too(message: str, response_type: Any, params: Any, context: Any) -> Any:
        content = answer(message) if answer else None
        return FastMCPElicitResult(action="accept" if content else "decline", content=content)

    async with FastMCPClient(url, mode=mode, auth=token, elicitation_handler=ask_too if answer else None) as fast:

        async def call_fast(tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
            try:
                result = await fast.call_tool(tool, arguments, progress_handler=note, raise_on_error=False)
            except Exception as exc:
                raise CallFailed(str(exc)) from exc
            if result.is_error:
                raise CallFailed(" ".join(getattr(block, "text", "") for block in result.content))
            return dict(result.structured_content or {})

        version = fast.session.protocol_version
        yield Caller(kind, str(version), call_fast, _with_handle(await fast.list_tools()), heard)


@asynccontextmanager
async def every_kind_connected(
    url: str, *, token: str | None = None, answer: Answer | None = None
) -> AsyncIterator[list[Caller]]:
    """A client of each kind, all at once: what is killed and started again is, for all of them."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(connected(kind, url, token=token, answer=answer)) for kind in EVERY_KIND]


def _with_handle(tools: Any) -> frozenset[str]:
    """The tools that name the session by an argument, for a client that has no sessions."""
    return frozenset(tool.name for tool in tools if "session_id" in tool.input_schema.get("properties", {}))
