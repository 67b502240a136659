"""A client that comes back: what it missed and no more, from any worker, until an end."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta

import pytest

from mcpsite.endpoint.streams import followed
from mcpsite.endpoint.streams.followed import Follower
from mcpsite.endpoint.streams.held import UnknownStream
from mcpsite.endpoint.streams.host import IDLE_FACTOR
from mcpsite.endpoint.streams.outbox import MAX_FRAMES
from mcpsite.endpoint.streams.worker import Worker
from sessions_dynamo import metrics, schema, worker_keys
from sessions_dynamo.errors import StorageError
from sessions_dynamo.store.event_items import PART_BYTES, Event
from sessions_dynamo.store.session_items import Session
from sessions_dynamo.workers.streams import Lease, StreamStore
from tests.mcpsite.conftest import Wire
from tests.mcpsite.endpoint.streams.support import (
    POLL_SECONDS,
    Peer,
    beats,
    finish,
    leftovers,
    log,
    new_session,
    owned,
    put,
    result,
    until,
    workers,
)
from tests.mcpsite.faults import failing


async def come_back(worker: Worker, session: Session, cursor: str) -> Peer:
    """A client that resumes at its cursor."""
    client = Peer()
    await worker.resume(session, cursor, client.outbox)
    return client


def event(session: Session, stream_id: str, sequence: int, *, age: float = 0) -> Event:
    at = datetime.now(UTC) - timedelta(seconds=age)
    data = f'{{"method":"notifications/message","params":{{"data":{sequence}}}}}'
    return Event(session.session_id, stream_id, sequence, "notifications/message", data, at)


def stream_of_another(
    store: StreamStore, session: Session, *sequences: int, lease: float | None = 60, age: float = 0
) -> str:
    """The id of a stream with these events, its owner a process that we do not see; ``None``: it has left."""
    stream_id, owner = schema.time_ordered_id(), worker_keys.new_worker_id()
    if lease is not None:
        beats(store, owner, lease_seconds=lease)
    held = Lease(session.session_id, stream_id, owner, '"call-1"')
    store.open(held, [event(session, stream_id, sequence, age=age) for sequence in sequences])
    return stream_id


# --- What was missed ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", [0, 1], ids=["the same worker", "another worker"])
async def test_who_comes_back_gets_what_it_missed_and_what_follows(session: Session, where: int) -> None:
    async with workers(2) as both:
        stream, client = owned(both[0], session)
        for number in range(3):
            await stream.emit(log(number))
        assert client.texts == [0, 1, 2]
        client.leave()
        cursor = client.received[2].event_id
        assert cursor is not None
        await stream.emit(log(3))
        back = await come_back(both[where], session, cursor)
        assert back.texts == [2, 3]
        await stream.emit(log(4))
        await finish(stream)
        await until(lambda: back.has_ended)
        assert back.texts == [2, 3, 4, "result"]
        await until(lambda: not leftovers(both[0]) and not leftovers(both[1]))


async def test_nothing_of_another_stream_comes_along(session: Session) -> None:
    async with workers(1) as [worker]:
        streams = [owned(worker, session, request_id=number) for number in range(3)]
        for turn in range(3):
            for number, (stream, _) in enumerate(streams):
                await stream.emit(log(f"{number}.{turn}"))
        for number, (stream, client) in enumerate(streams):
            await finish(stream, result(number))
            back = await come_back(worker, session, client.read()[0].event_id or "")
            assert back.texts == [f"{number}.0", f"{number}.1", f"{number}.2", "result"]
            assert back.messages[-1]["id"] == number


async def test_who_comes_back_after_the_end_is_let_go_at_once(session: Session) -> None:
    async with workers(2) as [here, there]:
        stream, client = owned(here, session)
        await stream.emit(log(1))
        await finish(stream)
        back = await come_back(there, session, client.cursor)
        assert back.texts == []
        assert back.is_closed
        assert leftovers(there) == {}


async def test_two_who_come_back_both_get_everything(session: Session) -> None:
    async with workers(2) as [here, there]:
        stream, client = owned(here, session)
        await stream.emit(log(1))
        priming, _ = client.read()
        backs = [await come_back(worker, session, priming.event_id or "") for worker in (here, there)]
        await stream.emit(log(2))
        await finish(stream)
        await until(lambda: all(back.has_ended for back in backs))
        assert [back.texts for back in backs] == [[1, 2, "result"]] * 2


async def test_large_events_are_replayed_whole(session: Session, store: StreamStore) -> None:
    async with workers(2) as [here, there]:
        stream, client = owned(here, session)
        await stream.open()
        (priming,) = client.read()
        await stream.emit(log("x" * 3 * PART_BYTES))
        back = await come_back(there, session, priming.event_id or "")
        assert back.texts == ["x" * 3 * PART_BYTES]


async def test_a_replay_longer_than_may_wait_goes_on_when_the_client_comes_back(
    session: Session, store: StreamStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store.events.operations, "max_events", 10 * MAX_FRAMES)
    stream_id = stream_of_another(store, session, *range(MAX_FRAMES + 50))
    async with workers(1) as [worker]:
        first = await come_back(worker, session, schema.event_id(stream_id, 0))
        assert len(first.texts) == MAX_FRAMES
        assert first.is_closed
        second = await come_back(worker, session, first.cursor)
        assert first.texts + second.texts == list(range(1, MAX_FRAMES + 50))


# --- Cursors of every kind ------------------------------------------------------------------------------------


GARBAGE = [
    " ",
    "0",
    "-1",
    "null",
    "x" * 8000,
    "\x00",
    "é",
    "\uff11763800000000-aaaaaaaaaaaaaaaa.0000000000",
    "1763800000000-aaaaaaaaaaaaaaaa",
    "1763800000000-aaaaaaaaaaaaaaaa.",
    "1763800000000-aaaaaaaaaaaaaaaa.1",
    "1763800000000-aaaaaaaaaaaaaaaa.0000000000.1",
    "1763800000000-aaaaaaaaaaaaaaaa.!",
    "1763800000000-aaaaaaaaaaaaaaaa.0000000000\n",
    "1763800000000-AAAAAAAAAAAAAAAA.0000000000",
    "1763800000000-aaaaaaaaaaaaaaaa.~",
    "1763800000000-aaaaaaaaaaaaaaaa.9999999999",
    "9999999999999-ffffffffffffffff.0000000000",
    "0000000000000-0000000000000000.0000000000",
    "reply.s-1",
    "call.1763800000000-aaaaaaaaaaaaaaaa",
    "#bus",
    "' OR 1=1 --",
]


@pytest.mark.parametrize("cursor", GARBAGE, ids=ascii)
async def test_a_cursor_of_no_stream_is_told_from_one(session: Session, cursor: str) -> None:
    async with workers(1) as [worker]:
        with pytest.raises(UnknownStream):
            await come_back(worker, session, cursor)
        assert leftovers(worker) == {}


async def test_a_cursor_of_another_session_is_of_no_stream(session: Session) -> None:
    async with workers(1) as [worker]:
        stream, client = owned(worker, session)
        await stream.emit(log(1))
        with pytest.raises(UnknownStream):
            await come_back(worker, new_session(), client.cursor)
        await finish(stream)


@pytest.mark.parametrize("sequence", [5, schema.END_SEQUENCE - 1])
async def test_a_cursor_beyond_what_was_stored_waits_for_the_end(session: Session, sequence: int) -> None:
    async with workers(1) as [worker]:
        stream, _ = owned(worker, session)
        await stream.emit(log(1))
        back = await come_back(worker, session, schema.event_id(stream.stream_id, sequence))
        await finish(stream)
        await until(lambda: back.has_ended)
        assert back.texts == ["result"]


# --- Events that are missing ----------------------------------------------------------------------------------


async def test_an_event_waits_for_those_before_it_that_are_still_being_stored(
    session: Session, store: StreamStore
) -> None:
    stream_id = stream_of_another(store, session, 0, 1)
    async with workers(1) as [worker]:
        back = await come_back(worker, session, schema.event_id(stream_id, 0))
        store.events.append([event(session, stream_id, number) for number in (3, 5)])
        await asyncio.sleep(5 * POLL_SECONDS)
        assert back.texts == [1]
        store.events.append([event(session, stream_id, 2)])
        await until(lambda: len(back.texts) > 1)
        assert back.texts == [1, 2, 3]
        store.events.append([event(session, stream_id, 4)])
        await until(lambda: len(back.texts) > 3)
        assert back.texts == [1, 2, 3, 4, 5]


async def test_a_gap_that_stays_holds_nothing_up_for_long(
    session: Session, store: StreamStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followed, "SETTLE_SECONDS", 1.0)
    stream_id = stream_of_another(store, session, 0, 2, 3, 6)
    async with workers(1) as [worker]:
        back = await come_back(worker, session, schema.event_id(stream_id, 0))
        assert back.texts == []
        await until(lambda: back.texts)
        assert back.texts[:2] == [2, 3]
        await until(lambda: len(back.texts) == 3)


async def test_a_stream_that_was_trimmed_is_replayed_at_once_from_what_is_left(
    session: Session, store: StreamStore
) -> None:
    stream_id = stream_of_another(store, session, *range(10), age=600)
    store.events.delete_before(session.session_id, schema.event_id(stream_id, 6))
    async with workers(1) as [worker]:
        back = await come_back(worker, session, schema.event_id(stream_id, 2))
        assert back.texts == [6, 7, 8, 9]


async def test_an_end_does_not_wait_for_what_was_never_stored(session: Session, store: StreamStore) -> None:
    stream_id = stream_of_another(store, session, 0)
    store.end(event(session, stream_id, schema.END_SEQUENCE), 7)
    async with workers(1) as [worker]:
        back = await come_back(worker, session, schema.event_id(stream_id, 0))
        assert len(back.messages) == 1
        assert back.is_closed


async def test_a_stream_that_was_trimmed_to_its_end_and_past_it_is_unknown(
    session: Session, store: StreamStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream_id = stream_of_another(store, session, 0, 1, age=60)
    store.end(event(session, stream_id, schema.END_SEQUENCE, age=60), 1)
    stream_of_another(store, session, 0, 1)
    monkeypatch.setattr(store.events.operations, "max_events", 2)
    assert store.events.trim(session.session_id) == 3
    async with workers(1) as [worker]:
        with pytest.raises(UnknownStream):
            await come_back(worker, session, schema.event_id(stream_id, 0))


# --- Workers that die -----------------------------------------------------------------------------------------


async def test_a_stream_whose_worker_died_ends_with_an_error_for_its_request(
    session: Session, store: StreamStore
) -> None:
    stream_id = stream_of_another(store, session, 0, 1, 2, lease=0.3)
    async with workers(1) as [worker]:
        back = await come_back(worker, session, schema.event_id(stream_id, 0))
        assert back.texts == [1, 2]
        assert not back.is_closed
        await until(lambda: back.has_ended)
        assert back.texts == [1, 2, "error"]
        assert back.messages[-1]["id"] == "call-1"
        assert "ended before it answered" in back.messages[-1]["error"]["message"]
        assert back.cursor == schema.end_id(stream_id)
        await until(lambda: leftovers(worker) == {})


async def test_it_ends_once_for_all_who_come_back(
    session: Session, store: StreamStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[str] = []
    monkeypatch.setattr(metrics, "count", lambda name, *_, **__: counted.append(name))
    stream_id = stream_of_another(store, session, 0, lease=0.2)
    async with workers(3) as all_of_them:
        backs = [
            await come_back(worker, session, schema.event_id(stream_id, 0)) for worker in all_of_them for _ in "ab"
        ]
        await until(lambda: all(back.has_ended for back in backs))
        assert [back.texts for back in backs] == [["error"]] * 6
        assert len({back.messages[0]["error"]["message"] for back in backs}) == 1
        assert len([one for one in store.events.since(session.session_id) if one.event_type == "error"]) == 1
        assert counted.count("LeaseExpired") == 1


async def test_a_lease_that_is_renewed_does_not_lapse(session: Session, store: StreamStore) -> None:
    async with workers(2, lease=1.0) as [here, there]:
        stream, client = owned(here, session)
        await stream.emit(log(1))
        back = await come_back(there, session, client.cursor)
        await asyncio.sleep(2.5)
        assert not back.outbox.closed
        await finish(stream)
        await until(lambda: back.texts == ["result"])


async def test_a_lease_lapses_no_later_for_a_follower_that_polls_seldom(session: Session, store: StreamStore) -> None:
    # Ten quiet polls later it polls ten times less often, but for the moment at which the owner is found to be gone.
    async with workers(1, poll=0.05) as [worker]:
        stream_id = stream_of_another(store, session, 0, lease=IDLE_FACTOR * 0.05 + 0.4)
        back = await come_back(worker, session, schema.event_id(stream_id, 0))
        (follower,) = worker._held._followers
        await until(lambda: worker.watch.is_gone(follower._lease))
        assert follower.next_poll == 0.0
        await until(lambda: back.has_ended)


async def test_who_comes_back_to_a_worker_that_has_left_waits_for_no_lease(
    session: Session, store: StreamStore
) -> None:
    stream_id = stream_of_another(store, session, 0, 1, lease=None)
    async with workers(1, lease=1000) as [worker]:
        back = await come_back(worker, session, schema.event_id(stream_id, 0))
        await until(lambda: back.has_ended)
        assert back.texts == [1, "error"]


async def test_a_stream_of_the_version_before_lapses_once_its_own_lease_stands_still(
    session: Session, store: StreamStore
) -> None:
    stream_id = schema.time_ordered_id()

    def renew(number: int) -> None:
        item: dict[str, str | int] = {
            "session_id": session.session_id,
            "event_id": schema.lease_id(stream_id),
            "owner": "host-1-aaaaaaaa",
            "lease_expires": number,
            "ttl": schema.now_ms() // 1000 + 3600,
        }
        put(store, item)

    renew(1)
    store.events.append([event(session, stream_id, 0)])
    async with workers(1, lease=0.6) as [worker]:
        back = await come_back(worker, session, schema.event_id(stream_id, 0))
        for number in range(2, 12):
            await asyncio.sleep(0.1)
            renew(number)
        assert not back.has_ended
        await until(lambda: back.has_ended)
        assert back.texts == ["error"]


async def test_a_paused_owner_that_wakes_cannot_end_the_stream_again(session: Session, store: StreamStore) -> None:
    async with workers(1) as [there]:
        paused = Worker()
        paused.lease_seconds = 0.1
        stream, client = owned(paused, session)
        await stream.emit(log(1))
        cursor = client.cursor
        client.leave()
        back = await come_back(there, session, cursor)
        await until(lambda: back.has_ended)
        await stream.emit(log(2))
        await finish(stream)
        assert back.texts == ["error"]
        again = await come_back(there, session, cursor)
        assert again.texts == ["error"]
        assert paused._held.owned == {}


# --- Storage that fails, and cost -----------------------------------------------------------------------------


async def test_a_read_that_fails_is_repeated(session: Session, caplog: pytest.LogCaptureFixture) -> None:
    async with workers(2) as [here, there]:
        stream, client = owned(here, session)
        await stream.emit(log(1))
        back = await come_back(there, session, client.cursor)
        with failing("Query"), caplog.at_level(logging.WARNING):
            await stream.emit(log(2))
            await until(lambda: "a poll failed and will be repeated" in caplog.text)
        await finish(stream)
        await until(lambda: back.texts == [2, "result"])


async def test_a_client_that_cannot_be_served_leaves_nothing_behind(session: Session) -> None:
    async with workers(1) as [worker]:
        stream, client = owned(worker, session)
        await stream.emit(log(1))
        with failing("Query"), pytest.raises(StorageError):
            await come_back(worker, session, client.cursor)
        await finish(stream)
        assert leftovers(worker) == {}


async def test_a_follower_that_left_is_forgotten(session: Session, store: StreamStore) -> None:
    async with workers(1) as [worker]:
        back = await come_back(worker, session, schema.event_id(stream_of_another(store, session, 0), 0))
        assert leftovers(worker) == {"followers": 1, "traces": 1}
        back.leave()
        await until(lambda: leftovers(worker) == {})


async def test_a_stream_of_this_process_wakes_its_followers(session: Session) -> None:
    async with workers(1, poll=30) as [worker]:
        stream, client = owned(worker, session)
        await stream.emit(log(0))
        back = await come_back(worker, session, client.cursor)
        for number in range(1, 6):
            await stream.emit(log(number))
        await until(lambda: len(back.texts) == 5, seconds=5)
        await finish(stream)
        await until(lambda: back.texts[-1] == "result", seconds=5)


async def test_a_follower_woken_while_it_reads_reads_again(session: Session, store: StreamStore) -> None:
    async with workers(1, poll=30) as [worker]:
        stream_id = stream_of_another(store, session, 0)
        back = Peer()
        follower = Follower(
            worker, Lease(session.session_id, stream_id, "", None), schema.event_id(stream_id, 0), back.outbox
        )
        polling = asyncio.create_task(follower.poll())
        await asyncio.sleep(0)
        follower.wake()
        await polling
        assert follower.next_poll == 0.0


async def test_a_quiet_stream_of_another_worker_is_read_less_and_less_often(
    session: Session, store: StreamStore, wire: Wire
) -> None:
    async with workers(1) as [worker]:
        stream_id = stream_of_another(store, session, 0)
        await come_back(worker, session, schema.event_id(stream_id, 0))
        # Word of it is left, once.
        await until(lambda: store.holdings.of_session(session.session_id))
        wire.clear()
        await asyncio.sleep((IDLE_FACTOR + 2.5 * IDLE_FACTOR) * POLL_SECONDS)
        # Ten at the rate of an active stream and then two or three; the owner's beat is looked at thrice a lease.
        assert set(wire.operations) <= {"Query", "BatchGetItem"}
        assert 5 <= wire.operations.count("Query") <= IDLE_FACTOR + 4
        assert wire.operations.count("BatchGetItem") <= 2
