"""Sessions: how one begins, is found, stays, and ends; on each engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pytest_django import Settings

from sessions_dynamo import schema
from sessions_dynamo.errors import (
    InvalidState,
    SessionExists,
    SessionNotFound,
    StateTooLarge,
    StorageUnavailable,
    TableMissing,
)
from sessions_dynamo.store import session_items, times
from sessions_dynamo.store.session_items import Session
from sessions_dynamo.store.sessions import SessionStore, default_store
from sessions_dynamo.store.times import to_ms
from tests.sessions_dynamo.support import Clock, Wire, large_values, raw_session, state_of
from tests.sessions_dynamo.wire import answering, error

NOT_SESSION_IDS = ["", "#bus", "a b", "abc#key#0011223344556677", "abc##eu-west-1", "ä", "x" * 129, "\x00", "abc\n"]


# --- Create ---------------------------------------------------------------------------------------------------


def test_a_session_without_an_id_gets_a_random_one(session_store: SessionStore) -> None:
    first, second = session_store.create(), session_store.create()
    assert first.session_id != second.session_id
    assert schema.is_session_id(first.session_id)
    assert session_store.load(first.session_id) == first


def test_a_session_keeps_the_id_it_was_given(session_store: SessionStore) -> None:
    assert session_store.create("my-session_1").session_id == "my-session_1"
    assert session_store.exists("my-session_1")


def test_what_a_session_began_with_is_read_back(session_store: SessionStore, clock: Clock) -> None:
    created = session_store.create(
        "abc",
        principal="alice",
        protocol_version="2025-11-25",
        client_params={"clientInfo": {"name": "inspector"}, "capabilities": {"x": [1.5, None]}},
        state=state_of(a=1, b={"c": ""}),
    )
    loaded = session_store.load("abc", "alice")
    assert loaded == created
    assert loaded.client_name == "inspector"
    assert loaded.client_params == {"clientInfo": {"name": "inspector"}, "capabilities": {"x": [1.5, None]}}
    assert dict(loaded.state) == {"a": 1, "b": {"c": ""}}
    assert loaded.created_at == clock.now
    assert loaded.last_activity == clock.now - timedelta(seconds=10), "floored to the minute"
    assert loaded.expires_at == clock.now + timedelta(hours=24)
    assert (loaded.initialized_at, loaded.terminated_at, loaded.log_level) == (None, None, None)
    assert (loaded.subscriptions, loaded.counters) == (frozenset(), {})


def test_an_id_that_is_taken_is_refused(session_store: SessionStore) -> None:
    session_store.create("abc", principal="alice", state=state_of(a=1))
    with pytest.raises(SessionExists, match="abc"):
        session_store.create("abc", principal="mallory", state=state_of(large="x" * 5000))
    assert dict(session_store.load("abc", "alice").state) == {"a": 1}
    assert large_values(session_store) == {}


def test_an_id_is_taken_until_its_terminated_session_has_expired(session_store: SessionStore, clock: Clock) -> None:
    session_store.create("abc")
    session_store.terminate("abc")
    with pytest.raises(SessionExists):
        session_store.create("abc")
    clock.advance(hours=6)
    assert session_store.create("abc").is_live


def test_an_expired_sessions_id_begins_an_empty_session(session_store: SessionStore, clock: Clock) -> None:
    old = session_store.create("abc", principal="alice", state=state_of(secret=1))
    session_store.incr(old, "runs")
    clock.advance(hours=24)
    session_store.create("abc", principal="bob")
    new = session_store.load("abc", "bob")
    assert (dict(new.state), new.counters, new.created_at) == ({}, {}, clock.now)


@pytest.mark.parametrize("session_id", NOT_SESSION_IDS)
def test_what_is_no_id_begins_no_session(session_store: SessionStore, session_id: str) -> None:
    with pytest.raises(InvalidState, match="1 to 128"):
        session_store.create(session_id)


def test_a_session_too_large_for_an_item_leaves_nothing(session_store: SessionStore) -> None:
    with pytest.raises(StateTooLarge):
        session_store.create("abc", client_params={"x": "y" * 410_000}, state=state_of(large="x" * 5000))
    assert not session_store.exists("abc")
    assert large_values(session_store) == {}


def test_params_that_are_no_json_leave_nothing(session_store: SessionStore) -> None:
    with pytest.raises(InvalidState):
        session_store.create("abc", client_params={"x": "\ud800"}, state=state_of(large="x" * 5000))
    assert not session_store.exists("abc")
    assert large_values(session_store) == {}


# --- Load -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("session_id", ["unknown", *NOT_SESSION_IDS])
def test_an_id_of_no_session_is_not_found(session_store: SessionStore, session_id: str) -> None:
    session_store.create("abc")
    with pytest.raises(SessionNotFound):
        session_store.load(session_id)
    assert session_store.peek(session_id) is None
    assert not session_store.exists(session_id)
    assert not session_store.delete(session_id)
    with pytest.raises(SessionNotFound):
        session_store.terminate(session_id)


def test_the_key_of_a_large_value_or_a_regions_state_is_no_session(session_store: SessionStore) -> None:
    session = session_store.create("abc", state=state_of(large="x" * 5000))
    session_store.set_global_state(session, "eu-west-1", 1)
    keys = list(large_values(session_store))
    assert len(keys) == 2
    for key in keys:
        assert session_store.peek(key) is None
        assert not session_store.delete(key)
        with pytest.raises(SessionNotFound):
            session_store.load(key)
    assert list(large_values(session_store)) == keys


@pytest.mark.parametrize(("owner", "caller"), [("alice", "bob"), ("alice", ""), ("", "alice"), ("alice", "Alice")])
def test_another_principals_session_is_not_found(session_store: SessionStore, owner: str, caller: str) -> None:
    session_store.create("abc", principal=owner)
    with pytest.raises(SessionNotFound) as foreign:
        session_store.load("abc", caller)
    with pytest.raises(SessionNotFound) as unknown:
        session_store.load("abd", caller)
    assert str(foreign.value) == str(unknown.value).replace("abd", "abc"), "an id tells a stranger nothing"
    with pytest.raises(SessionNotFound):
        session_store.terminate("abc", caller)
    assert session_store.load("abc", owner).is_live


def test_a_session_is_gone_in_the_second_its_ttl_names(session_store: SessionStore, clock: Clock) -> None:
    session_store.create("abc")
    clock.advance(hours=24, milliseconds=-1)
    assert session_store.exists("abc")
    assert session_store.load("abc").is_live
    clock.advance(milliseconds=1)
    assert not session_store.exists("abc")
    with pytest.raises(SessionNotFound):
        session_store.load("abc")
    stored = session_store.peek("abc")
    assert stored is not None, "Time to Live deletes late: the item is there still"
    assert not stored.is_live


def test_sessions_are_read_consistently(session_store: SessionStore, wire: Wire) -> None:
    session = session_store.create("abc", state=state_of(large="x" * 5000))
    session_store.set_global_state(session, "eu-west-1", 1)
    loaded = session_store.load("abc")
    assert loaded.state["large"] == "x" * 5000
    session_store.peek("abc")
    session_store.exists("abc")
    session_store.get_global_state(session, "eu-west-1")
    reads = wire.of("GetItem")
    assert len(reads) == 5
    assert all(read["ConsistentRead"] is True for read in reads)


# --- Activity -------------------------------------------------------------------------------------------------


def test_activity_is_recorded_once_a_minute_and_slides_the_ttl(
    session_store: SessionStore, clock: Clock, wire: Wire
) -> None:
    session = session_store.create("abc")
    created = clock.now
    clock.advance(seconds=49)
    session_store.touch(session)
    assert not wire.of("UpdateItem"), "the same minute"
    clock.advance(seconds=1)
    session_store.touch(session)
    session_store.touch(session)
    session_store.touch(session_store.load("abc"))
    assert len(wire.of("UpdateItem")) == 1
    stored = session_store.load("abc")
    assert stored == session
    assert stored.last_activity == clock.now == created + timedelta(seconds=50)
    assert stored.expires_at == clock.now + timedelta(hours=24)


def test_the_activity_index_keeps_its_key_within_a_minute(session_store: SessionStore, clock: Clock) -> None:
    session = session_store.create("abc")
    clock.advance(seconds=30)
    session_store.incr(session, "runs")
    item = raw_session(session_store, "abc")
    assert item is not None
    assert int(item["last_activity"]["N"]) == to_ms(session.created_at - timedelta(seconds=10))
    assert int(item["ttl"]["N"]) == int((clock.now + timedelta(hours=24)).timestamp())


def test_activity_never_goes_back_when_a_workers_clock_is_behind(session_store: SessionStore, clock: Clock) -> None:
    session = session_store.create("abc")
    clock.advance(minutes=5)
    session_store.touch(session)
    clock.advance(minutes=-3)
    session_store.incr(session, "runs")
    assert session_store.load("abc").last_activity == clock.now + timedelta(minutes=3, seconds=-10)


def test_a_session_in_use_outlives_its_first_ttl(session_store: SessionStore, clock: Clock) -> None:
    session_store.create("abc")
    for _ in range(4):
        clock.advance(hours=23)
        session_store.touch(session_store.load("abc"))
    assert session_store.exists("abc")


# --- Other fields ---------------------------------------------------------------------------------------------


def test_a_sessions_own_fields_are_updated(session_store: SessionStore, clock: Clock) -> None:
    params = {"clientInfo": {"name": "x"}}
    session = session_store.create("abc", protocol_version="2025-06-18", client_params=params, state=state_of(a=1))
    session_store.update(session, initialized_at=clock.now, log_level="debug")
    assert session_store.load("abc") == session
    assert (session.initialized_at, session.log_level) == (clock.now, "debug")
    assert (session.protocol_version, session.client_name) == ("2025-06-18", "x")
    assert dict(session.state) == {"a": 1}


def test_subscriptions_are_a_set_that_two_workers_add_to(session_store: SessionStore) -> None:
    one = session_store.create("abc")
    two = session_store.load("abc")
    session_store.subscribe(one, "file:///a")
    session_store.subscribe(one, "file:///a")
    session_store.subscribe(two, "file:///b")
    assert session_store.load("abc").subscriptions == {"file:///a", "file:///b"}
    session_store.unsubscribe(two, "file:///a")
    session_store.unsubscribe(two, "file:///unknown")
    assert session_store.load("abc").subscriptions == {"file:///b"}
    assert two.subscriptions == {"file:///b"}
    session_store.unsubscribe(two, "file:///b")
    assert session_store.load("abc").subscriptions == frozenset()


def test_a_counter_begins_at_zero_and_returns_its_new_value(session_store: SessionStore) -> None:
    session = session_store.create("abc")
    assert [session_store.incr(session, "runs") for _ in range(3)] == [1, 2, 3]
    assert session_store.incr(session, "runs", 10) == 13
    assert session_store.incr(session, "other.name#1", -2) == -2
    assert session_store.incr(session, "big", 10**30) == 10**30
    assert session.counters == session_store.load("abc").counters
    assert session.counters == {"runs": 13, "other.name#1": -2, "big": 10**30}


@pytest.mark.parametrize("by", [0.5, 1.0, True, "1", None, 10**38, -(10**38)])
def test_a_counter_is_changed_by_what_can_be_read_again_alone(session_store: SessionStore, by: Any) -> None:
    session = session_store.create()
    with pytest.raises(InvalidState, match="whole number"):
        session_store.incr(session, "runs", by)
    assert session_store.load(session.session_id).counters == {}


def test_a_counter_counts_what_another_worker_added(session_store: SessionStore) -> None:
    one = session_store.create("abc")
    two = session_store.load("abc")
    session_store.incr(one, "runs")
    assert session_store.incr(two, "runs") == 2


def test_a_counter_and_a_state_key_of_one_name_are_two_things(session_store: SessionStore) -> None:
    session = session_store.create("abc", state=state_of(runs="x"))
    assert session_store.incr(session, "runs") == 1
    assert dict(session_store.load("abc").state) == {"runs": "x"}


@pytest.mark.parametrize("name", ["", "x" * 257, "\ud800"])
def test_a_counters_name_is_a_key(session_store: SessionStore, name: str) -> None:
    session = session_store.create("abc")
    with pytest.raises(InvalidState):
        session_store.incr(session, name)


# --- End ------------------------------------------------------------------------------------------------------


def test_a_terminated_session_is_gone_for_clients_and_readable_by_staff(
    session_store: SessionStore, clock: Clock
) -> None:
    session_store.create("abc", principal="alice", state=state_of(a=1, large="x" * 5000))
    session_store.terminate("abc", "alice")
    assert not session_store.exists("abc")
    with pytest.raises(SessionNotFound):
        session_store.load("abc", "alice")
    with pytest.raises(SessionNotFound):
        session_store.terminate("abc", "alice")
    stored = session_store.peek("abc")
    assert stored is not None
    assert stored.terminated_at == clock.now
    assert stored.expires_at == clock.now + timedelta(hours=6)
    assert dict(stored.state) == {"a": 1, "large": "x" * 5000}


def test_staff_terminate_anyones_session(session_store: SessionStore) -> None:
    session_store.create("abc", principal="alice")
    session_store.terminate("abc")
    assert not session_store.exists("abc")


def test_a_deleted_session_leaves_no_item(session_store: SessionStore) -> None:
    session_store.create("abc", principal="alice", state=state_of(large="x" * 5000, larger="y" * 50_000))
    session_store.create("abcd", state=state_of(large="x" * 5000))
    assert session_store.delete("abc")
    assert session_store.peek("abc") is None
    assert [key.partition("#")[0] for key in large_values(session_store)] == ["abcd"]
    assert not session_store.delete("abc")


def _delete(store: SessionStore, clock: Clock) -> None:
    store.delete("abc")


def _terminate(store: SessionStore, clock: Clock) -> None:
    store.terminate("abc")


def _expire(store: SessionStore, clock: Clock) -> None:
    clock.advance(hours=24)


def _save(store: SessionStore, session: Session) -> None:
    session.state["a"] = 2
    store.save(session)


def _save_large(store: SessionStore, session: Session) -> None:
    session.state["large"] = "x" * 5000
    store.save(session)


def _remove(store: SessionStore, session: Session) -> None:
    del session.state["a"]
    store.save(session)


WRITES: dict[str, Callable[[SessionStore, Session], object]] = {
    "save": _save,
    "save a large value": _save_large,
    "remove a key": _remove,
    "touch": lambda store, session: store.touch(session),
    "save nothing": lambda store, session: store.save(session),
    "incr": lambda store, session: store.incr(session, "runs"),
    "update": lambda store, session: store.update(session, log_level="debug"),
    "subscribe": lambda store, session: store.subscribe(session, "file:///a"),
    "unsubscribe": lambda store, session: store.unsubscribe(session, "file:///a"),
    "terminate": lambda store, session: store.terminate(session.session_id, session.principal),
}


@pytest.mark.parametrize("end", [_delete, _terminate, _expire], ids=["deleted", "terminated", "expired"])
def test_no_write_revives_a_session(
    session_store: SessionStore, clock: Clock, end: Callable[[SessionStore, Clock], None]
) -> None:
    session_store.create("abc", principal="alice", state=state_of(a=1))
    loaded = {name: session_store.load("abc", "alice") for name in WRITES}
    end(session_store, clock)
    clock.advance(minutes=2)
    stood = raw_session(session_store, "abc")
    for name, write in WRITES.items():
        with pytest.raises(SessionNotFound):
            write(session_store, loaded[name])
        assert raw_session(session_store, "abc") == stood, name
    assert large_values(session_store) == {}, "a refused large value is deleted"


@pytest.mark.parametrize("principal", ["mallory", ""])
def test_no_write_reaches_another_principals_session(session_store: SessionStore, clock: Clock, principal: str) -> None:
    session = session_store.create("abc", principal="alice", state=state_of(a=1))
    clock.advance(minutes=2)
    stood = raw_session(session_store, "abc")
    for name, write in WRITES.items():
        with pytest.raises(SessionNotFound):
            write(session_store, replace(session, principal=principal, state=session_store.load("abc", "alice").state))
        assert raw_session(session_store, "abc") == stood, name
    assert large_values(session_store) == {}


def test_a_session_is_deleted_only_if_it_is_inactive(session_store: SessionStore, clock: Clock) -> None:
    session_store.create("abc", state=state_of(large="x" * 5000))
    idle_since = session_items.floor(clock.now)
    assert not session_store.delete_if_inactive("abc", now=clock.now)
    assert not session_store.delete_if_inactive("abc", now=clock.now, idle_since=idle_since)
    assert not session_store.delete_if_inactive("unknown", now=clock.now, idle_since=idle_since)
    assert session_store.exists("abc")
    assert session_store.delete_if_inactive("abc", now=clock.now, idle_since=idle_since + timedelta(minutes=1))
    assert session_store.peek("abc") is None
    assert large_values(session_store) == {}


def test_a_session_is_inactive_in_the_second_its_ttl_names(session_store: SessionStore, clock: Clock) -> None:
    session_store.create("abc")
    clock.advance(hours=24, seconds=-1)
    assert not session_store.delete_if_inactive("abc", now=clock.now)
    clock.advance(seconds=1)
    assert session_store.delete_if_inactive("abc", now=clock.now)


# --- global_state ---------------------------------------------------------------------------------------------


def test_each_region_has_a_state_of_its_own(session_store: SessionStore) -> None:
    session, other = session_store.create("abc"), session_store.create("abcd")
    session_store.set_global_state(session, "eu-west-1", {"cache_warmed": True})
    session_store.set_global_state(session, "us-west-2", None)
    session_store.set_global_state(session, "us-west-2", [1])
    session_store.set_global_state(other, "us-west-2", 2)
    assert session_store.get_global_state(session, "eu-west-1") == {"cache_warmed": True}
    assert session_store.get_global_state(session, "us-west-2") == [1]
    assert session_store.get_global_state(session, "ap-south-1") is None
    assert session_store.get_global_state(session, "ap-south-1", "default") == "default"
    assert sorted(large_values(session_store)) == ["abc##eu-west-1", "abc##us-west-2", "abcd##us-west-2"]
    assert dict(session_store.load("abc").state) == {}


def test_a_regions_state_that_is_null_is_there(session_store: SessionStore) -> None:
    session = session_store.create()
    session_store.set_global_state(session, "eu-west-1", None)
    assert session_store.get_global_state(session, "eu-west-1", "default") is None


def test_a_regions_state_expires_two_session_ttls_after_its_last_write(
    session_store: SessionStore, clock: Clock
) -> None:
    session = session_store.create()
    session_store.set_global_state(session, "eu-west-1", 1)
    clock.advance(hours=48, milliseconds=-1)
    assert session_store.get_global_state(session, "eu-west-1") == 1
    clock.advance(milliseconds=1)
    assert session_store.get_global_state(session, "eu-west-1") is None


@pytest.mark.parametrize("region", ["", "x" * 257, "\ud800"])
def test_a_region_is_a_key(session_store: SessionStore, region: str) -> None:
    with pytest.raises(InvalidState):
        session_store.set_global_state(session_store.create(), region, 1)


def test_a_regions_state_is_json_within_the_limit_of_a_value(session_store: SessionStore) -> None:
    session = session_store.create()
    with pytest.raises(InvalidState):
        session_store.set_global_state(session, "eu-west-1", float("nan"))
    with pytest.raises(StateTooLarge, match="eu-west-1"):
        session_store.set_global_state(session, "eu-west-1", "x" * session_items.MAX_VALUE_BYTES)
    assert session_store.get_global_state(session, "eu-west-1") is None


# --- The store itself -----------------------------------------------------------------------------------------


def test_the_backend_is_named_by_table_region_and_endpoint(
    session_store: SessionStore, engine: tuple[str, str]
) -> None:
    assert session_store.backend_name == f"DynamoDB table {session_store.table} in eu-west-1 at {engine[1]}"


def test_the_settings_describe_the_processs_store(settings: Settings) -> None:
    settings.SESSION_TTL_HOURS, settings.EVENT_TTL_HOURS = 2, 0.5
    store = default_store()
    assert store is default_store()
    assert store.table == settings.DYNAMODB_SESSIONS_TABLE
    assert (store.session_ttl, store.terminated_ttl) == (timedelta(hours=2), timedelta(minutes=30))
    settings.SESSION_TTL_HOURS = 0.25
    assert default_store().terminated_ttl == timedelta(minutes=15), "never longer than a session's own"


def test_throttling_says_so(session_store: SessionStore) -> None:
    throttled = error("ProvisionedThroughputExceededException", "Slow down")
    with answering(session_store.dynamodb, "GetItem", throttled), pytest.raises(StorageUnavailable, match="throttled"):
        session_store.load("abc")


def test_a_table_that_is_missing_names_the_command_that_makes_it(session_store: SessionStore) -> None:
    lost = SessionStore(
        session_store.dynamodb,
        "no-such-table",
        session_ttl=timedelta(hours=1),
        terminated_ttl=timedelta(hours=1),
        driver=session_store.drive,
    )
    with pytest.raises(TableMissing, match=r"no-such-table.*dynamodb_setup"):
        lost.load("abc")
    with pytest.raises(TableMissing):
        lost.create()


def test_the_time_of_an_item_is_exact_to_the_millisecond() -> None:
    for milliseconds in (0, 1, 999, 1_763_800_000_123, 1_763_800_000_999):
        assert to_ms(times.from_ms(milliseconds)) == milliseconds
    assert session_items.floor(datetime(2026, 1, 1, 12, 59, 59, 999_999, UTC)) == datetime(
        2026, 1, 1, 12, 59, 0, 0, UTC
    )
