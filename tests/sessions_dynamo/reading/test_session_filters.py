"""Filters of the list of sessions: what each finds, what it reads, and how it goes on; on each engine."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sessions_dynamo.reading import index_pages, session_status
from sessions_dynamo.reading.session_filters import SessionFilter
from sessions_dynamo.reading.session_list import MAX_ROWS, Order, SessionList
from sessions_dynamo.reading.session_status import SessionStatus, status_of
from sessions_dynamo.store import batches, session_items, times
from sessions_dynamo.store.session_items import Session
from sessions_dynamo.store.sessions import SessionStore
from tests.sessions_dynamo.support import Clock, Wire

ORDERS: tuple[Order, ...] = ("last_activity", "created_at")


@pytest.fixture(autouse=True)
def _status_clock(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_status, "datetime", clock.datetime)


def client(name: str) -> dict[str, Any]:
    return {"clientInfo": {"name": name, "version": "1"}}


def put(store: SessionStore, sessions: Iterable[Session]) -> None:
    """Store sessions as they are, all at once."""
    items = []
    for session in sessions:
        item = session_items.encode(session, {})
        if session.terminated_at is not None:
            item["terminated_at"] = {"N": str(times.to_ms(session.terminated_at))}
        items.append(item)
    store.drive(batches.put(store.table, items))


@pytest.fixture
def day_of_sessions(session_store: SessionStore, clock: Clock) -> None:
    """Sessions of every status, of three clients, two revisions and two principals, over 26 hours."""

    def begun(session_id: str, hours_ago: int, principal: str, name: str) -> Session:
        at = clock.now - timedelta(hours=hours_ago)
        revision = ("2025-11-25", "2025-06-18")[hours_ago % 2]
        expires = at + timedelta(hours=24)
        return Session(session_id, at, session_items.floor(at), expires, principal, revision, json.dumps(client(name)))

    sessions = []
    for hours_ago in range(26, 0, -1):
        for name, principal in (("inspector", "alice"), ("Claude Code", "bob"), ("claude-desktop", "")):
            session = begun(f"h{hours_ago}-{principal or 'nobody'}", hours_ago, principal, name)
            if hours_ago % 5 == 0:
                session.terminated_at, session.expires_at = session.created_at, session.created_at + timedelta(hours=6)
            sessions.append(session)
    sessions += [begun(f"now-{number}", 0, "alice", "inspector") for number in range(4)]
    sessions[-1].terminated_at = clock.now
    put(session_store, sessions)
    session_store.touch(session_store.load("h18-alice", "alice"))


def every_page(
    listed: SessionList, filters: SessionFilter, order: Order, limit: int
) -> Iterator[index_pages.Page[Session]]:
    page = listed.page(order, limit=limit, filters=filters)
    yield page
    while page.next_cursor is not None:
        page = listed.page(order, limit=limit, filters=filters, cursor=page.next_cursor)
        yield page


def found(
    listed: SessionList, filters: SessionFilter, order: Order = "last_activity", *, limit: int = 100
) -> list[str]:
    """Ids of every page."""
    return [session.session_id for page in every_page(listed, filters, order, limit) for session in page.items]


def all_sessions(listed: SessionList) -> list[Session]:
    return [session for page in every_page(listed, SessionFilter(), "created_at", 100) for session in page.items]


# --- What a filter finds --------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("status", list(SessionStatus))
def test_a_status_finds_its_sessions_and_no_others(
    session_pages: SessionList, day_of_sessions: None, clock: Clock, status: SessionStatus, order: Order
) -> None:
    expected = {
        session.session_id for session in all_sessions(session_pages) if status_of(session, clock.now) is status
    }
    assert expected, "each status is among them"
    for limit in (7, 100):
        ids = found(session_pages, SessionFilter(status=status), order, limit=limit)
        assert len(ids) == len(set(ids))
        assert set(ids) == expected


def test_a_clients_name_is_found_by_any_part_in_any_case(session_pages: SessionList, day_of_sessions: None) -> None:
    ids = found(session_pages, SessionFilter(client="CLAUDE"))
    assert sorted(ids) == sorted(f"h{hour}-{who}" for hour in range(1, 27) for who in ("bob", "nobody"))
    assert found(session_pages, SessionFilter(client="claude code")) == found(
        session_pages, SessionFilter(client="Claude Code")
    )
    assert found(session_pages, SessionFilter(client="cursor")) == []


def test_a_session_without_a_client_has_no_name_to_find(
    session_store: SessionStore, session_pages: SessionList
) -> None:
    session_store.create("none")
    session_store.create("odd", client_params={"clientInfo": "no object"})
    assert found(session_pages, SessionFilter(client="n")) == []


def test_a_revision_is_found_exactly(session_pages: SessionList, day_of_sessions: None) -> None:
    ids = found(session_pages, SessionFilter(protocol_version="2025-06-18"))
    assert sorted(ids) == sorted(f"h{hour}-{who}" for hour in range(1, 26, 2) for who in ("alice", "bob", "nobody"))
    assert found(session_pages, SessionFilter(protocol_version="2025")) == []


@pytest.mark.parametrize("order", ORDERS)
def test_a_principals_sessions_are_found_newest_first_and_no_one_elses(
    session_pages: SessionList, day_of_sessions: None, order: Order
) -> None:
    ids = found(session_pages, SessionFilter(principal="bob"), order, limit=4)
    assert ids == [f"h{hour}-bob" for hour in range(1, 27)]
    assert found(session_pages, SessionFilter(principal="mallory")) == []
    assert found(session_pages, SessionFilter(principal="bob", client="inspector")) == []
    assert found(session_pages, SessionFilter(principal="alice", protocol_version="2025-06-18"))[0] == "h1-alice"


@pytest.mark.parametrize("order", ORDERS)
def test_a_time_range_includes_both_of_its_minutes(session_pages: SessionList, clock: Clock, order: Order) -> None:
    store = session_pages.store
    for number in range(12):
        store.create(f"s{number}")
        clock.advance(seconds=30)
    start = clock.now - timedelta(minutes=6)
    minute = session_items.floor(start)
    in_range = found(
        session_pages, SessionFilter(since=minute + timedelta(minutes=2), until=minute + timedelta(minutes=3)), order
    )
    assert sorted(in_range, key=lambda name: int(name[1:])) == ["s4", "s5", "s6", "s7"]
    assert len(found(session_pages, SessionFilter(since=minute + timedelta(minutes=5)), order)) == 2
    assert len(found(session_pages, SessionFilter(until=minute), order)) == 2


def test_a_range_that_ends_before_it_begins_is_empty_and_asks_nothing(
    session_pages: SessionList, day_of_sessions: None, clock: Clock, wire: Wire
) -> None:
    filters = SessionFilter(since=clock.now, until=clock.now - timedelta(hours=1))
    with wire.counting() as requests:
        page = session_pages.page(filters=filters)
    assert (page.items, page.next_cursor, page.previous_cursor) == ([], None, None)
    assert requests == {}


@pytest.mark.parametrize("at", [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)])
def test_a_range_may_be_as_early_or_as_late_as_times_go(session_pages: SessionList, at: datetime) -> None:
    session_pages.store.create("now")
    ids = found(session_pages, SessionFilter(since=at)), found(session_pages, SessionFilter(until=at))
    assert sorted(map(tuple, ids)) == [(), ("now",)]


def test_the_parts_of_a_filter_hold_together(session_pages: SessionList, day_of_sessions: None, clock: Clock) -> None:
    filters = SessionFilter(
        status=SessionStatus.IDLE,
        client="inspector",
        protocol_version="2025-11-25",
        principal="alice",
        since=clock.now - timedelta(hours=9),
    )
    assert found(session_pages, filters) == ["h2-alice", "h4-alice", "h6-alice", "h8-alice"]


# --- What a filter reads --------------------------------------------------------------------------------------


def test_what_an_index_answers_costs_no_more_than_the_whole_list(
    session_pages: SessionList, day_of_sessions: None, clock: Clock, wire: Wire
) -> None:
    for filters, queries in (
        (SessionFilter(), 8),
        (SessionFilter(since=clock.now - timedelta(hours=12), until=clock.now - timedelta(hours=2)), 8),
        (SessionFilter(principal="alice"), 1),
        (SessionFilter(principal="alice", since=clock.now - timedelta(hours=12)), 1),
    ):
        with wire.counting() as requests:
            page = session_pages.page(limit=5, filters=filters)
        assert len(page.items) == page.rows == 5
        assert page.goes_on is None
        assert requests == {"Query": queries, "BatchGetItem": 1}


@pytest.mark.parametrize("status", [SessionStatus.ACTIVE, SessionStatus.EXPIRED])
def test_active_and_expired_sessions_are_read_without_the_others(
    session_pages: SessionList, day_of_sessions: None, status: SessionStatus
) -> None:
    page = session_pages.page(limit=100, filters=SessionFilter(status=status))
    # A few terminated ones lie in the same part of the index.
    assert len(page.items) <= page.rows <= len(page.items) + 4
    assert page.next_cursor is None


@pytest.fixture
def crowd(session_store: SessionStore, clock: Clock) -> list[str]:
    """800 sessions, a second apart; 150 of them in the middle are the inspector's."""
    sessions = []
    for number in range(800):
        at = clock.now - timedelta(hours=1, seconds=number)
        name = "inspector" if 350 <= number < 500 else "curl"
        expires = at + timedelta(days=1)
        sessions.append(
            Session(f"s{number:04d}", at, session_items.floor(at), expires, client_params_text=json.dumps(client(name)))
        )
    put(session_store, sessions)
    return [session.session_id for session in sessions]


def test_a_filter_reads_a_bounded_number_of_rows_and_goes_on_from_there(
    session_pages: SessionList, crowd: list[str], wire: Wire
) -> None:
    filters = SessionFilter(client="inspector")
    cursor, ids, rows, visits = None, [], 0, 0
    while True:
        with wire.counting() as requests:
            page = session_pages.page("created_at", limit=50, filters=filters, cursor=cursor)
        assert requests["Query"] <= 8
        assert requests["BatchGetItem"] <= 5
        assert page.rows <= MAX_ROWS
        assert len(page.items) <= 50
        # Short of a full page only where there is something to go on with, or nothing more at all.
        assert len(page.items) == 50 or page.goes_on == page.next_cursor
        ids += [session.session_id for session in page.items]
        rows += page.rows
        visits += 1
        cursor = page.next_cursor
        if cursor is None:
            break
    assert ids == crowd[350:500]
    assert rows == 800, "each row was read once"
    assert visits <= 6
    assert all(query["Limit"] == MAX_ROWS // 8 for query in wire.of("Query"))


def test_a_filter_goes_back_over_what_it_found(session_pages: SessionList, crowd: list[str]) -> None:
    filters = SessionFilter(client="inspector")
    pages_there = list(every_page(session_pages, filters, "created_at", 60))
    page, ids = pages_there[-1], [session.session_id for session in pages_there[-1].items]
    while page.previous_cursor is not None:
        page = session_pages.page("created_at", limit=60, filters=filters, cursor=page.previous_cursor)
        ids = [session.session_id for session in page.items] + ids
        assert page.goes_on in (None, page.previous_cursor)
    assert ids == crowd[350:500]


def test_a_principals_sessions_are_sifted_within_the_same_bound(
    session_store: SessionStore, session_pages: SessionList, clock: Clock, wire: Wire
) -> None:
    now = clock.now
    later = now + timedelta(days=1)
    put(session_store, [Session(f"s{n}", now - timedelta(seconds=n), now, later, "alice") for n in range(600)])
    with wire.counting() as requests:
        page = session_pages.page(filters=SessionFilter(principal="alice", client="inspector"))
    assert (page.items, page.rows) == ([], MAX_ROWS)
    assert requests == {"Query": 1, "BatchGetItem": 5}
    page = session_pages.page(filters=SessionFilter(principal="alice", client="inspector"), cursor=page.goes_on)
    assert (page.items, page.rows, page.next_cursor) == ([], 600 - MAX_ROWS, None)


# --- Cursors --------------------------------------------------------------------------------------------------


def test_a_cursor_of_another_filter_is_refused(session_pages: SessionList, day_of_sessions: None) -> None:
    cursor = session_pages.page(limit=2).next_cursor
    for filters in (
        SessionFilter(status=SessionStatus.IDLE),
        SessionFilter(client="x"),
        SessionFilter(protocol_version="x"),
        SessionFilter(principal="alice"),
        SessionFilter(since=datetime(2025, 1, 1, tzinfo=UTC)),
        SessionFilter(until=datetime(2125, 1, 1, tzinfo=UTC)),
    ):
        with pytest.raises(ValueError, match="cursor is damaged"):
            session_pages.page(filters=filters, cursor=cursor)


@pytest.mark.parametrize("status", [SessionStatus.ACTIVE, SessionStatus.IDLE])
def test_pages_of_active_and_idle_sessions_stay_apart_while_time_passes(
    session_store: SessionStore, session_pages: SessionList, clock: Clock, status: SessionStatus
) -> None:
    for number in range(40):
        session_store.create(f"s{number}")
        clock.advance(minutes=1, seconds=20)
    filters = SessionFilter(status=status)
    page = session_pages.page(limit=4, filters=filters)
    ids = [session.session_id for session in page.items]
    while page.next_cursor is not None:
        # The rows that the cursor starts behind may leave what the filter would read now.
        clock.advance(minutes=3)
        page = session_pages.page(limit=4, filters=filters, cursor=page.next_cursor)
        ids += [session.session_id for session in page.items]
    assert len(ids) == len(set(ids))
    assert len(ids) >= 8
