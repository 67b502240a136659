"""One poller a process: what it hears, what it does not wait for, and what it costs while nothing happens."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from mcp.server.subscriptions import InMemorySubscriptionBus
from pytest_django import Settings

from mcpsite.endpoint.streams.channels import RequestChannel
from mcpsite.endpoint.streams.running import request_key
from mcpsite.endpoint.streams.standalone import stream_id_of
from mcpsite.endpoint.streams.worker import Worker
from sessions_dynamo import schema, worker_keys
from sessions_dynamo.dataplane.observers import Asked, on_request
from sessions_dynamo.operations import Pause
from sessions_dynamo.store.event_operations import EventOperations
from sessions_dynamo.store.session_items import Session
from sessions_dynamo.store.sessions import default_store
from sessions_dynamo.workers.inboxes import InboxOperations
from sessions_dynamo.workers.streams import Lease, StreamStore
from tests.mcpsite.conftest import is_of_a_worker
from tests.mcpsite.endpoint.streams.support import (
    Peer,
    beats,
    finish,
    leftovers,
    log,
    new_session,
    owned,
    running,
    until,
    workers,
)
from tests.mcpsite.faults import before, failing, raising

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class Handler:
    """A request that is served until it is cancelled."""

    def __init__(self, worker: Worker, session: Session, request_id: int | str = 1) -> None:
        self.cancelled = self.hung_up = False
        self._begun = anyio.Event()
        self.task = asyncio.create_task(self._serve(worker, session.session_id, request_id, session.cancellations))

    async def _serve(self, worker: Worker, session_id: str, request_id: int | str, seen: int) -> None:
        with worker.running(session_id, request_id, self._hang_up, seen) as scope:
            self._begun.set()
            await anyio.sleep_forever()
        self.cancelled = scope.cancelled_caught

    def _hang_up(self) -> None:
        self.hung_up = True

    async def begun(self) -> Handler:
        await self._begun.wait()
        return self

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


@contextmanager
def counting() -> Iterator[Counter[str]]:
    """Every request from here on, looks at an inbox and beats of a lease apart from others."""
    counts: Counter[str] = Counter()

    def hear(asked: Asked) -> None:
        own = is_of_a_worker(asked.parameters)
        counts[{"Query": "inbox", "PutItem": "beat"}[asked.action] if own else asked.action] += 1

    with on_request(hear):
        yield counts


# --- Cancellation ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", [0, 1], ids=["the same worker", "another worker"])
async def test_a_request_is_cancelled_wherever_it_runs(session: Session, where: int) -> None:
    async with workers(2) as both:
        other = await Handler(both[0], session, 2).begun()
        handler = await Handler(both[0], session, 1).begun()
        await both[where].cancel(session, 1)
        await until(lambda: handler.cancelled)
        await asyncio.sleep(0.1)
        assert not other.cancelled
        await other.stop()
        await until(lambda: leftovers(both[0]) == {})


async def test_an_id_used_again_is_not_cancelled_by_what_was_meant_for_its_predecessor(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with workers(2, poll=0.1) as [here, there]:
        first = await Handler(here, session, 1).begun()
        await first.stop()
        await there.cancel(session, 1)
        second = await Handler(here, default_store().load(session.session_id), 1).begun()
        await asyncio.sleep(0.3)
        assert not second.cancelled
        await there.cancel(session, 1)
        await until(lambda: second.cancelled)


async def test_a_call_that_has_just_begun_is_cancelled_before_the_next_beat(session: Session) -> None:
    async with workers(2, poll=4.0) as [here, there]:
        began = time.monotonic()
        handler = await Handler(here, session, 1).begun()
        await there.cancel(session, 1)
        await until(lambda: handler.cancelled)
        assert time.monotonic() - began < 3.5


async def test_cancelling_what_runs_nowhere_does_nothing(session: Session) -> None:
    async with workers(2) as [here, there]:
        handler = await Handler(here, session, 1).begun()
        await there.cancel(session, 2)
        await there.cancel(new_session(), 1)
        await here.cancel(session, "1x")
        await asyncio.sleep(0.1)
        assert not handler.cancelled
        await handler.stop()


async def test_of_two_requests_with_one_id_neither_takes_the_other_with_it_when_it_ends(session: Session) -> None:
    async with workers(1) as [worker]:
        first, second = Handler(worker, session, 1), Handler(worker, session, 1)
        await first.begun()
        await second.begun()
        await first.stop()
        assert leftovers(worker)["running"] == 1
        await worker.cancel(session, 1)
        await until(lambda: second.cancelled)
        await until(lambda: leftovers(worker) == {})


@pytest.mark.parametrize("where", [0, 1], ids=["a worker that runs one", "a worker that runs none"])
async def test_a_cancellation_is_for_all_that_run_under_its_id(session: Session, where: int) -> None:
    """claude.ai has several calls of a session in flight under one id, and nothing tells which it means."""
    async with workers(3) as three:
        same = [await Handler(three[place], session, 1).begun() for place in (0, 0, 2)]
        other = await Handler(three[0], session, 2).begun()
        await three[where].cancel(session, 1)
        await until(lambda: all(handler.cancelled for handler in same))
        assert not any(handler.hung_up for handler in same)
        assert not other.cancelled
        await other.stop()
        await until(lambda: all(leftovers(worker) == {} for worker in three))


@pytest.mark.parametrize(("one", "other", "same"), [(7, "7", True), (7, 8, False), ("a", "b", False), ("", 0, False)])
def test_ids_are_one_where_the_sdk_takes_them_for_one(one: int | str, other: int | str, same: bool) -> None:
    assert (request_key(one) == request_key(other)) == same


# --- The end of a session -------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", [0, 1], ids=["the same worker", "another worker"])
async def test_a_session_that_ends_closes_what_it_has_open_everywhere(session: Session, where: int) -> None:
    async with workers(2) as both:
        stream, client = owned(both[0], session)
        await stream.emit(log(1))
        follower, standalone, handler = Peer(), Peer(), await Handler(both[0], session).begun()
        await both[1].resume(session, client.cursor, follower.outbox)
        await both[1].hold(session, standalone.outbox)
        other, stranger = new_session(), Peer()
        await both[0].hold(other, stranger.outbox)

        await both[where].end_session(session.session_id, session.created_at)
        await until(lambda: handler.cancelled and follower.has_ended and standalone.has_ended)
        assert handler.hung_up
        await finish(stream)
        assert not stranger.has_ended
        await until(lambda: leftovers(both[1]) == {})
        await until(lambda: leftovers(both[0]) == {"standalone": 1})


async def test_of_calls_under_one_id_none_outlives_its_session(session: Session) -> None:
    async with workers(1) as [worker]:
        calls = [await Handler(worker, session, 1).begun() for _ in range(3)]
        await worker.end_session(session.session_id, session.created_at)
        await until(lambda: all(call.cancelled and call.hung_up for call in calls))
        await until(lambda: leftovers(worker) == {})


async def test_on_a_client_whose_session_staff_end_nobody_hangs_up(session: Session, store: StreamStore) -> None:
    """It may be waiting, and has an error to learn of it by."""
    async with workers(1) as [worker]:
        handler = await Handler(worker, session).begun()
        store.end_session(session.session_id, session.created_at, hang_up=False)
        await until(lambda: handler.cancelled)
        assert not handler.hung_up


# --- Calls that nobody has heard of yet -----------------------------------------------------------------------


async def test_a_call_that_is_over_at_once_leaves_no_trace(session: Session, dynamodb: DynamoDBClient) -> None:
    async with workers(1, poll=0.2) as [worker]:
        with counting() as requests:
            for number in range(20):
                await (await Handler(worker, session, number).begun()).stop()
        assert not requests


async def test_a_call_leaves_word_while_it_runs_and_takes_it_back(session: Session, store: StreamStore) -> None:
    async with workers(1) as [worker]:
        handler = await Handler(worker, session, 7).begun()
        await until(lambda: store.holdings.of_request(session.session_id, "7", 1) == {worker.worker_id: [1]})
        assert store.holdings.of_session(session.session_id) == {worker.worker_id: [1]}
        await handler.stop()
        await until(lambda: store.holdings.of_session(session.session_id) == {})
        await until(lambda: leftovers(worker) == {})


async def test_a_call_that_was_cancelled_before_it_left_word_finds_that_by_itself(
    session: Session, store: StreamStore
) -> None:
    async with workers(2, poll=1.0) as [here, there]:
        before, other = await Handler(here, session).begun(), await Handler(here, session, 2).begun()
        await there.cancel(session, 1)
        assert store.inboxes.read(here.worker_id) == []
        after = await Handler(here, default_store().load(session.session_id)).begun()
        await until(lambda: before.cancelled)
        await until(lambda: not here._traces._over and len(here._traces) == 2)
        assert not after.cancelled
        assert not other.cancelled
        await after.stop()
        await other.stop()


@pytest.mark.parametrize("hang_up", [True, False])
async def test_a_session_that_ended_before_its_calls_left_word_ends_them(
    session: Session, store: StreamStore, hang_up: bool
) -> None:
    async with workers(2, poll=0.1) as [here, there]:
        stream, client = owned(there, session)
        await stream.emit(log(1))
        handler, follower = await Handler(here, session).begun(), Peer()
        await here.resume(session, client.cursor, follower.outbox)
        store.end_session(session.session_id, session.created_at, hang_up=hang_up)
        await until(lambda: handler.cancelled and follower.has_ended)
        assert handler.hung_up is hang_up
        await finish(stream)


async def test_a_process_that_is_frozen_takes_back_its_word_before(session: Session, store: StreamStore) -> None:
    async with workers(1, poll=0.2) as [worker]:
        handler = await Handler(worker, session).begun()
        await until(lambda: store.holdings.of_session(session.session_id))
        worker.poll_seconds = 60
        await handler.stop()
        await worker.spread(10)
        assert store.holdings.of_session(session.session_id) == {}


async def test_word_that_could_not_be_left_is_left_at_the_next_beat(session: Session, store: StreamStore) -> None:
    async with workers(1) as [worker]:
        with failing("BatchWriteItem", times=3):
            handler = await Handler(worker, session).begun()
            await until(lambda: store.holdings.of_session(session.session_id))
        with failing("BatchWriteItem", times=3):
            await handler.stop()
            await until(lambda: store.holdings.of_session(session.session_id) == {})


@pytest.mark.parametrize("action", ["BatchWriteItem", "BatchGetItem"])
async def test_a_cancellation_is_found_though_word_could_not_be_left_at_once(session: Session, action: str) -> None:
    async with workers(2, poll=0.5) as [here, there]:
        with failing(action, times=1):
            handler = await Handler(here, session).begun()
            await there.cancel(session, 1)
            await until(lambda: handler.cancelled)


# --- The inbox ------------------------------------------------------------------------------------------------


async def test_what_it_does_not_understand_keeps_it_from_nothing(
    session: Session, store: StreamStore, caplog: pytest.LogCaptureFixture
) -> None:
    async with workers(1) as [worker]:
        handler = await Handler(worker, session).begun()
        for topic, payload in (
            ("from the future", {"a": 1}),
            ("cancel", [["unhashable"], [], []]),
            ("cancel", None),
            ("answer", [{}, {}, "{}"]),
            ("wake", [{}, ""]),
            ("ended", 7),
        ):
            store.inboxes.send(worker.worker_id, topic, payload)
        store.inboxes.send(worker.worker_id, "cancel", [session.session_id, "1", [1]])
        await until(lambda: handler.cancelled)
        assert caplog.text.count("was not understood") == 3
        handler = await Handler(worker, session).begun()
        await until(lambda: store.inboxes.read(worker.worker_id) == [])
        await handler.stop()


async def test_each_message_is_acted_on_once_and_removed(session: Session, store: StreamStore) -> None:
    heard: list[Any] = []
    async with workers(1) as [worker]:
        handler = await Handler(worker, session).begun()
        worker._inbox._heard = lambda message: heard.append(message.payload)
        with failing("BatchWriteItem", times=5):
            for number in range(5):
                store.inboxes.send(worker.worker_id, "x", number)
                await asyncio.sleep(0.03)
        await until(lambda: store.inboxes.read(worker.worker_id) == [])
        assert sorted(heard) == list(range(5))
        await handler.stop()


async def test_a_busy_process_hears_no_later(session: Session, store: StreamStore) -> None:
    """What wakes it more often than it polls does not put off the next look at the inbox."""
    async with workers(1, poll=0.2) as [worker]:
        handler = await Handler(worker, session).begun()

        async def poke() -> None:
            while True:
                worker._poller._poke.set()
                await asyncio.sleep(0.13)

        poking = asyncio.create_task(poke())
        await asyncio.sleep(0.5)
        store.inboxes.send(worker.worker_id, "cancel", [session.session_id, "1", [1]])
        await until(lambda: handler.cancelled)
        poking.cancel()


# --- What fails, and what takes long --------------------------------------------------------------------------


async def test_it_outlives_storage_that_fails(
    session: Session, store: StreamStore, caplog: pytest.LogCaptureFixture
) -> None:
    async with workers(1) as [worker]:
        handler = await Handler(worker, session).begun()
        with failing("Query"), caplog.at_level(logging.WARNING):
            await until(lambda: caplog.text.count("a poll failed and will be repeated") >= 3)
            store.inboxes.send(worker.worker_id, "cancel", [session.session_id, "1", [1]])
        await until(lambda: handler.cancelled)


async def test_it_outlives_what_nobody_thought_of(
    session: Session, store: StreamStore, caplog: pytest.LogCaptureFixture
) -> None:
    async with workers(1) as [worker]:
        handler = await Handler(worker, session).begun()
        with before(InboxOperations, "read", raising(ValueError("a clock that is none"))):
            await until(lambda: caplog.text.count("a clock that is none") >= 3)
        store.inboxes.send(worker.worker_id, "cancel", [session.session_id, "1", [1]])
        await until(lambda: handler.cancelled)


async def test_a_read_that_hangs_costs_no_lease_and_no_other_stream(session: Session, store: StreamStore) -> None:
    is_stuck = True

    def hang(session_id: str, event_id: str) -> Iterator[Pause]:
        while is_stuck and (stream_id_of(session) in event_id or session_id != session.session_id):
            yield Pause(0.01)

    async with workers(2, lease=1.0) as [here, there], AsyncExitStack() as faults:
        stream, client = owned(here, session)
        await stream.emit(log(1))
        other, follower = new_session(), Peer()
        theirs, their_client = owned(here, other)
        await theirs.emit(log(1))
        hanging = Peer()
        await here.resume(other, their_client.cursor, hanging.outbox)
        faults.enter_context(before(EventOperations, "after", hang))
        await theirs.emit(log(2))
        await there.resume(session, client.cursor, follower.outbox)
        await asyncio.sleep(2.5)
        assert here.lease.is_held
        assert here.lease.term == 1
        await finish(stream)
        await until(lambda: follower.texts == ["result"])
        assert hanging.texts == []
        is_stuck = False
        await until(lambda: hanging.texts == [2])
        await finish(theirs)


# --- Beginning and ending to poll -----------------------------------------------------------------------------


async def test_nothing_is_read_while_nothing_waits(session: Session, dynamodb: DynamoDBClient) -> None:
    async with workers(1) as [worker]:
        await worker.lease.hold()
        with counting() as requests:
            await asyncio.sleep(0.2)
        assert set(requests) <= {"beat"}
        handler = await Handler(worker, session).begun()
        await asyncio.sleep(0.1)
        await handler.stop()
        await until(lambda: not (worker._poller._something.is_set() or worker._poller._under_way))
        with counting() as requests:
            await asyncio.sleep(0.2)
        assert set(requests) <= {"beat"}


async def test_a_call_that_is_answered_quickly_costs_no_poll(session: Session, dynamodb: DynamoDBClient) -> None:
    async with workers(1, poll=0.2) as [worker]:
        await asyncio.sleep(0)
        with counting() as requests:
            for request_id in range(20):
                handler = await Handler(worker, session, request_id).begun()
                await handler.stop()
        assert not requests


@pytest.mark.parametrize("what", ["running", "replies", "standalone", "followers", "owned"])
async def test_whatever_waits_makes_it_poll_until_it_is_done(
    session: Session, store: StreamStore, dynamodb: DynamoDBClient, what: str
) -> None:
    async with workers(1) as [worker]:
        client = Peer()
        stream, peer = owned(worker, session)
        scope = anyio.CancelScope()
        if what == "running":
            handler = await Handler(worker, session).begun()
        elif what == "replies":
            asking = asyncio.create_task(RequestChannel(worker, session, stream).send_raw_request("ping", None))
            await until(lambda: peer.messages)
        elif what == "standalone":
            await worker.hold(session, client.outbox)
        elif what == "followers":
            owner = worker_keys.new_worker_id()
            beats(store, owner, lease_seconds=60)
            store.open(Lease(session.session_id, stream.stream_id, owner, "1"), [])
            await worker.resume(session, schema.event_id(stream.stream_id, 0), client.outbox)
        elif what == "owned":
            await stream.open()
        assert set(leftovers(worker)) >= {what}
        with counting() as requests:
            await until(lambda: requests["inbox"] >= 5)

        if what == "running":
            await handler.stop()
        elif what == "replies":
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        client.leave()
        await finish(stream)
        await until(lambda: leftovers(worker) == {})
        await asyncio.sleep(0.1)
        with counting() as requests:
            await asyncio.sleep(0.2)
        assert not requests
        assert not scope.cancel_called


async def test_a_process_that_stops_waits_for_what_runs(session: Session) -> None:
    async with workers(1) as [worker]:
        handler = await Handler(worker, session).begun()
        began = time.monotonic()
        await worker.drain(0.2)
        assert 0.15 < time.monotonic() - began < 2
        stream, _ = owned(worker, session)
        await stream.open()
        await handler.stop()
        draining = asyncio.create_task(worker.drain(30))
        await asyncio.sleep(0.1)
        assert not draining.done()
        await finish(stream)
        async with asyncio.timeout(2):
            await draining


async def test_a_worker_may_be_stopped_while_it_polls(session: Session) -> None:
    worker = Worker()
    worker.poll_seconds = 0.001
    async with running(worker):
        client = Peer()
        await worker.hold(session, client.outbox)
        await asyncio.sleep(0.05)
    assert worker._poller._under_way == set()


# --- Cost -----------------------------------------------------------------------------------------------------

POLL, LEASE = 0.02, 0.6
"""The defaults of 0.5 s and 15 s, 25 times as fast: a minute passes in 2.4 s."""
MINUTE = 60 * POLL / 0.5


async def a_quiet_minute(worker: Worker) -> dict[str, float]:
    """Requests a minute by operation, once everything has calmed down; counted over half a minute."""
    worker._inbox.pace._busy_until = 0.0
    await asyncio.sleep(40 * POLL)
    began = time.monotonic()
    with counting() as requests:
        await asyncio.sleep(MINUTE / 2)
    minutes = (time.monotonic() - began) / MINUTE
    return {name: count / minutes for name, count in requests.items()}


@pytest.mark.parametrize("count", [1, 10, 300])
async def test_any_number_of_idle_standalone_streams_costs_a_look_at_the_inbox_and_a_beat(
    dynamodb: DynamoDBClient, count: int
) -> None:
    async with workers(1, poll=POLL, lease=LEASE) as [worker]:
        for _ in range(count):
            await worker.hold(new_session(), Peer().outbox)
        cost = await a_quiet_minute(worker)
        assert set(cost) == {"inbox", "beat"}
        assert cost["inbox"] <= 15 * 1.2
        assert cost["beat"] <= 12 * 1.2


async def test_a_quiet_stream_of_another_worker_costs_a_query_in_ten_polls_and_a_look_at_its_lease(
    session: Session, store: StreamStore, dynamodb: DynamoDBClient
) -> None:
    async with workers(2, poll=POLL, lease=LEASE) as [here, there]:
        # The owner's own requests are not counted but for its beat.
        clients = []
        for _ in range(3):
            stream, client = owned(here, new_session())
            await stream.emit(log(1))
            clients.append((stream, client))
            await there.resume(stream._session, client.cursor, Peer().outbox)
        cost = await a_quiet_minute(there)
        assert set(cost) <= {"inbox", "beat", "Query", "BatchGetItem"}
        assert cost["Query"] <= 3 * 14
        # One look at the beat of all that are followed, thrice a lease.
        assert cost["BatchGetItem"] <= 12 * 1.3
        for stream, _ in clients:
            await finish(stream)


async def test_any_number_of_running_streams_costs_a_beat_thrice_a_lease(
    session: Session, dynamodb: DynamoDBClient
) -> None:
    async with workers(1, poll=POLL, lease=LEASE) as [worker]:
        streams = [owned(worker, session)[0] for _ in range(20)]
        for stream in streams:
            await stream.open()
        cost = await a_quiet_minute(worker)
        assert set(cost) == {"inbox", "beat"}
        assert cost["beat"] <= 14
        for stream in streams:
            await finish(stream)


async def test_any_number_of_open_questions_costs_one_batch_in_ten_polls(
    session: Session, dynamodb: DynamoDBClient
) -> None:
    async with workers(1, poll=POLL, lease=LEASE) as [worker]:
        with worker.expect_reply(session.session_id, "s-1"), worker.expect_reply(session.session_id, "s-2"):
            cost = await a_quiet_minute(worker)
        assert set(cost) == {"inbox", "beat", "BatchGetItem"}
        assert cost["BatchGetItem"] <= 14


async def test_a_quiet_listen_stream_costs_nothing_of_its_own(session: Session, dynamodb: DynamoDBClient) -> None:
    async with workers(1, poll=POLL, lease=LEASE) as [worker]:
        worker.notifications.attach(InMemorySubscriptionBus())
        with worker.running("", "listen-1", lambda: None), worker.running("", "listen-2", lambda: None):
            assert set(await a_quiet_minute(worker)) <= {"beat"}


async def test_nothing_of_it_grows_while_it_is_quiet(session: Session, store: StreamStore) -> None:
    async with workers(2, poll=0.002, lease=LEASE) as [here, there]:
        client = Peer()
        await here.hold(session, client.outbox)
        for number in range(50):
            await there.send_standalone(session, "notifications/message", f'{{"n":{number}}}')
        await until(lambda: len(client.messages) == 50)
        await until(lambda: store.inboxes.read(here.worker_id) == [])
        await until(lambda: here._inbox._taken == set() and leftovers(here) == {"standalone": 1})


@pytest.mark.parametrize(("most", "connections", "taken"), [(5, 800, 5), (10_000, 800, 700), (10_000, 1, 1)])
async def test_streams_leave_an_eighth_of_the_connections_to_calls(
    settings: Settings, most: int, connections: int, taken: int
) -> None:
    settings.MAX_STREAMS, settings.MAX_CONNECTIONS = most, connections
    assert Worker().clients._limit == taken
