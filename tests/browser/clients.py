"""What stands in the tables because real MCP clients put it there: the official SDK's, in both eras."""

from __future__ import annotations

import time
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, Literal

import anyio
import mcp_types as types
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.shared.exceptions import MCPDeprecationWarning, MCPError

from sessions_dynamo.store import calls, events

RECORD_SECONDS: Final = 15.0


@asynccontextmanager
async def client(
    url: str,
    *,
    name: str = "claude-code",
    version: str = "2.4.1",
    mode: Literal["legacy", "auto"] = "legacy",
    caller: str = "",
    leave_open: bool = True,
) -> AsyncIterator[Client]:
    """A client, connected; its session stays when it goes unless it is to close it as a polite one does."""

    async def answer(context: Any, params: Any) -> types.ElicitResult:
        return types.ElicitResult(action="accept", content={"colour": "green"})

    headers = {"Caller": caller} if caller else None
    async with (
        create_mcp_http_client(headers=headers) as http,
        Client(
            streamable_http_client(url, http_client=http, terminate_on_close=not leave_open),
            mode=mode,
            client_info=types.Implementation(name=name, version=version),
            elicitation_callback=answer,
        ) as connected,
    ):
        yield connected


async def store(connected: Client, key: str, data: Any, **more: Any) -> str:
    """Store a value with the site's tool; the session's id."""
    result = await connected.call_tool("store_app_state", {"key": key, "data": data, **more})
    assert not result.is_error, result.content
    assert result.structured_content is not None
    return str(result.structured_content["session_id"])


def use_everything(url: str) -> str:
    """A session that stored, counted, streamed, asked and failed; its id."""

    async def use() -> str:
        async with client(url, caller="alice") as connected:
            await connected.list_tools()
            session_id = await store(connected, "user_profile", {"name": "Alice", "role": "admin", "langs": ["en"]})
            await store(connected, "colour", "blue")
            await store(connected, "ratio", 0.25)
            await store(connected, "done", False)
            await store(connected, "nothing", None)
            await store(connected, "report", {"rows": [{"n": n, "text": f"row {n}"} for n in range(300)]})
            await store(connected, "cart.items/2", [1, 2, 3])
            for batch in range(3):
                arguments = {"operation": "process_batch", "input": {"batch_id": batch, "items": 50}}
                await connected.call_tool("lambda_operation", arguments)
            await connected.call_tool("global_state", {"region": "us-west-2", "data": {"cache_warmed": True}})
            await connected.call_tool("get_app_state", {"key": "colour"})
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", MCPDeprecationWarning)  # Clients of today do it.
                await connected.set_logging_level("debug")
            await connected.call_tool("count_to", {"last": 4, "pause": 0.01})
            await connected.call_tool("log_at_every_level", {})
            await connected.call_tool("ask_user", {"question": "Which colour?"})
            assert (await connected.call_tool("global_state", {"region": "nowhere", "data": 1})).is_error
            for failing in ("fail_late", "no_such_tool"):
                try:
                    await connected.call_tool(failing, {})
                except MCPError:
                    continue
            return session_id

    return anyio.run(use)


def use_without_session(url: str) -> str:
    """A client of 2026-07-28, which passes on the handle that a tool gave it; the handle."""

    async def use() -> str:
        async with client(url, name="vscode", version="1.112.0", mode="auto", caller="bob") as connected:
            session_id = await store(connected, "draft", {"title": "Notes", "pages": 3})
            await store(connected, "draft", {"title": "Notes", "pages": 4}, session_id=session_id)
            await connected.call_tool("get_app_state", {"key": "draft", "session_id": session_id})
            await connected.call_tool("dynamodb_info", {"session_id": session_id})
            return session_id

    return anyio.run(use)


def use_and_end(url: str) -> str:
    """A session that its client ended with DELETE; its id."""

    async def use() -> str:
        async with client(url, name="inspector", version="2.12.0", leave_open=False) as connected:
            return await store(connected, "seen", True)

    return anyio.run(use)


def use_briefly(url: str, *, name: str, version: str, values: dict[str, Any], tools: tuple[str, ...] = ()) -> str:
    """A session of a client that calls itself so, with some values, after calls of some tools; its id."""

    async def use() -> str:
        session_id = ""
        async with client(url, name=name, version=version) as connected:
            for key, data in values.items():
                session_id = await store(connected, key, data)
            for tool in tools:
                try:
                    await connected.call_tool(tool, {})
                except MCPError:
                    continue
        return session_id

    return anyio.run(use)


def say_much(url: str, size: int) -> str:
    """A session whose stream carried texts of so many characters, two bytes each; its id."""

    async def use() -> str:
        async with client(url, name="verbose", version="1") as connected:
            session_id = await store(connected, "size", size)
            await connected.call_tool("say_large", {"size": size})
            return session_id

    return anyio.run(use)


def wait_for_calls(session_id: str, count: int) -> None:
    """Return once so many calls of a session are recorded: the site does that in the background."""
    deadline = time.monotonic() + RECORD_SECONDS
    store = events.default_store()
    while len(store.drive(calls.recent_calls(store.table, session_id))) < count:
        if time.monotonic() > deadline:
            raise AssertionError(f"Fewer than {count} calls of {session_id} were recorded")
        time.sleep(0.1)
