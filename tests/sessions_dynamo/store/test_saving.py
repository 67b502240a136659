"""State through storage: one unit of work, exact values, large values, limits and conflicts; on each engine."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from sessions_dynamo.errors import (
    InvalidState,
    SessionExists,
    SessionNotFound,
    StateConflict,
    StateTooLarge,
    StorageUnavailable,
)
from sessions_dynamo.operations import Operation, Request
from sessions_dynamo.store import session_items, values
from sessions_dynamo.store.session_items import (
    MAX_CHANGED_KEYS,
    MAX_INLINE_BYTES,
    MAX_KEYS,
    MAX_VALUE_BYTES,
    SPILL_BYTES,
)
from sessions_dynamo.store.sessions import SessionStore
from sessions_dynamo.store.state import Spilled, State
from tests.engines import on_dynamodb_local
from tests.sessions_dynamo.json_values import json_values, nested, state_keys
from tests.sessions_dynamo.support import Clock, Wire, created_with, large_values, raw_session, state_of
from tests.sessions_dynamo.wire import answering, error, replacing

LARGE = "x" * 5000
LARGER = "y" * 50_000


def stored(store: SessionStore, session_id: str) -> dict[str, Any]:
    """A session's whole state as another worker reads it."""
    return dict(store.load(session_id).state)


# --- Values ---------------------------------------------------------------------------------------------------


@given(first=st.dictionaries(state_keys, json_values, max_size=3), second=st.dictionaries(state_keys, json_values))
@hypothesis_settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_json_comes_back_equal(session_store: SessionStore, first: dict[str, Any], second: dict[str, Any]) -> None:
    state = State()
    state.update(first)
    session = session_store.create(state=state)
    session.state.update(second)
    session_store.save(session)
    # By repr, because 1, 1.0 and True are equal to each other, and so are 0.0 and -0.0.
    expected, actual = first | second, stored(session_store, session.session_id)
    assert {key: repr(value) for key, value in actual.items()} == {key: repr(v) for key, v in expected.items()}


@pytest.mark.parametrize("depth", [33, 100, values.MAX_DEPTH])
def test_nesting_deeper_than_dynamodbs_own_comes_back_equal(session_store: SessionStore, depth: int) -> None:
    session = session_store.create(state=state_of(deep=nested(depth)))
    assert repr(stored(session_store, session.session_id)) == repr({"deep": nested(depth)})


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), "\ud800", {"k": "\udfff"}, {1, 2}, nested(501)], ids=repr
)
def test_what_is_no_json_is_refused_and_nothing_lost(session_store: SessionStore, value: Any) -> None:
    session = session_store.create(state=state_of(a=1))
    with pytest.raises(InvalidState):
        session.state["a"] = value
    session.state["b"] = 2
    session_store.save(session)
    assert stored(session_store, session.session_id) == {"a": 1, "b": 2}


# --- One unit of work -----------------------------------------------------------------------------------------


def test_nothing_is_written_until_it_is_saved(session_store: SessionStore, wire: Wire) -> None:
    session = session_store.create("abc", state=state_of(a=1, b=2))
    with wire.counting() as requests:
        session.state["a"] = LARGE
        session.state["c"] = 3
        del session.state["b"]
    assert not requests
    assert stored(session_store, "abc") == {"a": 1, "b": 2}
    session_store.save(session)
    assert stored(session_store, "abc") == {"a": LARGE, "c": 3}


def test_a_save_writes_the_changed_keys_alone(session_store: SessionStore) -> None:
    session_store.create("abc", state=state_of(a=1, b=1, c=1))
    one, two = session_store.load("abc"), session_store.load("abc")
    one.state["a"] = 2
    two.state["b"] = 2
    del two.state["c"]
    two.state["d"] = 2
    session_store.save(one)
    session_store.save(two)
    assert stored(session_store, "abc") == {"a": 2, "b": 2, "d": 2}


def test_one_session_saves_unit_after_unit(session_store: SessionStore) -> None:
    session = session_store.create("abc")
    for number in range(3):
        session.state["n"] = session.state.get("n", 0) + 1
        session.state[f"large{number}"] = LARGE
        session_store.save(session)
    assert stored(session_store, "abc") == dict(session.state)
    assert session.state["n"] == 3


def test_saving_no_change_records_activity(session_store: SessionStore, clock: Clock, wire: Wire) -> None:
    session = session_store.create("abc", state=state_of(a=1))
    assert session.state["a"] == 1
    session_store.save(session)
    assert not wire.of("UpdateItem")
    clock.advance(minutes=1)
    session_store.save(session)
    assert len(wire.of("UpdateItem")) == 1
    assert session_store.load("abc").last_activity == session_items.floor(clock.now)


def test_a_save_slides_the_ttl(session_store: SessionStore, clock: Clock) -> None:
    session = session_store.create("abc")
    clock.advance(hours=23)
    session.state["a"] = 1
    session_store.save(session)
    loaded = session_store.load("abc")
    assert loaded == session
    assert loaded.expires_at.timestamp() == int(clock.now.timestamp()) + 24 * 3600


@pytest.mark.parametrize("key", ["#", "a.b", "a[0]", ":v", "ttl", "session_id", "size(x)", " ", "\x00", "😀" * 256])
def test_a_key_is_never_taken_for_a_path_or_a_name_of_ours(session_store: SessionStore, key: str) -> None:
    session = session_store.create("abc")
    for value in (1, LARGE, 2):
        session.state[key] = value
        session_store.save(session)
        assert stored(session_store, "abc") == {key: value}
    del session.state[key]
    session_store.save(session)
    assert stored(session_store, "abc") == {}


def test_pop_and_setdefault_are_saved(session_store: SessionStore) -> None:
    session_store.create("abc", state=state_of(a=1, b=2))
    session = session_store.load("abc")
    assert session.state.pop("a") == 1
    assert session.state.setdefault("b", 9) == 2
    assert session.state.setdefault("c", 3) == 3
    session_store.save(session)
    assert stored(session_store, "abc") == {"b": 2, "c": 3}


def test_removing_a_key_that_is_gone_already_is_no_error_when_it_was_not_read(session_store: SessionStore) -> None:
    session = session_store.create("abc")
    session.state["a"] = 1
    del session.state["a"]
    session_store.save(session)
    assert stored(session_store, "abc") == {}


# --- Conflicts ------------------------------------------------------------------------------------------------

Other = Callable[[SessionStore], None]


def _other_sets(value: Any) -> Other:
    def other(store: SessionStore) -> None:
        session = store.load("abc")
        session.state["k"] = value
        store.save(session)

    return other


def _other_removes(store: SessionStore) -> None:
    session = store.load("abc")
    del session.state["k"]
    store.save(session)


@pytest.mark.parametrize(
    ("before", "other"),
    [
        (1, _other_sets(2)),
        (1, _other_sets(LARGE)),
        (1, _other_removes),
        (1, _other_sets(1.0)),
        (LARGE, _other_sets(1)),
        (LARGE, _other_sets(LARGER)),
        (LARGE, _other_sets(LARGE)),
        (LARGE, _other_removes),
        (None, _other_sets(1)),
        (None, _other_sets(LARGE)),
    ],
    ids=[
        "inline-inline",
        "inline-large",
        "inline-removed",
        "inline-equal",
        "large-inline",
        "large-large",
        "large-same",
        "large-removed",
        "absent-inline",
        "absent-large",
    ],
)
@pytest.mark.parametrize("written", ["mine", LARGE, None], ids=["set", "set-large", "remove"])
def test_a_key_that_was_read_and_then_changed_elsewhere_is_a_conflict(
    session_store: SessionStore, before: Any, other: Other, written: Any
) -> None:
    session_store.create("abc", state=State() if before is None else state_of(k=before))
    session = session_store.load("abc")
    session.state.get("k")
    other(session_store)
    if written is not None:
        session.state["k"] = written
    elif before is None:
        return  # An absent key cannot be removed.
    else:
        del session.state["k"]
    session.state["also"] = LARGE
    stood, large = raw_session(session_store, "abc"), large_values(session_store)
    with pytest.raises(StateConflict, match=r"'k'.*nothing was saved"):
        session_store.save(session)
    assert raw_session(session_store, "abc") == stood
    assert large_values(session_store) == large


def test_a_conflict_names_the_keys_that_changed_and_a_retry_succeeds(session_store: SessionStore) -> None:
    session_store.create("abc", state=state_of(a=1, b=1, c=1))
    session = session_store.load("abc")
    for key in "abc":
        session.state[key] += 1
    other = session_store.load("abc")
    other.state["c"] = other.state["a"] = 10
    session_store.save(other)
    with pytest.raises(StateConflict, match="'a', 'c' meanwhile"):
        session_store.save(session)
    again = session_store.load("abc")
    for key in "abc":
        again.state[key] += 1
    session_store.save(again)
    assert stored(session_store, "abc") == {"a": 11, "b": 2, "c": 11}


def test_a_blind_write_is_no_conflict(session_store: SessionStore) -> None:
    session_store.create("abc", state=state_of(a=1, b=LARGE))
    session = session_store.load("abc")
    other = session_store.load("abc")
    other.state.update(a=2, b=LARGER, c=3)
    session_store.save(other)
    session.state.update(a="mine", b="mine", c="mine")
    session_store.save(session)
    assert stored(session_store, "abc") == {"a": "mine", "b": "mine", "c": "mine"}


def test_a_key_that_was_only_read_is_no_conflict(session_store: SessionStore) -> None:
    session_store.create("abc", state=state_of(a=1, b=1))
    session = session_store.load("abc")
    assert session.state["a"] == 1
    _other_sets(2)(session_store)
    session.state["b"] = 2
    session_store.save(session)
    assert stored(session_store, "abc") == {"a": 1, "b": 2, "k": 2}


# --- Large values ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "inline"),
    [
        ("x" * (SPILL_BYTES - 2), True),
        ("x" * (SPILL_BYTES - 1), False),
        ("é" * (SPILL_BYTES // 2 - 1), True),
        ("é" * (SPILL_BYTES // 2), False),
    ],
    ids=["4096 bytes", "4097 bytes", "4096 bytes of é", "4098 bytes of é"],
)
def test_a_value_over_4_kib_has_an_item_of_its_own(session_store: SessionStore, value: str, inline: bool) -> None:
    session = session_store.create("abc", state=state_of(first=value))
    session.state["second"] = value
    session_store.save(session)
    assert [key.rpartition("#")[0] for key in sorted(large_values(session_store))] == (
        [] if inline else ["abc#first", "abc#second"]
    )
    assert stored(session_store, "abc") == {"first": value, "second": value}


@pytest.mark.parametrize("write", ["replace", "shrink", "remove"])
def test_a_large_value_that_is_replaced_is_deleted(session_store: SessionStore, write: str) -> None:
    session_store.create("abc", state=state_of(k=LARGE, other=LARGE))
    before = set(large_values(session_store))
    session = session_store.load("abc")
    if write == "replace":
        session.state["k"] = LARGER
    elif write == "shrink":
        session.state["k"] = 1
    else:
        del session.state["k"]
    session_store.save(session)
    left = large_values(session_store)
    assert len(left) == (2 if write == "replace" else 1)
    assert not any(key.startswith("abc#k#") for key in before & set(left))
    assert stored(session_store, "abc") == dict(session.state)


def test_a_reader_whose_large_value_is_replaced_under_it_is_told_to_retry(session_store: SessionStore) -> None:
    session_store.create("abc", state=state_of(k=LARGE))
    reader = session_store.load("abc")
    _other_sets(LARGER)(session_store)
    with pytest.raises(StateConflict, match="retry"):
        reader.state["k"]
    assert session_store.load("abc").state["k"] == LARGER


USES: dict[str, Callable[[SessionStore], object]] = {
    "touch": lambda store: store.touch(store.load("abc")),
    "save": lambda store: _other_sets(1)(store),
    "incr": lambda store: store.incr(store.load("abc"), "runs"),
    "update": lambda store: store.update(store.load("abc"), log_level="debug"),
    "subscribe": lambda store: store.subscribe(store.load("abc"), "file:///a"),
}


@pytest.mark.parametrize("use", list(USES))
def test_a_large_value_in_use_never_expires(session_store: SessionStore, clock: Clock, use: str) -> None:
    session_store.create("abc", state=state_of(large=LARGE))
    for _ in range(6):
        clock.advance(hours=23)
        USES[use](session_store)
        session = session_store.load("abc")
        (item,) = large_values(session_store).values()
        assert int(item["ttl"]["N"]) > session.expires_at.timestamp()
        assert session.state["large"] == LARGE
        (entry,) = (entry for entry in session.state.entries.values() if isinstance(entry, Spilled))
        assert entry.ttl == int(item["ttl"]["N"])


def test_a_large_values_ttl_is_moved_once_a_session_ttl(session_store: SessionStore, clock: Clock, wire: Wire) -> None:
    session_store.create("abc", state=state_of(large=LARGE))
    updates = []
    for _ in range(6):
        clock.advance(hours=8)
        with wire.counting() as requests:
            session_store.touch(session_store.load("abc"))
        updates.append(requests["UpdateItem"])
    assert updates == [1, 1, 3, 1, 1, 3]


def test_a_large_value_that_was_replaced_is_not_kept(session_store: SessionStore, clock: Clock) -> None:
    session_store.create("abc", state=state_of(large=LARGE))
    stale = session_store.load("abc")
    other = session_store.load("abc")
    other.state["large"] = LARGER
    session_store.save(other)
    clock.advance(hours=23)
    session_store.touch(session_store.load("abc"))
    clock.advance(hours=20)
    (key,) = large_values(session_store)
    session_store.touch(stale)
    assert list(large_values(session_store)) == [key]
    assert stored(session_store, "abc") == {"large": LARGER}


# --- Limits ---------------------------------------------------------------------------------------------------


def test_100_keys_are_changed_in_one_save_whatever_their_length(session_store: SessionStore) -> None:
    session = session_store.create("abc", principal="alice", state=State())
    keys = [f"{number:03d}".ljust(256, "😀") for number in range(MAX_CHANGED_KEYS)]
    for key in keys:
        assert key not in session.state, "read, so that every key has a condition of its own"
        session.state[key] = key
    session_store.save(session)
    for key in keys[:50]:
        del session.state[key]
    for key in keys[50:]:
        session.state[key] = session.state[key] + "!"
    session_store.save(session)
    assert dict(session_store.load("abc", "alice").state) == {key: f"{key}!" for key in keys[50:]}


def test_101_changed_keys_are_too_many(session_store: SessionStore) -> None:
    session = session_store.create("abc", state=state_of(a=1, b=1))
    session.state.update({f"k{number}": LARGE for number in range(MAX_CHANGED_KEYS)})
    del session.state["a"]
    with pytest.raises(StateTooLarge, match="101 keys"):
        session_store.save(session)
    assert stored(session_store, "abc") == {"a": 1, "b": 1}
    assert large_values(session_store) == {}
    del session.state["k0"]
    with pytest.raises(StateTooLarge, match="101 keys"):
        session_store.save(session)
    session.state.discard()
    session.state["a"] = 2
    session_store.save(session)
    assert stored(session_store, "abc") == {"a": 2, "b": 1}


def test_a_session_holds_1000_keys(session_store: SessionStore) -> None:
    session = created_with(session_store, {f"k{number}": "1" for number in range(MAX_KEYS - 1)})
    session.state["last"] = 1
    session_store.save(session)
    session.state["one more"] = LARGE
    with pytest.raises(StateTooLarge, match="1000 keys"):
        session_store.save(session)
    assert len(session_store.load(session.session_id).state) == MAX_KEYS
    assert large_values(session_store) == {}
    session.state.discard()
    session.state["k0"] = 2
    session_store.save(session)
    session.state["one more"] = session.state.pop("k1")
    session_store.save(session)
    assert len(session_store.load(session.session_id).state) == MAX_KEYS


def test_keys_that_another_worker_added_count(session_store: SessionStore) -> None:
    one = created_with(session_store, {f"k{number}": "1" for number in range(MAX_KEYS - 1)})
    two = session_store.load(one.session_id)
    one.state["mine"] = 1
    session_store.save(one)
    two.state["yours"] = LARGE
    with pytest.raises(StateTooLarge, match="1000 keys"):
        session_store.save(two)
    assert large_values(session_store) == {}
    two.state.discard()
    del two.state["k0"]
    two.state["yours"] = 1
    session_store.save(two)
    assert len(session_store.load(one.session_id).state) == MAX_KEYS


def test_a_session_over_its_limits_can_always_remove(session_store: SessionStore) -> None:
    session = created_with(session_store, {f"k{number}": '"' + "x" * 300 + '"' for number in range(MAX_KEYS + 5)})
    session.state["new"] = 1
    with pytest.raises(StateTooLarge):
        session_store.save(session)
    session.state.discard()
    for number in range(6):
        del session.state[f"k{number}"]
    session_store.save(session)
    assert len(session_store.load(session.session_id).state) == MAX_KEYS - 1


def test_300_kb_are_kept_inline(session_store: SessionStore) -> None:
    # 75 values of 4,094 bytes and a key of two each: 300 KiB to the byte.
    entries = {f"{number:02d}": '"' + "x" * (SPILL_BYTES - 4) + '"' for number in range(75)}
    assert sum(len(key) + len(text) for key, text in entries.items()) == MAX_INLINE_BYTES
    session = created_with(session_store, dict(entries))
    session.state["large"] = LARGER
    session.state["00"] = "y" * (SPILL_BYTES - 4)
    session_store.save(session)
    session.state["01"] = "y" * (SPILL_BYTES - 3)
    session.state["other"] = LARGER
    with pytest.raises(StateTooLarge, match=f"limit is {MAX_INLINE_BYTES}"):
        session_store.save(session)
    assert len(large_values(session_store)) == 1
    session.state["01"] = LARGE
    session_store.save(session)
    assert stored(session_store, session.session_id) == dict(session.state)


@on_dynamodb_local  # moto measures no update of a nested attribute.
def test_an_item_over_dynamodbs_limit_is_too_large_and_leaves_nothing(session_store: SessionStore) -> None:
    text = '"' + "x" * (SPILL_BYTES - 4) + '"'
    session = created_with(session_store, {f"{number:02d}": text for number in range(72)})
    other = session_store.load(session.session_id)
    other.state.update({f"other{number}": "x" * (SPILL_BYTES - 16) for number in range(2)})
    session_store.save(other)
    session_store.update(session, log_level="y" * 95_000)
    session.state.update(dict.fromkeys("abc", "x" * (SPILL_BYTES - 16)))
    session.state["large"] = LARGER
    stood = raw_session(session_store, session.session_id)
    with pytest.raises(StateTooLarge, match="400 KB"):
        session_store.save(session)
    assert raw_session(session_store, session.session_id) == stood
    assert large_values(session_store) == {}


def test_a_value_over_its_limit_is_refused_before_anything_is_written(session_store: SessionStore, wire: Wire) -> None:
    session = session_store.create("abc", state=state_of(a=1))
    session.state["first"] = LARGE
    session.state["huge"] = "x" * (MAX_VALUE_BYTES - 1)
    with wire.counting() as requests, pytest.raises(StateTooLarge, match=f"'huge' is {MAX_VALUE_BYTES + 1} bytes"):
        session_store.save(session)
    assert not requests
    with pytest.raises(StateTooLarge):
        session_store.create("abd", state=session.state)


@on_dynamodb_local  # moto's limit of an item is 405,000 bytes.
def test_a_value_of_the_limit_fits_whatever_its_key(session_store: SessionStore) -> None:
    key = "😀" * 256
    session = session_store.create("s" * 128)
    session.state[key] = "x" * (MAX_VALUE_BYTES - 2)
    session_store.save(session)
    assert session_store.load("s" * 128).state[key] == "x" * (MAX_VALUE_BYTES - 2)


# --- Writes that fail -----------------------------------------------------------------------------------------


@pytest.fixture
def session_with_values(session_store: SessionStore) -> SessionStore:
    session_store.create("abc", state=state_of(a=1, large=LARGE))
    return session_store


def test_a_save_that_is_refused_can_be_retried_by_the_same_caller(session_with_values: SessionStore) -> None:
    store = session_with_values
    session = store.load("abc")
    session.state.update(a=2, large=LARGER)
    with (
        answering(store.dynamodb, "UpdateItem", error("ThrottlingException")),
        pytest.raises(StorageUnavailable),
    ):
        store.save(session)
    assert stored(store, "abc") == {"a": 1, "large": LARGE}
    store.save(session)
    assert stored(store, "abc") == {"a": 2, "large": LARGER}


def test_a_write_whose_answer_was_lost_keeps_its_large_value(session_with_values: SessionStore) -> None:
    store = session_with_values
    session = store.load("abc")
    session.state["large"] = session.state["large"] + "!"

    def lost(request: Request) -> Operation[Any]:
        yield request
        raise ReadTimeoutError(endpoint_url="http://dynamodb")

    with replacing(store, "UpdateItem", lost), pytest.raises(StorageUnavailable):
        store.save(session)
    assert stored(store, "abc") == {"a": 1, "large": LARGE + "!"}


def sent_twice(request: Request) -> Operation[Any]:
    """As a client does that had no answer to a request that was served."""
    yield request
    return (yield request)


def test_a_save_that_is_sent_again_does_not_meet_itself(session_with_values: SessionStore) -> None:
    store = session_with_values
    session = store.load("abc")
    session.state["large"] = session.state["large"] + "!"
    session.state["a"] = session.state["a"] + 1
    with replacing(store, "UpdateItem", sent_twice):
        store.save(session)
    assert stored(store, "abc") == {"a": 2, "large": LARGE + "!"}
    assert len(large_values(store)) == 1
    session.state["a"] = session.state["a"] + 1
    store.save(session)
    assert stored(store, "abc")["a"] == 3


def test_a_session_that_is_created_by_a_write_sent_again_exists_once(session_store: SessionStore) -> None:
    with replacing(session_store, "PutItem", sent_twice):
        session = session_store.create(principal="alice", client_params={"n": 1.5}, state=state_of(a=1, large=LARGE))
    assert dict(session_store.load(session.session_id, "alice").state) == {"a": 1, "large": LARGE}
    with pytest.raises(SessionExists):
        session_store.create(session.session_id, principal="alice", state=state_of(a=2))


def test_the_same_change_by_another_is_not_taken_for_ones_own(session_with_values: SessionStore) -> None:
    store = session_with_values
    session, other = store.load("abc"), store.load("abc")
    for one in (session, other):
        one.state["a"] = one.state["a"] + 1
    store.save(other)
    with replacing(store, "UpdateItem", sent_twice), pytest.raises(StateConflict):
        store.save(session)
    assert stored(store, "abc")["a"] == 2


def test_a_save_succeeds_though_the_old_large_value_cannot_be_deleted(
    session_with_values: SessionStore, caplog: pytest.LogCaptureFixture
) -> None:
    store = session_with_values
    session = store.load("abc")
    session.state["large"] = LARGER
    throttled = error("ThrottlingException")
    with answering(store.dynamodb, "BatchWriteItem", throttled), caplog.at_level(logging.WARNING):
        store.save(session)
    assert "left to their ttl" in caplog.text
    assert stored(store, "abc") == {"a": 1, "large": LARGER}
    assert len(large_values(store)) == 2
    assert all("ttl" in item for item in large_values(store).values())


def test_a_refusal_is_told_though_its_large_value_cannot_be_deleted(session_with_values: SessionStore) -> None:
    store = session_with_values
    session = store.load("abc")
    session.state["large"] = LARGER
    store.delete("abc")
    with (
        answering(store.dynamodb, "BatchWriteItem", error("ThrottlingException")),
        answering(store.dynamodb, "GetItem", error("ThrottlingException")),
        pytest.raises(SessionNotFound),
    ):
        store.save(session)


def test_activity_is_recorded_though_a_large_values_ttl_cannot_be_moved(
    session_with_values: SessionStore, clock: Clock
) -> None:
    store = session_with_values
    session = store.load("abc")
    clock.advance(hours=23)
    store.touch(session)
    clock.advance(hours=23)

    def throttled_on_values(request: Request) -> Operation[Any]:
        if "#" in request.parameters["Key"]["session_id"]["S"]:
            raise ReadTimeoutError(endpoint_url="http://dynamodb")
        return (yield request)

    with replacing(store, "UpdateItem", throttled_on_values):
        assert store.incr(session, "runs") == 1
    (item,) = large_values(store).values()
    before = int(item["ttl"]["N"])
    clock.advance(minutes=1)
    store.touch(store.load("abc"))
    (item,) = large_values(store).values()
    assert int(item["ttl"]["N"]) > before
