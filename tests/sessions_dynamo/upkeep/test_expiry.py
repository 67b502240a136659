"""What a schedule may run; on each engine."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from datetime import timedelta

import pytest

from sessions_dynamo import schema
from sessions_dynamo.errors import StorageUnavailable
from sessions_dynamo.reading import index_pages
from sessions_dynamo.reading.session_list import SessionList
from sessions_dynamo.store.events import EventStore
from sessions_dynamo.store.sessions import SessionStore
from sessions_dynamo.store.state import Spilled
from sessions_dynamo.upkeep import expiry, orphans
from sessions_dynamo.upkeep.expiry import Tally, Task, maintain
from tests.sessions_dynamo.exported import put_of_the_moment
from tests.sessions_dynamo.store.test_events import LATE, stream_of
from tests.sessions_dynamo.support import Clock, Wire, large_values, raw_items, state_of

LARGE = "x" * 5000
PARTS = len(index_pages.SHARDS)


def put_value(store: SessionStore, item_id: str, *, written: timedelta, **more: str) -> None:
    """An item beside the sessions, written so long ago, with the ttl that it was given then."""
    expires = schema.now_ms() // 1000 + int((2 * store.session_ttl - written).total_seconds())
    item = {"session_id": {"S": item_id}, "value": {"S": "1"}, "ttl": {"N": str(expires)}}
    store.dynamodb.put_item(TableName=store.table, Item=item | {name: {"N": number} for name, number in more.items()})


# --- Sessions and their events --------------------------------------------------------------------------------


def test_expired_sessions_and_their_events_are_deleted_and_the_others_trimmed(
    session_store: SessionStore, session_pages: SessionList, event_store: EventStore, clock: Clock
) -> None:
    for name in ("old1", "old2"):
        session_store.create(name, state=state_of(large=LARGE))
        event_store.append(stream_of(3, session=name))
    clock.advance(hours=24)
    for name in ("live", "quiet"):
        session_store.create(name)
    event_store.append(stream_of(12, session="live"))
    event_store.operations.max_events = 5

    # The events of the expired sessions have expired too: Time to Live would delete them, and this does.
    assert maintain(session_pages, event_store) == Tally(
        sessions=2, session_items=6, trimmed_sessions=1, surplus_events=7, parts=PARTS
    )
    assert sorted(session_pages.session_ids()) == ["live", "quiet"]
    assert [event_store.count(name) for name in ("old1", "old2", "live", "quiet")] == [0, 0, 5, 0]
    assert large_values(session_store) == {}
    assert maintain(session_pages, event_store) == Tally(parts=PARTS)


def test_a_dry_run_counts_what_a_run_deletes_and_deletes_nothing(
    session_store: SessionStore, session_pages: SessionList, event_store: EventStore, clock: Clock, wire: Wire
) -> None:
    session_store.create("old", state=state_of(large=LARGE))
    event_store.append(stream_of(8, session="old"))
    event_store.append(stream_of(4, session="gone"))
    clock.advance(hours=24)
    session_store.create("live")
    event_store.append(stream_of(9, session="live"))
    put_value(session_store, schema.spilled_value_id("live", "k"), written=timedelta(hours=2))
    event_store.operations.max_events = 5
    before = raw_items(session_store.dynamodb, session_store.table), raw_items(event_store.dynamodb, event_store.table)
    with wire.counting() as requests:
        counted = maintain(session_pages, event_store, Task(orphans=True, delete=False))

    assert not {"DeleteItem", "BatchWriteItem", "UpdateItem", "PutItem"} & set(requests)
    assert before == (
        raw_items(session_store.dynamodb, session_store.table),
        raw_items(event_store.dynamodb, event_store.table),
    )
    assert (counted.sessions, counted.session_items, counted.stray_items) == (1, 8, 4)
    assert (counted.surplus_events, counted.large_values) == (4, 1)
    assert maintain(session_pages, event_store, Task(orphans=True)) == counted


def test_idle_sessions_go_when_that_is_asked_for(
    session_store: SessionStore, session_pages: SessionList, event_store: EventStore, clock: Clock
) -> None:
    session_store.create("idle")
    used = session_store.create("used")
    clock.advance(hours=3)
    session_store.touch(used)
    assert maintain(session_pages, event_store).sessions == 0
    assert maintain(session_pages, event_store, Task(idle=timedelta(hours=2))).sessions == 1
    assert list(session_pages.session_ids()) == ["used"]


def test_a_terminated_session_goes_once_staff_have_had_their_time(
    session_store: SessionStore, session_pages: SessionList, event_store: EventStore, clock: Clock
) -> None:
    session_store.create("ended")
    session_store.terminate("ended")
    clock.advance(hours=5)
    assert maintain(session_pages, event_store).sessions == 0
    clock.advance(hours=1)
    assert maintain(session_pages, event_store).sessions == 1


def test_a_session_whose_client_comes_back_stays_with_its_events(
    session_store: SessionStore,
    session_pages: SessionList,
    event_store: EventStore,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session = session_store.create("back")
    event_store.append(stream_of(3, session="back"))
    clock.advance(hours=3)
    looks_expired = session_pages.expired

    def comes_back(*args: object) -> object:
        for session_id in looks_expired(*args):  # type: ignore[arg-type]
            session_store.touch(session)
            yield session_id

    monkeypatch.setattr(session_pages, "expired", comes_back)
    assert maintain(session_pages, event_store, Task(idle=timedelta(hours=2))) == Tally(parts=PARTS)
    assert session_store.load("back")
    assert len(event_store.item_keys("back")) == 3


@pytest.mark.parametrize("begins", ["after it expired", "after it was gone"])
def test_a_session_that_begins_anew_under_its_id_keeps_what_it_has_since(
    session_store: SessionStore,
    session_pages: SessionList,
    event_store: EventStore,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    begins: str,
) -> None:
    event_store.append(stream_of(3, session="user-ann"))
    if begins == "after it expired":
        session_store.create("user-ann")
    clock.advance(hours=24)
    called: list[bool] = []

    def anew(then: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **more: object) -> object:
            answer = then(*args, **more)
            if not called:
                called.append(True)
                session_store.create("user-ann")
                event_store.append(stream_of(2, session="user-ann", stream=LATE))
            return answer

        return call

    if begins == "after it expired":
        monkeypatch.setattr(session_store, "delete_if_inactive", anew(session_store.delete_if_inactive))
    else:
        monkeypatch.setattr(session_pages, "existing", anew(session_pages.existing))
    maintain(session_pages, event_store)
    assert called
    assert session_store.load("user-ann")
    assert event_store.count("user-ann") == 2


def test_events_of_a_session_that_is_gone_are_deleted_with_what_is_no_event(
    session_store: SessionStore, session_pages: SessionList, event_store: EventStore, clock: Clock
) -> None:
    for name in ("gone", "live"):
        event_store.append(stream_of(3, session=name))
        lease = {"session_id": {"S": name}, "event_id": {"S": schema.lease_id(stream_of(1)[0].stream_id)}}
        event_store.dynamodb.put_item(TableName=event_store.table, Item=lease)
    session_store.create("live")
    tally = maintain(session_pages, event_store)
    assert (tally.stray_sessions, tally.stray_items) == (1, 4)
    assert (len(event_store.item_keys("gone")), len(event_store.item_keys("live"))) == (0, 4)


def test_what_workers_tell_each_other_is_never_taken_for_a_sessions(
    session_store: SessionStore, session_pages: SessionList, event_store: EventStore, clock: Clock
) -> None:
    """As the tables hold it, in no index; and were it in one, as what looks like an event of long ago."""
    session_store.create("live")
    put_of_the_moment(event_store, "live")
    put_of_the_moment(event_store, "live", timestamp={"N": "1"}, shard={"S": "0"})
    before = raw_items(event_store.dynamodb, event_store.table)
    event_store.operations.max_events = 0
    parts = PARTS + expiry.SEGMENTS
    assert maintain(session_pages, event_store, Task(orphans=True)) == Tally(parts=parts, of_parts=parts)
    assert raw_items(event_store.dynamodb, event_store.table) == before


def test_events_that_are_young_are_kept_while_their_session_may_not_have_come_to_a_replica(
    session_pages: SessionList, event_store: EventStore, clock: Clock
) -> None:
    event_store.store("replicated", "notifications/message", "{}")
    assert maintain(session_pages, event_store).stray_items == 0
    clock.advance(hours=2)
    assert maintain(session_pages, event_store).stray_items == 1


def test_without_orphans_nothing_is_scanned(
    session_store: SessionStore, session_pages: SessionList, event_store: EventStore, clock: Clock, wire: Wire
) -> None:
    session_store.create("old")
    clock.advance(hours=24)
    session_store.create("new")
    event_store.store("new", "notifications/message", "{}")
    maintain(session_pages, event_store)
    assert wire.requests
    assert not wire.of("Scan")


# --- Orphans --------------------------------------------------------------------------------------------------


def test_large_values_that_no_session_points_to_are_deleted_and_those_in_use_kept(
    session_store: SessionStore, session_pages: SessionList, event_store: EventStore, clock: Clock
) -> None:
    session_store.create("live", state=state_of(kept=LARGE))
    clock.advance(hours=2)
    for owner in ("live", "gone"):
        put_value(session_store, schema.spilled_value_id(owner, "kept"), written=timedelta(hours=2))
    tally = maintain(session_pages, event_store, Task(orphans=True))
    assert tally == Tally(large_values=2, parts=PARTS + expiry.SEGMENTS, of_parts=PARTS + expiry.SEGMENTS)
    assert session_store.load("live").state["kept"] == LARGE
    assert len(large_values(session_store)) == 1


def test_a_large_value_that_was_put_before_its_pointer_is_let_be(
    session_store: SessionStore, session_pages: SessionList, event_store: EventStore, clock: Clock
) -> None:
    put_value(session_store, schema.spilled_value_id("soon", "k"), written=timedelta(minutes=1))
    put_value(session_store, schema.spilled_value_id("soon", "k"), written=orphans.SAFE_AGE - timedelta(seconds=1))
    assert maintain(session_pages, event_store, Task(orphans=True)).large_values == 0
    assert len(large_values(session_store)) == 2


def test_a_regions_state_outlives_its_session_no_longer_than_an_hour(
    session_store: SessionStore, session_pages: SessionList, event_store: EventStore, clock: Clock
) -> None:
    for name in ("live", "gone"):
        session = session_store.create(name)
        session_store.set_global_state(session, "eu-west-1", {"cache": "warm"})
        # From its key alone it could be a large value of the key "#a".
        session_store.set_global_state(session, "a#0123456789abcdef", 1)
    session_store.delete("gone")
    assert maintain(session_pages, event_store, Task(orphans=True)).region_entries == 0
    clock.advance(hours=2)
    assert maintain(session_pages, event_store, Task(orphans=True)).region_entries == 2
    assert session_store.get_global_state(session_store.load("live"), "a#0123456789abcdef") == 1


def test_a_value_whose_ttl_moves_after_it_was_found_is_not_deleted(session_store: SessionStore, clock: Clock) -> None:
    item_id = schema.spilled_value_id("gone", "k")
    put_value(session_store, item_id, written=timedelta(hours=2))
    found = [orphan for segment in range(3) for orphan in orphans.find(session_store, segment=segment, segments=3)]
    assert [orphan.item_id for orphan in found] == [item_id]
    put_value(session_store, item_id, written=timedelta(0))
    assert not orphans.delete(session_store, found[0])
    assert item_id in large_values(session_store)


def test_large_values_that_a_session_points_to_outside_this_run_are_found_by_their_pointer(
    session_store: SessionStore, session_pages: SessionList, event_store: EventStore, clock: Clock
) -> None:
    session = session_store.create("live", state=state_of(a=LARGE, b=LARGE))
    [*ids] = (entry.item_id for entry in session.state.entries.values() if isinstance(entry, Spilled))
    clock.advance(hours=23)
    assert maintain(session_pages, event_store, Task(orphans=True)).large_values == 0
    assert sorted(large_values(session_store)) == sorted(ids)


# --- Bounds ---------------------------------------------------------------------------------------------------


def test_a_limit_bounds_what_one_run_sees_to_and_the_next_goes_on(
    session_store: SessionStore, session_pages: SessionList, event_store: EventStore, clock: Clock
) -> None:
    for number in range(5):
        session_store.create(f"old{number}")
    clock.advance(hours=24)
    tallies = [maintain(session_pages, event_store, Task(limit=2)) for _ in range(4)]
    assert [tally.sessions for tally in tallies] == [2, 2, 1, 0]
    assert [tally.is_complete for tally in tallies] == [False, False, True, True]


def test_time_bounds_a_run_and_every_part_has_its_turn(
    session_store: SessionStore,
    session_pages: SessionList,
    event_store: EventStore,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for number in range(40):
        session_store.create(f"old{number}")
    clock.advance(hours=24)
    random.seed(1)
    ticks = iter(range(10_000))
    monkeypatch.setattr(expiry, "time", type("Ticking", (), {"monotonic": lambda: next(ticks)}))

    first = maintain(session_pages, event_store, Task(seconds=20))
    assert not first.is_complete
    deleted = first.sessions
    for _ in range(30):
        deleted += maintain(session_pages, event_store, Task(seconds=20)).sessions
    assert deleted == 40


def test_what_was_deleted_is_told_when_a_request_fails(
    session_store: SessionStore,
    session_pages: SessionList,
    event_store: EventStore,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for number in range(30):
        session_store.create(f"old{number}")
    clock.advance(hours=24)
    deletes, lock = iter(range(1000)), threading.Lock()
    delete = session_store.delete_if_inactive

    def throttled_after_ten(*args: object, **more: object) -> bool:
        with lock:
            number = next(deletes)
        if number >= 10:
            raise StorageUnavailable("throttled")
        time.sleep(0.001)
        return delete(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(session_store, "delete_if_inactive", throttled_after_ten)
    tally = Tally()
    with pytest.raises(StorageUnavailable, match="throttled"):
        maintain(session_pages, event_store, tally=tally)
    assert tally.sessions == 10
    assert len(list(session_pages.session_ids())) == 20
