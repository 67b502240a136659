"""What belongs to an event loop: the served server's lifespan, entered once on each, and handlers' tasks."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

import pytest
from mcp_types import INTERNAL_ERROR
from pytest_django import Settings

from mcpsite.endpoint import loop as loops
from mcpsite.endpoint.loop import ServingLoop, begun_loop, close_loop, current_loop
from mcpsite.lifespan import Lifespan
from sessions_dynamo import client
from sessions_dynamo.asgi_server.lifespan import RELEASE_CLIENTS
from sessions_dynamo.dataplane.loops import plane_of_this_loop
from tests.mcpsite import servers, site
from tests.mcpsite.endpoint.streams.support import until
from tests.mcpsite.peers import LegacyPeer, ModernPeer

variable: ContextVar[str] = ContextVar("variable", default="unset")


@pytest.fixture(autouse=True)
def _tools(settings: Settings) -> Iterator[None]:
    settings.MCP_SERVER = "tests.mcpsite.servers:tools"
    site.on_the_loop(close_loop())
    servers.lives.clear()
    yield
    site.on_the_loop(close_loop())


@asynccontextmanager
async def serving() -> AsyncIterator[ServingLoop]:
    try:
        yield await current_loop()
    finally:
        await close_loop()


async def test_requests_at_once_share_what_the_loop_has() -> None:
    async with serving() as first:
        assert {id(other) for other in await asyncio.gather(*(current_loop() for _ in range(100)))} == {id(first)}
    assert servers.lives == ["begun", "ended"]


async def test_each_loop_has_its_own() -> None:
    async def other() -> int:
        async with serving() as one:
            return id(one)

    async with serving() as ours:
        assert await asyncio.to_thread(lambda: asyncio.run(other())) != id(ours)
        assert begun_loop() is ours


def test_a_loop_that_was_closed_unasked_is_forgotten() -> None:
    async def begin() -> None:
        await current_loop()

    before = set(loops._loops)
    for _ in range(3):
        asyncio.run(begin())
    assert len(set(loops._loops) - before) <= 1


def test_the_lifespan_is_entered_once_and_its_state_reaches_handlers(legacy: LegacyPeer, modern: ModernPeer) -> None:
    seen = [peer.call("who").data for peer in (legacy, modern, legacy)]
    assert {entry["thread"] for entry in seen} == {"site"}
    assert all(entry["lifespan"] == {"thread": "site"} for entry in seen)
    assert servers.lives == ["begun"]


async def test_another_server_leaves_the_first_ones_lifespan(settings: Settings) -> None:
    async with serving() as first:
        settings.MCP_SERVER = "tests.mcpsite.servers:mirrored"
        assert await current_loop() is not first
        assert servers.lives == ["begun", "ended"]


async def test_a_handler_sees_its_requests_context_and_keeps_its_own() -> None:
    async def read_and_set() -> str:
        before = variable.get()
        variable.set("inside")
        return before

    async with serving() as loop:
        variable.set("outside")
        assert await loop.begin(read_and_set()) == "outside"
        assert variable.get() == "outside"


async def test_a_handler_that_nobody_refers_to_is_not_collected() -> None:
    async def park() -> None:
        # Nothing else refers to this future: it and the task that waits for it are a circle.
        await asyncio.get_running_loop().create_future()

    async with serving() as loop:
        reference = weakref.ref(loop.begin(park()))
        await asyncio.sleep(0)
        gc.collect()
        task = reference()
        assert task is not None
        task.cancel()


async def test_a_handler_outlives_a_request_that_is_cancelled() -> None:
    finished = asyncio.Event()

    async def handle() -> None:
        await asyncio.sleep(0.02)
        finished.set()

    async with serving() as loop:

        async def request() -> None:
            await asyncio.shield(loop.begin(handle()))

        task = asyncio.create_task(request())
        await asyncio.sleep(0)
        task.cancel()
        await finished.wait()


async def test_what_is_closed_has_left_its_lifespan_and_leaves_no_task() -> None:
    async with serving() as loop:
        await loop.close()
        await loop.close()
        assert servers.lives == ["begun", "ended"]
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_handlers_that_do_not_end_are_cancelled_and_awaited(settings: Settings) -> None:
    settings.SHUTDOWN_GRACE_SECONDS = 0.05
    ended: list[str] = []

    async def never() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("cleaned up")

    async with serving() as loop:
        loop.begin(never())
        await asyncio.sleep(0)
    assert ended == ["cleaned up"]


async def test_a_handler_that_took_too_long_to_settle_is_waited_for_no_more() -> None:
    async with serving() as loop:
        running = loop.begin(asyncio.sleep(60))
        await loop.settle(0.01)
        async with asyncio.timeout(10):
            await loop.settle(60)
        assert not running.done()
    assert running.cancelled()


def test_a_lifespan_that_fails_to_start_fails_that_request_and_is_tried_again(
    modern: ModernPeer, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    servers.attempts.clear()
    settings.MCP_SERVER = "tests.mcpsite.servers:flaky"

    answer = modern.request("tools/list")
    assert answer.status == 500
    assert answer.error == {"code": INTERNAL_ERROR, "message": "Internal server error"}
    assert "a secret" in caplog.text

    assert modern.request("tools/list").status == 200
    assert servers.attempts == ["begun", "begun"]


def test_a_lifespan_that_dies_later_is_entered_anew(modern: ModernPeer, settings: Settings) -> None:
    settings.MCP_SERVER = "tests.mcpsite.servers:mortal"
    settings.STREAM_KEEPALIVE_SECONDS = 1
    modern.call("doom")

    async def died() -> None:
        async with asyncio.timeout(5):
            while (serving := begun_loop()) is not None and not serving._lifespan.done():
                await asyncio.sleep(0.01)

    site.on_the_loop(died())
    assert modern.request("tools/list").status == 200


async def test_a_poller_that_fails_is_said_to_and_another_is_begun() -> None:
    class Broken:
        def __len__(self) -> int:
            return 1

        def due(self, now: float, *, is_beat: bool) -> Iterable[Any]:
            raise LookupError("a bug")

    said: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))
    async with serving() as first:
        first.worker._poller.attend(Broken())
        first.worker._poller.stir()
        first.worker._poller.poke()
        await asyncio.wait([first._lifespan], timeout=10)
        assert await current_loop() is not first
    assert "a bug" in repr(said)


# --- ASGI's lifespan ------------------------------------------------------------------------------------------


class Server:
    """The other end of an ASGI lifespan."""

    def __init__(self) -> None:
        self.state: dict[str, Any] = {}
        self.sent: list[dict[str, Any]] = []
        self.stop = asyncio.Event()
        self._asked = False

    async def receive(self) -> Any:
        if not self._asked:
            self._asked = True
            return {"type": "lifespan.startup"}
        await self.stop.wait()
        return {"type": "lifespan.shutdown"}

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    async def run(self) -> None:
        async def nothing(*_: Any) -> None:
            raise AssertionError("a lifespan reached the site")

        await Lifespan(nothing)({"type": "lifespan", "state": self.state}, self.receive, self.send)

    async def until(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.sent) < count:
                await asyncio.sleep(0.005)


async def test_the_servers_lifespan_is_the_sites() -> None:
    server = Server()
    running = asyncio.create_task(server.run())
    await server.until(1)
    assert server.sent[0]["type"] == "lifespan.startup.complete"
    assert servers.lives == ["begun"]
    # What a server calls first of all when it is told to stop.
    server.state[RELEASE_CLIENTS]()
    server.stop.set()
    await running
    assert server.sent[1]["type"] == "lifespan.shutdown.complete"
    assert servers.lives == ["begun", "ended"]
    assert begun_loop() is None


async def test_credentials_are_looked_for_before_the_first_request_and_nobody_waits_for_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = threading.Event()
    look_up = client.dynamodb_access

    def stalling(region: str | None = None) -> client.Access:
        found.wait(10)
        return look_up(region)

    monkeypatch.setattr(client, "dynamodb_access", stalling)
    server = Server()
    running = asyncio.create_task(server.run())
    await server.until(1)
    assert plane_of_this_loop().endpoint is None
    found.set()
    await until(lambda: plane_of_this_loop().endpoint is not None)
    server.stop.set()
    await running
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_what_was_made_by_then_is_no_matter_for_the_collector() -> None:
    before = gc.get_freeze_count()
    server = Server()
    running = asyncio.create_task(server.run())
    await server.until(1)
    assert gc.get_freeze_count() > before
    server.stop.set()
    await running


async def test_a_lifespan_that_fails_keeps_the_server_from_starting(settings: Settings) -> None:
    servers.attempts.clear()
    settings.MCP_SERVER = "tests.mcpsite.servers:flaky"
    server = Server()
    await server.run()
    assert server.sent[0]["type"] == "lifespan.startup.failed"
    await close_loop()
