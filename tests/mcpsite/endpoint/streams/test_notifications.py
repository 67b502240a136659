"""Server events: from one handler to the subscribers of both eras on every worker, each once, and not too often."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from mcp.server.subscriptions import InMemorySubscriptionBus, ServerEvent
from mcp.shared.subscriptions import ResourceUpdated, ToolsListChanged

from mcpsite.endpoint.peers import telling
from mcpsite.endpoint.peers.coalescing import TOPIC_SECONDS
from mcpsite.endpoint.streams.worker import Worker
from sessions_dynamo.errors import StorageUnavailable
from sessions_dynamo.store.event_items import Event
from sessions_dynamo.store.session_items import Session
from sessions_dynamo.store.sessions import default_store
from sessions_dynamo.workers.standalone_operations import StandaloneOperations
from tests.mcpsite.conftest import Wire
from tests.mcpsite.endpoint.streams.support import Peer, leftovers, new_session, until, workers
from tests.mcpsite.faults import before, failing
from tests.mcpsite.site import on_the_loop

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
        all_of_them = Site(made)
        for worker in made:
            # As for a subscription.
            stack.callback(await worker.notifications.attend())
        yield all_of_them


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
        idle.notifications.attach(InMemorySubscriptionBus())
        session, client = await subscribed(here, URI)
        await bus.publish(ResourceUpdated(uri=URI))
        await until(lambda: len(client.messages) == 1)
        await until(lambda: not here.notifications.is_spreading)
        moved = Peer()
        await idle.notifications.attend()
        await idle.resume(session, client.cursor, moved.outbox)
        await asyncio.sleep(0.2)
        assert moved.messages == []
        await bus.publish(ResourceUpdated(uri=URI))
        await until(lambda: len(moved.messages) == 1)


async def test_a_session_that_cannot_be_reached_keeps_no_other_from_hearing(caplog: pytest.LogCaptureFixture) -> None:
    async with site(1) as one:
        made = [await subscribed(one.workers[0], URI) for _ in range(4)]

        def fail_for_two(owner: str, events: list[Event], keys: list[str], **_: object) -> None:
            if events[0].session_id in {session.session_id for session, _ in made[:2]}:
                raise StorageUnavailable("no")

        with before(StandaloneOperations, "deliver", fail_for_two), caplog.at_level(logging.WARNING):
            await one.buses[0].publish(ResourceUpdated(uri=URI))
            await until(lambda: all(client.messages for _, client in made[2:]))
        assert caplog.text.count("did not reach a session") == 2


async def test_while_others_cannot_be_told_those_here_hear_and_the_others_later(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(telling, "RETRY_SECONDS", (0.05, 0.05))
    async with site(2) as both:
        (_, near) = await subscribed(both.workers[0], URI)
        with failing("PutItem"), caplog.at_level(logging.WARNING):
            await both.buses[0].publish(ResourceUpdated(uri=URI))
            await until(lambda: near.messages and "wait to be told" in caplog.text)
            assert both.heard == [[ResourceUpdated(uri=URI)], []]
            assert both.workers[0].notifications.is_spreading
        await until(lambda: both.heard[1])
        await until(lambda: not both.workers[0].notifications.is_spreading)
        await asyncio.sleep(0.2)
        assert both.heard == [[ResourceUpdated(uri=URI)]] * 2


async def test_while_subscriptions_cannot_be_read_the_other_workers_still_hear(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with site(2) as both:
        (_, near) = await subscribed(both.workers[0], URI)
        with failing("BatchGetItem"), caplog.at_level(logging.WARNING):
            await both.buses[0].publish(ResourceUpdated(uri=URI))
            await until(lambda: both.heard[1])
            await until(lambda: "reached no session" in caplog.text)
        assert near.messages == []


async def test_an_event_that_no_item_can_hold_reaches_those_here(caplog: pytest.LogCaptureFixture) -> None:
    async with site(2) as both:
        await both.buses[0].publish(ResourceUpdated(uri="test://" + "x" * 400_000))
        await both.buses[0].publish(ResourceUpdated(uri=URI))
        await until(lambda: both.heard[1])
        assert len(both.heard[0]) == 2
        assert both.heard[1] == [ResourceUpdated(uri=URI)]
        assert "reached this worker's clients only" in caplog.text


# --- What changes all the time --------------------------------------------------------------------------------


async def test_five_hundred_updates_a_second_are_told_some_ten_times_and_the_last_one_is() -> None:
    async with site(2) as both:
        (_, near), (_, far) = [await subscribed(worker, URI) for worker in both.workers]
        published = 0
        at: list[list[int]] = [[], []]
        for place, bus in enumerate(both.buses):
            bus.subscribe(lambda event, place=place: at[place].append(published))  # type: ignore[misc]
        began = time.monotonic()
        for _ in range(500):
            published += 1
            await both.buses[0].publish(ResourceUpdated(uri=URI))
            await asyncio.sleep(0.002)
        most = (time.monotonic() - began) / TOPIC_SECONDS + 2
        await until(lambda: not both.workers[0].notifications.is_spreading)
        # What was told last was told when all of them had happened.
        await until(lambda: all(numbers and numbers[-1] == 500 for numbers in at))
        assert at[0][0] == 1
        await until(lambda: not any(worker.notifications.is_spreading for worker in both.workers))
        for count in (len(both.heard[0]), len(both.heard[1]), len(near.messages), len(far.messages)):
            assert 2 <= count <= most


async def test_what_several_workers_publish_of_one_resource_is_told_no_oftener() -> None:
    async with site(3) as all_of_them:
        began = time.monotonic()
        for _ in range(200):
            for bus in all_of_them.buses:
                await bus.publish(ResourceUpdated(uri=URI))
            await asyncio.sleep(0.005)
        await until(lambda: not any(worker.notifications.is_spreading for worker in all_of_them.workers))
        await asyncio.sleep(0.3)
        most = (time.monotonic() - began) / TOPIC_SECONDS + 2
        assert all(2 <= len(heard) <= most for heard in all_of_them.heard)


async def test_a_resource_that_changes_all_the_time_keeps_no_other_from_being_told() -> None:
    async with site(2) as both:
        for _ in range(20):
            await both.buses[0].publish(ResourceUpdated(uri=URI))
        others = [ResourceUpdated(uri=f"test://{number}") for number in range(5)]
        for other in others:
            await both.buses[0].publish(other)
        assert both.heard[0] == [ResourceUpdated(uri=URI), *others]
        await until(lambda: set(others) <= set(both.heard[1]))


async def test_what_was_published_before_a_stream_was_opened_is_not_told_there() -> None:
    async with workers(2) as [here, there]:
        buses = [InMemorySubscriptionBus(), InMemorySubscriptionBus()]
        heard: list[ServerEvent] = []
        for worker, bus in zip((here, there), buses, strict=True):
            worker.notifications.attach(bus)
        await buses[0].publish(ResourceUpdated(uri="test://old"))
        await until(lambda: not here.notifications.is_spreading)
        leave = await there.notifications.attend()
        buses[1].subscribe(heard.append)
        await buses[0].publish(ResourceUpdated(uri=URI))
        await until(lambda: heard)
        await asyncio.sleep(0.1)
        assert heard == [ResourceUpdated(uri=URI)]
        leave()
        assert len(there.news) == 0


# --- The server's bus -----------------------------------------------------------------------------------------


async def test_a_bus_is_as_it_was_once_its_worker_has_stopped() -> None:
    bus, heard = InMemorySubscriptionBus(), list[ServerEvent]()
    bus.subscribe(heard.append)
    before_it = dict(vars(bus))
    async with workers(1) as [worker]:
        await asyncio.sleep(0)
        worker.notifications.attach(bus)
        assert vars(bus).keys() != before_it.keys()
        for _ in range(3):
            await bus.publish(ToolsListChanged())
        assert heard == [ToolsListChanged()]
    assert vars(bus) == before_it
    for _ in range(3):
        await bus.publish(ToolsListChanged())
    assert len(heard) == 4


async def test_a_later_worker_of_the_same_loop_takes_a_bus_over() -> None:
    bus = InMemorySubscriptionBus()
    async with workers(2) as [first, second]:
        first.notifications.attach(bus)
        second.notifications.attach(bus)
        first.notifications.detach()
        await bus.publish(ToolsListChanged())
        assert (first.teller.is_spreading, second.teller.is_spreading) == (False, True)
        await until(lambda: not second.notifications.is_spreading)
        second.notifications.detach()
        assert "publish" not in vars(bus)


async def test_what_another_loop_publishes_is_no_matter_of_this_ones_worker() -> None:
    bus, heard = InMemorySubscriptionBus(), list[ServerEvent]()
    bus.subscribe(heard.append)

    async def publish() -> None:
        for _ in range(3):
            await bus.publish(ToolsListChanged())

    async with workers(1) as [worker]:
        worker.notifications.attach(bus)
        await asyncio.to_thread(on_the_loop, publish())
        assert len(heard) == 3
        assert not worker.notifications.is_spreading


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
        for number, payload in enumerate(unknown):
            both.workers[0].teller.tell(payload, str(number))
        await both.buses[0].publish(ResourceUpdated(uri=URI))
        await until(lambda: client.messages)
        assert [message["params"]["uri"] for message in client.messages] == [URI]
        assert both.heard[1] == [ResourceUpdated(uri=URI)]


async def test_a_subscription_of_such_a_server_costs_nothing(wire: Wire) -> None:
    async with workers(1) as [worker]:
        worker.notifications.attach(BusOfItsOwn())
        leave = await worker.notifications.attend()
        await asyncio.sleep(0.1)
        leave()
        assert wire.operations == []


async def test_sessions_hear_no_oftener_of_what_such_a_bus_carries_all_the_time() -> None:
    async with workers(1) as [worker]:
        bus = BusOfItsOwn()
        worker.notifications.attach(bus)
        _, client = await subscribed(worker, URI)
        for _ in range(50):
            await bus.publish(ResourceUpdated(uri=URI))
        await until(lambda: not worker.notifications.is_spreading)
        assert len(client.messages) == 2


async def test_nothing_is_left_of_an_event() -> None:
    async with workers(1) as [worker]:
        bus = InMemorySubscriptionBus()
        worker.notifications.attach(bus)
        for _ in range(10):
            await bus.publish(ToolsListChanged())
        await until(lambda: not worker.notifications.is_spreading)
        assert leftovers(worker) == {}
