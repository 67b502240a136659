"""Server events: from one handler to the subscribers of both eras on every worker, each once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from mcp.server.subscriptions import InMemorySubscriptionBus, ServerEvent
from mcp.shared.subscriptions import ResourceUpdated, ToolsListChanged

from mcpsite.endpoint.streams.worker import Worker
from sessions_dynamo.errors import StorageUnavailable
from sessions_dynamo.store.event_items import Event
from sessions_dynamo.store.session_items import Session
from sessions_dynamo.store.sessions import default_store
from sessions_dynamo.workers.stream_operations import StreamOperations
from tests.mcpsite.conftest import Wire
from tests.mcpsite.endpoint.streams.support import Peer, leftovers, new_session, until, workers
from tests.mcpsite.faults import before, failing

pytestmark = pytest.mark.usefixtures("store")

URI = "test://one"


class Site:
    """Workers, each with the bus of its server, and what the listeners of each bus heard."""

    def __init__(self, made: list[Worker]) -> None:
        self.workers = made
        self.buses = [InMemorySubscriptionBus() for _ in made]
        self.heard: list[list[ServerEvent]] = [[] for _ in made]
        for worker, bus, heard in zip(made, self.buses, self.heard, strict=True):
            worker.notifications.attach(bus)
            bus.subscribe(heard.append)


@asynccontextmanager
async def site(count: int) -> AsyncIterator[Site]:
    async with AsyncExitStack() as stack:
        made = await stack.enter_async_context(workers(count))
        for worker in made:
            # The bus is read while something waits: a handler, say.
            stack.enter_context(worker.running("somebody's", "call", lambda: None))
        yield Site(made)


async def subscribed(worker: Worker, *uris: str) -> tuple[Session, Peer]:
    """A session whose client has an open stream, and subscriptions."""
    session, client = new_session(), Peer()
    for uri in uris:
        default_store().subscribe(session, uri)
    await worker.hold(session, client.outbox)
    return session, client


async def test_an_event_is_heard_once_on_every_worker() -> None:
    async with site(3) as all_of_them:
        await all_of_them.buses[0].publish(ResourceUpdated(uri=URI))
        assert all_of_them.heard[0] == [ResourceUpdated(uri=URI)]
        await until(lambda: all(all_of_them.heard))
        await asyncio.sleep(0.2)
        assert all_of_them.heard == [[ResourceUpdated(uri=URI)]] * 3


async def test_sessions_hear_of_the_resources_they_subscribed_to() -> None:
    async with site(2) as both:
        here, there = both.workers
        (_, near), (_, far), (_, other), (_, none) = [
            await subscribed(here, URI, "test://two"),
            await subscribed(there, URI),
            await subscribed(there, "test://two"),
            await subscribed(here),
        ]
        await both.buses[0].publish(ResourceUpdated(uri=URI))
        await until(lambda: near.messages and far.messages)
        await asyncio.sleep(0.1)
        expected = {"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": {"uri": URI}}
        assert (near.messages, far.messages, other.messages, none.messages) == ([expected], [expected], [], [])


async def test_every_session_hears_that_a_list_changed() -> None:
    async with site(2) as both:
        clients = [(await subscribed(worker))[1] for worker in both.workers for _ in "ab"]
        await both.buses[1].publish(ToolsListChanged())
        await until(lambda: all(client.messages for client in clients))
        assert [client.texts for client in clients] == [["notifications/tools/list_changed"]] * 4


async def test_an_unsubscribed_session_hears_no_more() -> None:
    async with site(1) as one:
        session, client = await subscribed(one.workers[0], URI)
        default_store().unsubscribe(session, URI)
        await one.buses[0].publish(ResourceUpdated(uri=URI))
        await asyncio.sleep(0.1)
        assert client.messages == []


async def test_a_session_that_moves_to_a_worker_that_was_idle_hears_nothing_twice() -> None:
    async with workers(2) as [here, idle]:
        bus = InMemorySubscriptionBus()
        here.notifications.attach(bus)
        session, client = await subscribed(here, URI)
        await bus.publish(ResourceUpdated(uri=URI))
        await until(lambda: len(client.messages) == 1)
        await until(lambda: not here.notifications.is_spreading)
        # It reads the bus from some seconds back: others' clocks may be behind.
        moved = Peer()
        await idle.resume(session, client.cursor, moved.outbox)
        await asyncio.sleep(0.2)
        assert moved.messages == []
        await bus.publish(ResourceUpdated(uri=URI))
        await until(lambda: len(moved.messages) == 1)


async def test_a_session_that_cannot_be_reached_keeps_no_other_from_hearing(caplog: pytest.LogCaptureFixture) -> None:
    async with site(1) as one:
        made = [await subscribed(one.workers[0], URI) for _ in range(4)]

        def fail_for_two(owner: str, events: list[Event], keys: list[str]) -> None:
            if events[0].session_id in {session.session_id for session, _ in made[:2]}:
                raise StorageUnavailable("no")

        with before(StreamOperations, "deliver", fail_for_two), caplog.at_level(logging.WARNING):
            await one.buses[0].publish(ResourceUpdated(uri=URI))
            await until(lambda: all(client.messages for _, client in made[2:]))
        assert caplog.text.count("did not reach a session") == 2


@pytest.mark.parametrize("operation", ["PutItem", "BatchGetItem"])
async def test_where_storage_fails_half_of_them_the_other_half_still_hears(
    caplog: pytest.LogCaptureFixture, operation: str
) -> None:
    async with site(2) as both:
        (_, near) = await subscribed(both.workers[0], URI)
        with failing(operation), caplog.at_level(logging.WARNING):
            await both.buses[0].publish(ResourceUpdated(uri=URI))
            if operation == "PutItem":
                await until(lambda: near.messages)
                assert both.heard[1] == []
            else:
                await until(lambda: both.heard[1])
                assert near.messages == []
            await until(lambda: not both.workers[0].notifications.is_spreading)
        assert "a server event reached" in caplog.text


class BusOfItsOwn:
    """A server's own ``SubscriptionBus``, over something that reaches every worker by itself."""

    def __init__(self) -> None:
        self.listeners: list[Callable[[ServerEvent], None]] = []
        self.published = 0

    async def publish(self, event: ServerEvent) -> None:
        self.published += 1
        for listener in list(self.listeners):
            listener(event)

    def subscribe(self, listener: Callable[[ServerEvent], None]) -> Callable[[], None]:
        self.listeners.append(listener)
        return lambda: self.listeners.remove(listener)


async def test_a_bus_that_reaches_every_worker_by_itself_is_not_carried_there_again(wire: Wire) -> None:
    async with workers(2) as both:
        bus = BusOfItsOwn()
        clients = []
        for worker in both:
            worker.notifications.attach(bus)
            clients.append((await subscribed(worker, URI))[1])
        await bus.publish(ResourceUpdated(uri=URI))
        await until(lambda: all(client.messages for client in clients))
        await asyncio.sleep(0.2)
        assert bus.published == 1
        assert [len(client.messages) for client in clients] == [1, 1]


async def test_a_worker_that_stopped_listens_no_more() -> None:
    bus = BusOfItsOwn()
    async with workers(1) as [worker]:
        worker.notifications.attach(bus)
        await asyncio.sleep(0)
        assert len(bus.listeners) == 1
    assert bus.listeners == []


async def test_what_another_version_of_the_server_publishes_is_let_be() -> None:
    async with site(2) as both:
        _, client = await subscribed(both.workers[1], URI)
        unknown: list[Any] = [
            {"method": "notifications/from/the/future", "params": {}},
            {"method": "notifications/resources/updated", "params": {}},
            {"params": {}},
            ["x"],
            None,
        ]
        for payload in unknown:
            await both.workers[0].publish_notification(payload)
        await both.buses[0].publish(ResourceUpdated(uri=URI))
        await until(lambda: client.messages)
        assert [message["params"]["uri"] for message in client.messages] == [URI]
        assert both.heard[1] == [ResourceUpdated(uri=URI)]


async def test_nothing_is_left_of_an_event() -> None:
    async with workers(1) as [worker]:
        bus = InMemorySubscriptionBus()
        worker.notifications.attach(bus)
        for _ in range(10):
            await bus.publish(ToolsListChanged())
        await until(lambda: not worker.notifications.is_spreading)
        assert leftovers(worker) == {}
