"""A worker's lease: held by its own clock, and noticed when it was not; others judge it by theirs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from mcpsite.endpoint.peers import lease, watch
from mcpsite.endpoint.streams.worker import Worker
from sessions_dynamo import schema, worker_keys
from sessions_dynamo.errors import StorageError
from sessions_dynamo.operations import Pause
from sessions_dynamo.store.event_operations import EventOperations
from sessions_dynamo.store.session_items import Session
from sessions_dynamo.store.sessions import default_store
from sessions_dynamo.workers.stream_operations import Lease
from sessions_dynamo.workers.streams import StreamStore
from tests.mcpsite.conftest import Wire
from tests.mcpsite.endpoint.streams.support import Peer, beats, finish, log, new_session, owned, until, workers
from tests.mcpsite.faults import before, failing


class Awake:
    """The clock that goes on while a machine sleeps."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def awake(monkeypatch: pytest.MonkeyPatch) -> Awake:
    clock = Awake()
    for module in (lease, watch):
        monkeypatch.setattr(module, "awake_seconds", clock)
    return clock


# --- Its own --------------------------------------------------------------------------------------------------


async def test_it_is_held_for_a_lease_from_when_the_beat_began(store: StreamStore, awake: Awake) -> None:
    worker = Worker()
    seen = [worker.lease.is_held]
    for seconds, term in ((0, 1), (14.9, 1), (0.1, 2)):
        awake.seconds += seconds
        seen.append(worker.lease.is_held)
        assert await worker.lease.hold() == term
    assert seen == [False, False, True, False]


async def test_a_beat_in_time_keeps_the_term(store: StreamStore, awake: Awake) -> None:
    worker = Worker()
    await worker.lease.hold()
    for _ in range(5):
        awake.seconds += 10
        await worker.lease._beat()
    assert worker.lease.term == 1
    assert store.roster.beats([worker.worker_id])[worker.worker_id].number == 6


async def test_a_beat_that_took_longer_than_the_lease_holds_nothing(store: StreamStore, awake: Awake) -> None:
    worker = Worker()

    def sleep(*_: object) -> None:
        awake.seconds += 20

    with before(type(worker.streams.roster), "keep", sleep):
        await worker.lease._beat()
    assert not worker.lease.is_held


async def test_many_who_need_it_take_it_once(store: StreamStore, wire: Wire) -> None:
    worker = Worker()
    assert set(await asyncio.gather(*(worker.lease.hold() for _ in range(20)))) == {1}
    assert store.roster.beats([worker.worker_id])[worker.worker_id].number == 1


async def test_a_lease_that_cannot_be_taken_is_not_held(store: StreamStore) -> None:
    worker = Worker()
    with failing("PutItem"), pytest.raises(StorageError):
        await worker.lease.hold()
    assert not worker.lease.is_held


async def test_a_worker_says_what_it_holds_and_goes_without_a_trace(session: Session, store: StreamStore) -> None:
    async with workers(1, lease=0.3) as [worker]:
        stream, _ = owned(worker, session)
        await stream.open()
        await worker.hold(new_session(), Peer().outbox)
        await until(
            lambda: (
                [
                    one.holds["streams"] + one.holds["standalone"]
                    for one in store.roster.all().workers
                    if one.worker_id == worker.worker_id
                ]
                == [2]
            )
        )
        await finish(stream)
    assert store.roster.beats([worker.worker_id]) == {}


# --- Of others ------------------------------------------------------------------------------------------------


@pytest.fixture
def other(store: StreamStore) -> Iterator[str]:
    worker_id = worker_keys.new_worker_id()
    beats(store, worker_id)
    yield worker_id
    store.roster.leave(worker_id)


async def test_a_worker_is_gone_once_its_beat_stood_still_for_a_whole_lease(
    store: StreamStore, awake: Awake, other: str
) -> None:
    worker, gone = Worker(), []
    held = Lease("abc", schema.time_ordered_id(), other)
    worker.watch.watch("me", held, lambda: gone.append(awake.seconds))
    await worker.watch.look()
    awake.seconds += 15
    await worker.watch.look()
    assert not worker.watch.is_gone(held)
    beats(store, other, 2)
    awake.seconds += 15
    await worker.watch.look()
    awake.seconds += 15.2
    await worker.watch.look()
    assert not worker.watch.is_gone(held), "less than a lease by slightly different clocks"
    awake.seconds += 0.2
    await worker.watch.look()
    assert worker.watch.is_gone(held)
    assert gone == [awake.seconds]
    # It had only been asleep.
    beats(store, other, 3)
    await worker.watch.look()
    assert not worker.watch.is_gone(held)


async def test_any_number_of_streams_of_a_worker_cost_one_look(store: StreamStore, wire: Wire, other: str) -> None:
    worker = Worker()
    leases = [Lease("abc", schema.time_ordered_id(), other) for _ in range(150)]
    for number, one in enumerate(leases):
        worker.watch.watch(number, one, lambda: None)
    wire.clear()
    await worker.watch.look()
    assert wire.operations == ["BatchGetItem"]
    for number, one in enumerate(leases):
        worker.watch.forget(number, one)
    assert worker.watch._watched == {}


async def test_a_worker_that_left_is_gone_at_the_first_look(store: StreamStore) -> None:
    worker = Worker()
    held = Lease("abc", schema.time_ordered_id(), worker_keys.new_worker_id())
    worker.watch.watch("me", held, lambda: None)
    await worker.watch.look()
    assert worker.watch.is_gone(held)


# --- An owner that stood still --------------------------------------------------------------------------------


async def lapsed(there: Worker, session: Session, cursor: str, awake: Awake) -> Peer:
    """A client that comes back on another worker, and is told of the end."""
    back = Peer()
    await there.resume(session, cursor, back.outbox)
    for _ in range(2):
        await there.watch.look()
        awake.seconds += 16
    await until(lambda: back.has_ended)
    assert back.texts[-1] == "error"
    return back


@pytest.mark.parametrize("step", ["before it stores", "while it stores"])
async def test_nobody_is_given_what_an_owner_puts_down_behind_the_end(
    session: Session, store: StreamStore, awake: Awake, step: str
) -> None:
    async with workers(1) as [there]:
        owner = Worker()
        stream, client = owned(owner, session)
        cancelled = []
        stream.serve(lambda: cancelled.append(True))
        await stream.emit(log(1))
        cursor = client.received[0].event_id if client.read() else ""
        if step == "before it stores":
            await lapsed(there, session, cursor or "", awake)
            await stream.emit(log(2))
        else:
            stood_still = asyncio.Event()

            def stand_still(events: object) -> Iterator[Pause]:
                stood_still.set()
                while not go_on.is_set():
                    yield Pause(0.01)

            go_on = asyncio.Event()
            with before(EventOperations, "append", stand_still):
                emitting = asyncio.create_task(stream.emit(log(2)))
                await stood_still.wait()
                await lapsed(there, session, cursor or "", awake)
                go_on.set()
                await emitting
        await finish(stream)
        assert client.texts == [1]
        assert client.is_closed
        assert cancelled == [True]
        late = Peer()
        await there.resume(session, cursor or "", late.outbox)
        assert late.texts == [1, "error"]
        assert store.events.count(session.session_id) == 3
        assert owner._held.owned == {}


async def test_an_owner_that_nobody_missed_goes_on_after_a_look(
    session: Session, store: StreamStore, awake: Awake, wire: Wire
) -> None:
    worker = Worker()
    stream, client = owned(worker, session)
    await stream.emit(log(1))
    awake.seconds += 60
    wire.clear()
    await stream.emit(log(2))
    assert wire.operations == ["GetItem", "BatchWriteItem"]
    await finish(stream)
    assert client.texts == [1, 2, "result"]
    assert worker.lease.term == 2


async def test_a_call_of_an_owner_that_was_missed_saves_nothing(
    session: Session, store: StreamStore, awake: Awake
) -> None:
    async with workers(1) as [there]:
        stream, client = owned(Worker(), session)
        await stream.emit(log(1))
        session.state["a"] = 1
        await lapsed(there, session, client.cursor, awake)
        with pytest.raises(StorageError, match="stood still"):
            default_store().save(session)
        assert "a" not in default_store().load(session.session_id).state


async def test_an_owner_hears_that_others_have_ended_its_stream(
    session: Session, store: StreamStore, awake: Awake
) -> None:
    async with workers(1) as [here]:
        stream, client = owned(here, session)
        cancelled = []
        stream.serve(lambda: cancelled.append(True))
        await stream.emit(log(1))
        assert store.lapse(stream.lease, "error", '{"error":{}}')
        await until(lambda: client.has_ended)
        assert cancelled == [True]
        assert here._held.owned == {}
