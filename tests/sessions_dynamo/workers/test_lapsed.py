"""A stream that others ended for a worker that stood still: its call changes nothing any more; on each engine."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from sessions_dynamo import schema
from sessions_dynamo.errors import StateConflict
from sessions_dynamo.store.event_items import Event
from sessions_dynamo.store.events import EventStore
from sessions_dynamo.store.live_update import MOST_LAPSED, lapse
from sessions_dynamo.store.sessions import SessionStore
from sessions_dynamo.workers.streams import Lease, StreamStore

OWNER = "aaaaaaaaaaaa"
STREAM, LATER = "1763800000000-aaaaaaaaaaaaaaaa", "1763800000001-bbbbbbbbbbbbbbbb"


@pytest.fixture
def streams(event_store: EventStore, session_store: SessionStore) -> StreamStore:
    return StreamStore(event_store, session_store.table)


def event(sequence: int) -> Event:
    return Event("abc", STREAM, sequence, "notifications/message", f"{sequence}", datetime(2026, 11, 22, tzinfo=UTC))


def test_a_stream_that_lapsed_has_an_error_for_its_end_behind_what_was_stored(
    streams: StreamStore, session_store: SessionStore
) -> None:
    session_store.create("abc")
    lease = Lease("abc", STREAM, OWNER, "7")
    streams.open(lease, [event(0), event(1)])
    assert not streams.has_ended("abc", STREAM)
    assert streams.lapse(lease, "error", "gone")
    assert streams.has_ended("abc", STREAM)
    assert [one.data for one in streams.events.after("abc", event(0).event_id)] == ["1", "gone"]
    assert not streams.lapse(lease, "error", "again")
    assert [(one.topic, one.payload) for one in streams.inboxes.read(OWNER)] == [("lapsed", [STREAM])]


def test_its_call_saves_nothing_and_others_do(streams: StreamStore, session_store: SessionStore) -> None:
    session_store.create("abc")
    mine, other, none = (session_store.load("abc") for _ in range(3))
    mine.stream_id, other.stream_id = STREAM, LATER
    mine.state["a"] = 1
    session_store.save(mine)
    streams.lapse(Lease("abc", STREAM, OWNER), "error", "gone")
    mine.state["a"] = 2
    with pytest.raises(StateConflict, match="stood still"):
        session_store.save(mine)
    with pytest.raises(StateConflict, match="stood still"):
        session_store.incr(mine, "calls")
    for session, value in ((other, "other"), (none, "none")):
        session.state["b"] = value
        session_store.save(session)
        session_store.incr(session, "calls")
    stored = session_store.load("abc")
    assert (stored.state["a"], stored.state["b"], stored.counters) == (1, "none", {"calls": 2})


def test_a_session_remembers_the_last_of_them(streams: StreamStore, session_store: SessionStore) -> None:
    session_store.create("abc")
    ids = [f"{1763800000000 + number}-aaaaaaaaaaaaaaaa" for number in range(MOST_LAPSED + 3)]
    for stream_id in ids:
        streams.drive(lapse(session_store.table, "abc", stream_id))
    refused = []
    for stream_id in ids:
        session = session_store.load("abc")
        session.stream_id = stream_id
        try:
            session_store.incr(session, "calls")
        except StateConflict:
            refused.append(stream_id)
    assert refused == ids[MOST_LAPSED // 2 :]


def test_a_session_that_is_gone_is_not_made_by_it(streams: StreamStore, session_store: SessionStore) -> None:
    assert streams.lapse(Lease("abc", STREAM, OWNER), "error", "gone")
    assert session_store.peek("abc") is None
    assert schema.is_end_id(streams.events.since("abc")[0].event_id)
