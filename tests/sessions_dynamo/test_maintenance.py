"""What a schedule may run; on each engine."""

from __future__ import annotations

from sessions_dynamo.events import EventStore
from sessions_dynamo.maintenance import Maintained, maintain
from sessions_dynamo.session_list import SessionList
from sessions_dynamo.sessions import SessionStore
from tests.sessions_dynamo.support import Clock, Wire, large_values, state_of
from tests.sessions_dynamo.test_events import stream_of


def test_expired_sessions_and_their_events_are_deleted_and_the_others_trimmed(
    session_store: SessionStore, session_pages: SessionList, event_store: EventStore, clock: Clock
) -> None:
    for name in ("old1", "old2"):
        session_store.create(name, state=state_of(large="x" * 5000))
        event_store.append(stream_of(3, session=name))
    clock.advance(hours=24)
    for name in ("live", "quiet"):
        session_store.create(name)
    event_store.append(stream_of(12, session="live"))
    event_store.max_events = 5

    # The events of the expired sessions have expired too: Time to Live would delete them, and this does.
    assert maintain(session_pages, event_store) == Maintained(sessions_deleted=2, events_deleted=6 + 7)
    assert sorted(session_pages.session_ids()) == ["live", "quiet"]
    assert [event_store.count(name) for name in ("old1", "old2", "live", "quiet")] == [0, 0, 5, 0]
    assert large_values(session_store) == {}
    assert maintain(session_pages, event_store) == Maintained(sessions_deleted=0, events_deleted=0)


def test_a_limit_bounds_the_sessions_that_one_run_deletes(
    session_store: SessionStore, session_pages: SessionList, event_store: EventStore, clock: Clock
) -> None:
    for number in range(5):
        session_store.create(f"old{number}")
    clock.advance(hours=24)
    runs = [maintain(session_pages, event_store, limit=2).sessions_deleted for _ in range(4)]
    assert runs == [2, 2, 1, 0]


def test_maintenance_never_scans(
    session_store: SessionStore, session_pages: SessionList, event_store: EventStore, clock: Clock, wire: Wire
) -> None:
    session_store.create("old")
    clock.advance(hours=24)
    session_store.create("new")
    maintain(session_pages, event_store)
    assert wire.requests
    assert not wire.of("Scan")
