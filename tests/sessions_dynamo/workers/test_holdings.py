"""Traces of what runs and of what was cancelled: whichever is left first, one side sees the other; on each engine."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from sessions_dynamo import schema, worker_keys
from sessions_dynamo.errors import SessionNotFound
from sessions_dynamo.schema import EventKind
from sessions_dynamo.store.events import EventStore
from sessions_dynamo.store.sessions import SessionStore
from sessions_dynamo.workers.holdings import CANCELLATION_TTL, Cancellation, Holding
from sessions_dynamo.workers.streams import StreamStore
from tests.sessions_dynamo.support import Clock, Wire, raw_items

ME, OTHER, THIRD = "aaaaaaaaaaaa", "bbbbbbbbbbbb", "cccccccccccc"


@pytest.fixture
def streams(event_store: EventStore, session_store: SessionStore) -> StreamStore:
    return StreamStore(event_store, session_store.table)


def held(request: str, number: int = 1, *, worker: str = ME, session: str = "abc", seen: int = 0) -> Holding:
    return Holding(session, request, worker, number, seen)


@pytest.mark.parametrize("request_id", ["7", "x" * 5000, "é/#.\n", "\ud800", "s-1"], ids=ascii)
def test_who_serves_a_request_is_found_whatever_its_id(streams: StreamStore, request_id: str) -> None:
    streams.holdings.leave([held(request_id[:200]), held("other", 2), held(request_id[:200], session="another")])
    assert streams.holdings.of_request("abc", request_id[:200], 1) == {ME: [1]}


def test_several_workers_may_serve_one_id_and_each_several_times(streams: StreamStore) -> None:
    streams.holdings.leave([held("7", 1), held("7", 2), held("7", 9, worker=OTHER), held("8", 3, worker=THIRD)])
    assert streams.holdings.of_request("abc", "7", 1) == {ME: [1, 2], OTHER: [9]}
    assert streams.holdings.of_session("abc") == {ME: [1, 2], OTHER: [9], THIRD: [3]}
    streams.holdings.remove([held("7", 1), held("7", 9, worker=OTHER)])
    assert streams.holdings.of_request("abc", "7", 1) == {ME: [2]}


def test_what_began_after_a_cancellation_is_not_meant(streams: StreamStore) -> None:
    streams.holdings.leave([held("7", 1, seen=0), held("7", 2, seen=1), held("7", 3, seen=2)])
    assert streams.holdings.of_request("abc", "7", 2) == {ME: [1, 2]}


def test_a_cancellation_is_found_by_who_leaves_word_later(streams: StreamStore, wire: Wire) -> None:
    streams.holdings.cancel("abc", "7", Cancellation(3))
    streams.holdings.cancel("abc", "", Cancellation(hang_up=True))
    found = [held("7"), held("8"), held("7", session="another")]
    with wire.counting() as requests:
        cancellations = streams.holdings.cancellations(found)
    assert requests == {"BatchGetItem": 1}
    ended = Cancellation(hang_up=True)
    assert cancellations == {found[0]: [Cancellation(3), ended], found[1]: [ended], found[2]: []}


def test_a_cancellation_is_for_those_that_run_now(streams: StreamStore, clock: Clock) -> None:
    streams.holdings.cancel("abc", "7", Cancellation(3))
    clock.advance(seconds=CANCELLATION_TTL.total_seconds() + 1)
    assert streams.holdings.cancellations([held("7")]) == {held("7"): []}


def test_a_holding_that_nobody_took_back_expires(streams: StreamStore, clock: Clock) -> None:
    streams.holdings.leave([held("7")])
    clock.advance(hours=7)
    assert streams.holdings.of_session("abc") == {}


def test_cancelling_tells_each_worker_that_serves_it_once(streams: StreamStore, session_store: SessionStore) -> None:
    session = session_store.create("abc", principal="ann")
    streams.holdings.leave([held("7", 1), held("7", 2, worker=OTHER), held("7", 3, worker=OTHER), held("8", 4)])
    assert sorted(streams.cancel("abc", "ann", "7", but=THIRD)) == [ME, OTHER]
    assert [(one.topic, one.payload) for one in streams.inboxes.read(OTHER)] == [("cancel", ["abc", "7", [2, 3]])]
    assert [one.payload for one in streams.inboxes.read(ME)] == [["abc", "7", [1]]]
    assert session.cancellations == 0
    assert session_store.load("abc", "ann").cancellations == 1
    assert streams.cancel("abc", "ann", "9", but=ME) == []
    assert session_store.load("abc", "ann").cancellations == 2


def test_nobody_cancels_in_a_session_that_is_not_theirs(streams: StreamStore, session_store: SessionStore) -> None:
    session_store.create("abc", principal="ann")
    streams.holdings.leave([held("7")])
    for principal in ("bob", ""):
        with pytest.raises(SessionNotFound):
            streams.cancel("abc", principal, "7", but=OTHER)
    assert streams.inboxes.read(ME) == []


@pytest.mark.parametrize("hang_up", [True, False])
def test_the_end_of_a_session_is_told_to_all_that_serve_anything_of_it(streams: StreamStore, hang_up: bool) -> None:
    created_at = datetime(2026, 11, 22, tzinfo=UTC)
    standalone = schema.standalone_stream_id(int(created_at.timestamp() * 1000))
    streams.standalone.claim("abc", standalone, f"{THIRD}/1", created_at)
    streams.holdings.leave([held("7", 1), held("", 2, worker=OTHER), held("8", 3), held("7", session="another")])
    assert streams.end_session("abc", created_at, hang_up=hang_up, but=ME) == [OTHER, THIRD]
    for worker in (OTHER, THIRD):
        assert [(one.topic, one.payload) for one in streams.inboxes.read(worker)] == [("ended", ["abc", hang_up])]
    assert streams.inboxes.read(ME) == []
    assert streams.end_session("abc", None, hang_up=hang_up) == [ME, OTHER]


def test_a_holder_of_the_version_before_has_no_inbox(streams: StreamStore, event_store: EventStore) -> None:
    created_at = datetime(2026, 11, 22, tzinfo=UTC)
    standalone = schema.standalone_stream_id(int(created_at.timestamp() * 1000))
    streams.standalone.claim("abc", standalone, "host-7-deadbeef/1", created_at)
    assert streams.standalone.send("abc", standalone, "x", "{}") is None
    assert streams.end_session("abc", created_at, hang_up=True) == []
    partitions = {item["session_id"]["S"] for item in raw_items(event_store.dynamodb, event_store.table)}
    assert partitions == {"abc"}


def test_none_of_it_is_an_event(streams: StreamStore, event_store: EventStore) -> None:
    streams.holdings.leave([held("7"), held("")])
    streams.holdings.cancel("abc", "7", Cancellation(1))
    streams.holdings.cancel("abc", "", Cancellation(hang_up=False))
    kinds = [
        schema.kind_of(item["session_id"]["S"], item["event_id"]["S"])
        for item in raw_items(event_store.dynamodb, event_store.table)
    ]
    assert sorted(kinds) == [EventKind.CANCELLATION] * 2 + [EventKind.HOLDING] * 2
    assert streams.events.count("abc") == 0
    assert streams.events.since("abc") == streams.events.recent("abc") == []
    assert not worker_keys.is_of_workers("abc")
