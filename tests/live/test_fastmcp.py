"""A FastMCP server over three processes that are not sticky, some of them killed: FastMCP's client, and the SDK's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import anyio
import pytest
from mcp.client import Client
from mcp.client.context import ClientRequestContext
from mcp_types import CreateMessageRequestParams, CreateMessageResult, ElicitRequestParams, ElicitResult, TextContent

from tests.engines import on_dynamodb_local
from tests.live.stream_sites import StreamSite, stream_site
from tests.mcpsite.fastmcp_installed import need_fastmcp

need_fastmcp()

from fastmcp import Client as FastMCPClient  # noqa: E402

pytestmark = on_dynamodb_local

ROUNDS = 2


@pytest.fixture(scope="module")
def site(engine: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[StreamSite]:
    with stream_site(
        engine[1], tmp_path_factory.mktemp("fastmcp"), MCP_SERVER="tests.mcpsite.fastmcp_server:mcp"
    ) as started:
        yield started


async def _replace(site: StreamSite, number: int) -> None:
    """Kill one process, and begin another in its place."""
    port = site.ports[number % len(site.ports)]
    await anyio.to_thread.run_sync(site.kill, port)
    await anyio.to_thread.run_sync(site.start, port)


async def _ask(message: str, response_type: Any, params: Any, context: Any) -> Any:
    return {"value": "Ann"}


def test_fastmcps_client_keeps_its_session_while_processes_are_killed(site: StreamSite) -> None:
    heard: list[float] = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        heard.append(done)

    async def use() -> None:
        async with FastMCPClient(
            site.url, mode="legacy", elicitation_handler=_ask, progress_handler=progress
        ) as client:
            expected: list[str] = []
            for number in range(ROUNDS):
                for _ in site.ports:
                    expected.append(f"note {len(expected)}")
                    assert (await client.call_tool("add_note", {"text": expected[-1]})).data == expected
                await _replace(site, number)
            assert (await client.call_tool("ask")).data == "accept: Ann"
            assert heard == [1]
            assert (await client.read_resource("note://a"))[0].text == "note a"
            assert (await client.get_prompt("greet", {"name": "Ann"})).messages[0].content.text == "Greet Ann"
            assert (await client.call_tool("child_keep", {"text": "x"})).data == ["x"]
            assert (await client.call_tool("child_keep", {"text": "y"})).data == ["x", "y"]

    anyio.run(use)


def test_fastmcps_client_without_sessions_keeps_what_its_handle_names(site: StreamSite) -> None:
    async def use() -> None:
        async with FastMCPClient(site.url) as client:
            handle = (await client.call_tool("create_session")).data
            for number in range(ROUNDS):
                for _ in site.ports:
                    facts = (await client.call_tool("remember", {"session_id": handle, "fact": "x"})).data
                await _replace(site, number)
            assert facts == ["x"] * (ROUNDS * len(site.ports))

    anyio.run(use)


@pytest.mark.parametrize("mode", ["legacy", "auto"])
def test_the_sdks_client_is_served_in_both_eras(site: StreamSite, mode: Any) -> None:
    async def answer(context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
        return ElicitResult(action="accept", content={"value": "Bob"})

    async def write(context: ClientRequestContext, params: CreateMessageRequestParams) -> CreateMessageResult:
        return CreateMessageResult(role="assistant", content=TextContent(type="text", text="a poem"), model="poet")

    async def use() -> None:
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(
                Client(site.url, mode=mode, elicitation_callback=answer, sampling_callback=write)
            )

            async def call(name: str, **arguments: Any) -> Any:
                result = await client.call_tool(name, arguments)
                assert not result.is_error, result.content
                return (result.structured_content or {}).get("result")

            handle = await call("create_session")
            await call("remember", session_id=handle, fact="one")
            await _replace(site, 0)
            assert await call("remember", session_id=handle, fact="two") == ["one", "two"]
            if mode == "legacy":
                await call("add_note", text="one")
                await _replace(site, 1)
                assert await call("add_note", text="two") == ["one", "two"]
                assert await call("ask") == "accept: Bob"
                assert await call("sample") == "a poem"
            prompt = await client.get_prompt("greet", {"name": "Ann"})
            assert getattr(prompt.messages[0].content, "text", None) == "Greet Ann"

    anyio.run(use)
