"""The official SDKs' own clients, of both eras, through a balancer that sends each request to the next worker."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.client import Client
from mcp.client.context import ClientRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import (
    CreateMessageRequestParams,
    CreateMessageResult,
    ElicitRequestParams,
    ElicitResult,
    LoggingMessageNotificationParams,
    ResourceUpdatedNotification,
    TextContent,
)

from tests.engines import on_dynamodb_local
from tests.live.stream_sites import StreamSite, stream_site

pytestmark = on_dynamodb_local

TESTS = Path(__file__).resolve().parents[1]
NODE = TESTS / "node_modules" / ".bin" / "node"
URI = "test://watched"
SECONDS = 40


@pytest.fixture(scope="module")
def site(engine: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[StreamSite]:
    with stream_site(engine[1], tmp_path_factory.mktemp("clients"), STREAM_RETRY_MS="200") as site:
        yield site


# --- TypeScript -------------------------------------------------------------------------------------------------


def run_typescript(site: StreamSite, line: str) -> dict[str, Any]:
    """What the TypeScript SDK's client got."""
    command = [str(NODE), str(TESTS / "live" / "stream_client.mjs"), site.url, line]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS + 10)
    assert done.returncode == 0, done.stderr
    got: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return got


@pytest.mark.parametrize("line", ["sdk", "client-legacy"])
def test_the_typescript_client_with_a_session(site: StreamSite, line: str) -> None:
    got = run_typescript(site, line)

    assert got["version"] == "2025-11-25"
    assert got["progress"] == [1, 2, 3, 4, 5]
    assert got["counted"] == "counted to 5"
    assert got["numbers"] == [1, 2, 3, 4, 5]
    assert (got["answer"], got["model"]) == ("green", "said the model")
    assert got["painted"] == "a fence in green"
    assert got["asked"] == 2
    # Sent away in the middle, it came back for the rest by itself.
    assert got["away"] == [1, 2, 3, 4, 5]
    assert (got["aside"], got["afterwards"]) == ([1, 2, 3], [4, 5, 6])
    assert got["updated"] == [URI]
    assert "too late" in got["failure"]
    # The client of the older line takes an error for no answer and comes back, once: it is told not to.
    assert got["idle"] == ([["GET", 204, True]] if line == "sdk" else [])


def test_the_typescript_client_without_sessions(site: StreamSite) -> None:
    got = run_typescript(site, "client-modern")

    assert got["version"] == "2026-07-28"
    assert got["progress"] == [1, 2, 3, 4, 5]
    assert got["painted"] == "a fence in green"
    assert got["asked"] == 1
    assert got["updated"] == [URI]


# --- Python -----------------------------------------------------------------------------------------------------


class Seen:
    """What a client's callbacks were given."""

    def __init__(self) -> None:
        self.logged: list[Any] = []
        self.updated: list[str] = []
        self.asked = 0

    async def log(self, params: LoggingMessageNotificationParams) -> None:
        self.logged.append(params.data)

    async def message(self, message: object) -> None:
        if isinstance(message, ResourceUpdatedNotification):
            self.updated.append(str(message.params.uri))

    async def elicit(self, context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
        self.asked += 1
        return ElicitResult(action="accept", content={"colour": "green"})

    async def sample(self, context: ClientRequestContext, params: CreateMessageRequestParams) -> CreateMessageResult:
        return CreateMessageResult(role="assistant", model="m", content=TextContent(type="text", text="said the model"))

    async def wait_for_logged(self, *numbers: int) -> None:
        with anyio.fail_after(10):
            while len(self.logged) < len(numbers):
                await anyio.sleep(0.05)
        assert self.logged == [*numbers]
        self.logged.clear()

    async def wait_for_update(self) -> None:
        with anyio.fail_after(10):
            while not self.updated:
                await anyio.sleep(0.05)
        assert self.updated == [URI]


def python_client(site: StreamSite, seen: Seen, mode: str) -> Client:
    return Client(
        site.url,
        mode=mode,
        logging_callback=seen.log,
        message_handler=seen.message,
        elicitation_callback=seen.elicit,
        sampling_callback=seen.sample,
        log_level="info",
    )


async def text(client: Client, tool: str, **arguments: Any) -> str:
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    (content,) = result.content
    assert isinstance(content, TextContent)
    return content.text


async def count_progress(client: Client) -> list[float]:
    counted: list[float] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        counted.append(progress)

    await client.call_tool("count_progress", {"last": 5}, progress_callback=on_progress)
    return counted


@pytest.mark.filterwarnings("ignore:resources/subscribe is removed")
def test_the_python_client_with_a_session(site: StreamSite) -> None:
    async def use() -> None:
        seen = Seen()
        async with python_client(site, seen, "legacy") as client:
            assert client.protocol_version == "2025-11-25"
            assert await count_progress(client) == [1, 2, 3, 4, 5]
            await client.call_tool("count_to", {"last": 5, "pause": 0})
            await seen.wait_for_logged(1, 2, 3, 4, 5)
            assert await text(client, "ask_user", question="?") == "green"
            assert await text(client, "ask_model", question="?") == "said the model"
            assert await text(client, "paint", what="a fence") == "a fence in green"
            assert seen.asked == 2
            assert await text(client, "send_away", last=5, pause=0.4) == "counted to 5"
            await seen.wait_for_logged(1, 2, 3, 4, 5)
            await client.call_tool("say_aside", {"first": 1, "last": 3})
            await seen.wait_for_logged(1, 2, 3)
            await client.subscribe_resource(URI)
            await client.call_tool("announce", {"uri": URI})
            await seen.wait_for_update()
            await client.call_tool("close_standalone", {})
            await client.call_tool("say_aside", {"first": 4, "last": 6})
            await seen.wait_for_logged(4, 5, 6)
            with pytest.raises(MCPError, match="too late"):
                await client.call_tool("fail_late", {})

    with anyio.from_thread.start_blocking_portal() as portal:
        portal.start_task_soon(use).result(SECONDS)


def test_the_python_client_without_sessions(site: StreamSite) -> None:
    async def use() -> None:
        seen = Seen()
        async with python_client(site, seen, "auto") as client:
            assert client.protocol_version == "2026-07-28"
            assert await count_progress(client) == [1, 2, 3, 4, 5]
            await client.call_tool("count_to", {"last": 5, "pause": 0})
            await seen.wait_for_logged(1, 2, 3, 4, 5)
            assert await text(client, "paint", what="a fence") == "a fence in green"
            assert seen.asked == 1
            async with client.listen(resource_subscriptions=[URI]) as subscription:
                await client.call_tool("announce", {"uri": URI})
                with anyio.fail_after(10):
                    event = await anext(aiter(subscription))
                assert event.uri == URI  # type: ignore[union-attr]

    with anyio.from_thread.start_blocking_portal() as portal:
        portal.start_task_soon(use).result(SECONDS)
