"""``subscriptions/listen`` as it is served: what any worker publishes while its response is open, nothing older."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from pytest_django import Settings

from mcpsite.endpoint.loop import current_loop
from sessions_dynamo import worker_keys
from sessions_dynamo.dataplane.loops import run
from sessions_dynamo.workers.news import encoded
from sessions_dynamo.workers.streams import default_store
from tests.mcpsite.conftest import Wire
from tests.mcpsite.faults import failing
from tests.mcpsite.peers import ENVELOPE, JSON_HEADERS, MODERN, ModernPeer
from tests.mcpsite.site import Connection, on_the_loop

PATIENCE_SECONDS = 30


@pytest.fixture(autouse=True)
def _short_polls(settings: Settings) -> None:
    settings.EVENT_POLL_SECONDS = 0.05


class Elsewhere:
    """Another worker, which tells the others of resources."""

    def __init__(self) -> None:
        self.worker_id = worker_keys.new_worker_id()
        self.newest = 0

    async def publish(self, uri: str) -> None:
        text = encoded({"method": "notifications/resources/updated", "params": {"uri": uri}})
        news = default_store().news.operations
        self.newest = await run(news.publish(self.worker_id, self.newest + 1, [text]))


def listen(*uris: str) -> Connection:
    params = {"notifications": {"resourceSubscriptions": list(uris)}, "_meta": ENVELOPE}
    body = {"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": params}
    headers = {**JSON_HEADERS, "MCP-Protocol-Version": MODERN, "Mcp-Method": "subscriptions/listen"}
    return Connection("POST", "/mcp", json.dumps(body).encode(), headers)


def messages(connection: Connection) -> list[Any]:
    lines = b"".join(connection.pieces).decode().splitlines()
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]


async def has(connection: Connection, count: int) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(messages(connection)) < count:
            await asyncio.sleep(0.01)


@pytest.mark.usefixtures("modern")
def test_a_subscription_hears_what_another_worker_publishes_from_its_acknowledgement_on() -> None:
    async def hear() -> list[Any]:
        elsewhere, connection = Elsewhere(), listen("test://old", "test://new")
        await elsewhere.publish("test://old")
        serving = asyncio.create_task(connection.run())
        await has(connection, 1)
        await elsewhere.publish("test://new")
        await has(connection, 2)
        worker = (await current_loop()).worker
        assert len(worker.news) == 1
        connection.leave()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await serving
            while len(worker.news):
                await asyncio.sleep(0.01)
        return messages(connection)

    acknowledged, updated = on_the_loop(hear())
    assert acknowledged["method"] == "notifications/subscriptions/acknowledged"
    assert (updated["method"], updated["params"]["uri"]) == ("notifications/resources/updated", "test://new")


@pytest.mark.usefixtures("modern")
def test_a_subscription_that_could_miss_something_is_refused() -> None:
    async def refused() -> Connection:
        connection = listen("test://x")
        with failing("Query"):
            await connection.run()
        assert len((await current_loop()).worker.news) == 0
        return connection

    assert on_the_loop(refused()).status == 503


def test_a_subscription_that_ends_at_once_asks_for_nothing(modern: ModernPeer, wire: Wire, settings: Settings) -> None:
    settings.STREAM_SECONDS = 0
    modern.request("tools/list", {"_meta": ENVELOPE})
    wire.clear()
    answer = modern.request("subscriptions/listen", {"notifications": {"toolsListChanged": True}, "_meta": ENVELOPE})
    assert answer.status == 200
    assert wire.operations == []
