"""Lists, counts and the clearing of expired sessions; on each engine."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from sessions_dynamo.reading.session_list import Order, SessionList
from sessions_dynamo.store import session_items
from sessions_dynamo.store.session_items import Session
from sessions_dynamo.store.sessions import SessionStore
from tests.sessions_dynamo.support import Clock, Wire, large_values, state_of
from tests.sessions_dynamo.wire import answering


def all_pages(session_pages: SessionList, order: Order, *, newest_first: bool, limit: int) -> list[list[Session]]:
    """Every page, one after the other."""
    page = session_pages.page(order, newest_first=newest_first, limit=limit)
    pages = [page.items]
    while page.next_cursor is not None:
        page = session_pages.page(order, newest_first=newest_first, limit=limit, cursor=page.next_cursor)
        pages.append(page.items)
    return pages


@pytest.fixture
def sessions_of_six_minutes(session_store: SessionStore, clock: Clock) -> list[Session]:
    """18 sessions, three of them in each minute, their activity in the opposite order; large values among them."""
    sessions = []
    for number in range(18):
        sessions.append(session_store.create(f"s{number}", state=state_of(large="x" * 5000) if number < 2 else None))
        clock.advance(seconds=20)
    for session in reversed(sessions):
        clock.advance(seconds=20)
        session_store.touch(session)
    return sessions


# --- Pages ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["last_activity", "created_at"])
@pytest.mark.parametrize("newest_first", [True, False], ids=["newest first", "oldest first"])
def test_pages_hold_every_session_once_and_in_order(
    session_pages: SessionList, sessions_of_six_minutes: list[Session], order: Order, newest_first: bool
) -> None:
    for limit in (1, 5, 18, 100):
        pages = all_pages(session_pages, order, newest_first=newest_first, limit=limit)
        listed = [session for page in pages for session in page]
        assert sorted(session.session_id for session in listed) == sorted(s.session_id for s in sessions_of_six_minutes)
        times: list[datetime] = [getattr(session, order) for session in listed]
        assert times == sorted(times, reverse=newest_first)
        assert {len(page) for page in pages[:-1]} <= {limit}
        assert all(pages), "no empty page at the end"
    # A list that changed nowhere in between reads the same again.
    assert all_pages(session_pages, order, newest_first=newest_first, limit=60) == pages


def test_pages_are_complete_where_all_sessions_share_one_minute(
    session_store: SessionStore, session_pages: SessionList, clock: Clock
) -> None:
    created = {session_store.create().session_id for _ in range(40)}
    pages = all_pages(session_pages, "last_activity", newest_first=True, limit=7)
    assert sorted(session.session_id for page in pages for session in page) == sorted(created)


@pytest.mark.parametrize("order", ["last_activity", "created_at"])
@pytest.mark.parametrize("newest_first", [True, False], ids=["newest first", "oldest first"])
def test_the_way_back_leads_over_the_same_pages(
    session_pages: SessionList, sessions_of_six_minutes: list[Session], order: Order, newest_first: bool
) -> None:
    for limit in (1, 4, 7):
        there = [session_pages.page(order, newest_first=newest_first, limit=limit)]
        while cursor := there[-1].next_cursor:
            there.append(session_pages.page(order, newest_first=newest_first, limit=limit, cursor=cursor))
        assert there[0].previous_cursor is None
        back = [there[-1]]
        while cursor := back[-1].previous_cursor:
            back.append(session_pages.page(order, newest_first=newest_first, limit=limit, cursor=cursor))
        assert [page.items for page in back[::-1]] == [page.items for page in there]
        # And on again, from the first page that was reached by going back.
        again = [back[-1]]
        while cursor := again[-1].next_cursor:
            again.append(session_pages.page(order, newest_first=newest_first, limit=limit, cursor=cursor))
        assert [page.items for page in again] == [page.items for page in there]


def test_the_way_back_reaches_sessions_that_came_meanwhile(
    session_store: SessionStore, session_pages: SessionList, clock: Clock
) -> None:
    for number in range(12):
        clock.advance(minutes=1)
        session_store.create(f"s{number}")
    second = session_pages.page(limit=4, cursor=session_pages.page(limit=4).next_cursor)
    for number in range(12, 15):
        clock.advance(minutes=1)
        session_store.create(f"s{number}")
    first = session_pages.page(limit=4, cursor=second.previous_cursor)
    assert [session.session_id for session in first.items] == ["s11", "s10", "s9", "s8"]
    newer = session_pages.page(limit=4, cursor=first.previous_cursor)
    assert [session.session_id for session in newer.items] == ["s14", "s13", "s12"]
    assert newer.previous_cursor is None
    assert session_pages.page(limit=4, cursor=newer.next_cursor).items == first.items


def test_pages_go_on_where_the_sessions_at_their_edges_are_deleted_or_used_meanwhile(
    session_store: SessionStore, session_pages: SessionList, clock: Clock
) -> None:
    for number in range(24):
        clock.advance(minutes=1)
        session_store.create(f"s{number}")
    first = session_pages.page(limit=8)
    second = session_pages.page(limit=8, cursor=first.next_cursor)
    for session in (*first.items, second.items[0]):
        session_store.delete(session.session_id)
    clock.advance(minutes=1)
    session_store.touch(second.items[-1])
    third = session_pages.page(limit=8, cursor=second.next_cursor)
    assert [session.session_id for session in third.items] == [f"s{number}" for number in range(7, -1, -1)]
    kept = {session.session_id for session in second.items[1:]}
    back = session_pages.page(limit=8, cursor=third.previous_cursor)
    assert {session.session_id for session in back.items} <= kept
    assert len(back.items) >= len(kept) - 1, "the one that was used has moved to the first page"


def test_a_page_of_no_sessions_is_empty_and_the_last(session_pages: SessionList) -> None:
    page = session_pages.page()
    assert (page.items, page.next_cursor) == ([], None)


def test_a_page_holds_at_most_100(session_store: SessionStore, session_pages: SessionList) -> None:
    for number in range(101):
        session_store.create(f"s{number}")
    page = session_pages.page(limit=600)
    assert len(page.items) == 100
    assert len(session_pages.page(limit=600, cursor=page.next_cursor).items) == 1


def test_a_page_costs_a_query_a_shard_and_one_batch_and_never_a_scan(
    session_pages: SessionList, sessions_of_six_minutes: list[Session], wire: Wire
) -> None:
    first = session_pages.page(limit=6)
    assert first.next_cursor is not None
    with wire.counting() as requests:
        session_pages.page(limit=6, cursor=first.next_cursor)
    assert requests == {"Query": 8, "BatchGetItem": 1}
    with wire.counting() as requests:
        all_pages(session_pages, "created_at", newest_first=True, limit=6)
    assert requests.keys() == {"Query", "BatchGetItem"}
    assert requests["Query"] <= 8 * requests["BatchGetItem"] + 8


def test_a_page_reads_the_items_themselves_consistently_and_without_their_state(
    session_store: SessionStore, session_pages: SessionList, wire: Wire, clock: Clock
) -> None:
    session = session_store.create("abc", principal="alice", client_params={"clientInfo": {"name": "inspector"}})
    session.state.update(secret=1, large="x" * 5000)
    session_store.save(session)
    session_store.update(session, log_level="debug", initialized_at=clock.now)
    (listed,) = session_pages.page().items
    assert (listed.session_id, listed.principal, listed.client_name) == ("abc", "alice", "inspector")
    assert (listed.created_at, listed.expires_at) == (session.created_at, session.expires_at)
    assert (listed.log_level, listed.initialized_at) == ("debug", clock.now)
    assert dict(listed.state) == {}
    (batch,) = wire.of("BatchGetItem")
    (keys,) = batch["RequestItems"].values()
    assert keys["ConsistentRead"] is True
    assert "state" not in keys["ExpressionAttributeNames"].values()


def test_pages_show_ended_sessions_and_not_deleted_ones(
    session_store: SessionStore, session_pages: SessionList, clock: Clock
) -> None:
    for name in ("live", "terminated", "deleted"):
        session_store.create(name)
    session_store.terminate("terminated")
    session_store.delete("deleted")
    clock.advance(hours=25)
    session_store.create("new")
    listed = {session.session_id: session.is_live for session in session_pages.page().items}
    assert listed == {"live": False, "terminated": False, "new": True}


def test_the_keys_of_state_are_counted_in_one_request(
    session_store: SessionStore, session_pages: SessionList, wire: Wire
) -> None:
    session_store.create("two", state=state_of(a=1, large="x" * 5000))
    session_store.create("none")
    with wire.counting() as requests:
        assert session_pages.keys_of_state(["two", "none", "gone"]) == {"two": 2, "none": 0}
        assert session_pages.keys_of_state([]) == {}
    assert requests == {"BatchGetItem": 1}


def test_keys_of_state_that_fit_in_no_answer_are_left_out(
    session_store: SessionStore, session_pages: SessionList
) -> None:
    session_store.create("small", state=state_of(a=1))
    small = {"session_id": {"S": "small"}, "state": {"M": {"a": {"S": "1"}}}}
    left = {session_store.table: {"Keys": [{"session_id": {"S": "large"}}]}}
    answer = {"Responses": {session_store.table: [small]}, "UnprocessedKeys": left}
    with answering(session_store.dynamodb, "BatchGetItem", answer):
        assert session_pages.keys_of_state(["small", "large"]) == {"small": 1}


def test_a_principals_sessions_are_listed_newest_first(
    session_store: SessionStore, session_pages: SessionList, clock: Clock, wire: Wire
) -> None:
    for number in range(6):
        session_store.create(f"a{number}", principal="alice")
        session_store.create(f"b{number}", principal="bob")
        session_store.create(f"c{number}")
        clock.advance(seconds=1)
    assert [session.session_id for session in session_pages.by_principal("alice")] == [
        f"a{n}" for n in range(5, -1, -1)
    ]
    assert session_pages.by_principal("mallory") == []
    with wire.counting() as requests:
        assert [session.session_id for session in session_pages.by_principal("bob", limit=2)] == ["b5", "b4"]
    assert requests == {"Query": 1, "BatchGetItem": 1}


def test_every_sessions_id_is_iterated(
    session_pages: SessionList, sessions_of_six_minutes: list[Session], wire: Wire
) -> None:
    with wire.counting() as requests:
        ids = list(session_pages.session_ids())
    assert sorted(ids) == sorted(session.session_id for session in sessions_of_six_minutes)
    assert requests == {"Query": 8}


# --- Count ----------------------------------------------------------------------------------------------------


def test_the_count_is_of_sessions_active_within_the_ttl(
    session_store: SessionStore, session_pages: SessionList, clock: Clock, wire: Wire
) -> None:
    assert session_pages.count() == 0
    for number in range(20):
        session_store.create(f"old{number}", state=state_of(large="x" * 5000) if number < 2 else None)
    clock.advance(hours=23)
    for number in range(5):
        session_store.create(f"new{number}")
    session_store.delete("new0")
    with wire.counting() as requests:
        assert session_pages.count() == 24
    assert requests == {"Query": 8}
    clock.advance(hours=2)
    assert session_pages.count() == 4


# --- Clear ----------------------------------------------------------------------------------------------------


def test_expired_sessions_are_cleared_with_their_large_values_and_no_others(
    session_store: SessionStore, session_pages: SessionList, clock: Clock
) -> None:
    for number in range(12):
        session_store.create(f"old{number}", state=state_of(large="x" * 5000) if number < 3 else None)
    kept = session_store.create("kept", state=state_of(large="x" * 5000))
    clock.advance(hours=23)
    session_store.touch(kept)
    session_store.create("new")
    clock.advance(hours=1, seconds=-1)
    assert session_pages.clear_expired() == []
    clock.advance(seconds=1)
    assert sorted(session_pages.clear_expired()) == sorted(f"old{number}" for number in range(12))
    assert sorted(session_pages.session_ids()) == ["kept", "new"]
    assert [key.partition("#")[0] for key in large_values(session_store)] == ["kept"]
    assert session_pages.clear_expired() == []


def test_terminated_sessions_are_cleared_at_their_shorter_ttl(
    session_store: SessionStore, session_pages: SessionList, clock: Clock
) -> None:
    for name in ("ended", "live"):
        session_store.create(name)
    clock.advance(hours=1)
    session_store.terminate("ended")
    clock.advance(hours=6, seconds=-1)
    assert session_pages.clear_expired() == []
    clock.advance(seconds=1)
    assert session_pages.clear_expired() == ["ended"]


def test_a_limit_bounds_one_run_and_the_next_goes_on(
    session_store: SessionStore, session_pages: SessionList, clock: Clock
) -> None:
    for number in range(10):
        session_store.create(f"old{number}")
    clock.advance(hours=24)
    runs = [session_pages.clear_expired(limit=4) for _ in range(4)]
    assert [len(run) for run in runs] == [4, 4, 2, 0]
    assert sorted(session_id for run in runs for session_id in run) == sorted(f"old{number}" for number in range(10))


def test_a_limit_of_none_at_all_clears_nothing(
    session_store: SessionStore, session_pages: SessionList, clock: Clock
) -> None:
    session_store.create()
    clock.advance(hours=24)
    assert session_pages.clear_expired(limit=0) == []


def test_idle_sessions_are_cleared_on_demand(
    session_store: SessionStore, session_pages: SessionList, clock: Clock
) -> None:
    idle, used = session_store.create("idle"), session_store.create("used")
    clock.advance(minutes=30)
    session_store.touch(used)
    assert session_pages.clear_expired(idle_since=clock.now - timedelta(minutes=40)) == []
    assert session_pages.clear_expired(idle_since=clock.now - timedelta(minutes=20)) == ["idle"]
    assert session_store.peek(idle.session_id) is None
    assert session_store.exists("used")


def test_a_session_active_in_the_second_before_is_not_idle(
    session_store: SessionStore, session_pages: SessionList, clock: Clock
) -> None:
    clock.advance(seconds=45)
    session_store.create("used")
    # Its activity is stored as the minute's beginning, 55 seconds ago.
    assert session_pages.clear_expired(idle_since=clock.now - timedelta(seconds=1)) == []
    assert session_store.exists("used")


def test_a_client_that_comes_back_while_its_session_is_cleared_keeps_it(
    session_store: SessionStore, session_pages: SessionList, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    back = session_store.create("back")
    clock.advance(minutes=30)
    delete_if_inactive = session_store.delete_if_inactive

    def comes_back_first(*args: str, now: datetime, idle_since: datetime | None = None) -> bool:
        session_store.touch(back)
        return delete_if_inactive(*args, now=now, idle_since=idle_since)

    monkeypatch.setattr(session_store, "delete_if_inactive", comes_back_first)
    assert session_pages.clear_expired(idle_since=clock.now - timedelta(minutes=10)) == []
    assert session_store.load("back").last_activity == session_items.floor(clock.now)


def test_clearing_never_scans(
    session_store: SessionStore, session_pages: SessionList, clock: Clock, wire: Wire
) -> None:
    for _ in range(5):
        session_store.create()
    clock.advance(hours=24)
    with wire.counting() as requests:
        session_pages.clear_expired(idle_since=clock.now)
    assert requests.keys() == {"Query", "BatchGetItem", "DeleteItem"}
    assert (requests["Query"], requests["DeleteItem"]) == (8, 5)
