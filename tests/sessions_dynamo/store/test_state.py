"""A session's state as a mapping: what it remembers of a unit of work, with no storage beneath."""

from __future__ import annotations

from typing import Any

import pytest

from sessions_dynamo.errors import InvalidState, StorageError
from sessions_dynamo.store.state import Changes, Spilled, State

LARGE = Spilled("abc#large#00", 5000, 2_000_000_000)


class Fetched:
    """Fetches large values and counts how often."""

    def __init__(self) -> None:
        self.asked: list[Spilled] = []

    def __call__(self, spilled: Spilled) -> str:
        self.asked.append(spilled)
        return '"large value"'


@pytest.fixture
def state() -> State:
    return State({"a": "1", "b": '{"c":[2]}'})


def test_a_new_state_is_empty_and_unchanged() -> None:
    state = State()
    assert dict(state) == {}
    assert not state
    assert not state.changes


def test_it_reads_as_a_mapping(state: State) -> None:
    assert dict(state) == {"a": 1, "b": {"c": [2]}}
    assert len(state) == 2
    assert "a" in state
    assert "z" not in state
    number: Any = 7
    assert number not in state
    assert state.get("z", "default") == "default"
    with pytest.raises(KeyError):
        state["z"]


def test_only_assigned_keys_are_changes(state: State) -> None:
    state["new"] = [None]
    assert state.changes == Changes(texts={"new": "[null]"})
    assert dict(state) == {"a": 1, "b": {"c": [2]}, "new": [None]}


def test_a_value_mutated_in_place_is_no_change(state: State) -> None:
    state["b"]["c"].append(3)
    assert not state.changes
    assert state["b"] == {"c": [2]}


def test_a_key_read_before_it_is_written_is_expected_to_be_unchanged(state: State) -> None:
    state["a"] = state["a"] + 1
    assert state.changes == Changes(texts={"a": "2"}, expected={"a": "1"})


@pytest.mark.parametrize("read", ["get", "in", "setdefault", "[]"])
def test_a_key_read_while_absent_is_expected_to_be_absent_still(state: State, read: str) -> None:
    if read == "get":
        assert state.get("z") is None
        state["z"] = 0
    elif read == "in":
        assert "z" not in state
        state["z"] = 0
    elif read == "setdefault":
        assert state.setdefault("z", 0) == 0
    else:
        with pytest.raises(KeyError):
            state["z"]
        state["z"] = 0
    assert state.changes == Changes(texts={"z": "0"}, expected={"z": None})


def test_a_blind_write_expects_nothing(state: State) -> None:
    state["a"] = 2
    assert state["a"] == 2, "reading one's own write is no reading of what is stored"
    assert state.changes.expected == {}


def test_reading_a_key_that_is_not_written_expects_nothing(state: State) -> None:
    assert state["b"]
    state["a"] = 2
    assert state.changes.expected == {}


def test_setdefault_of_a_key_that_exists_changes_nothing(state: State) -> None:
    assert state.setdefault("a", 9) == 1
    assert not state.changes


def test_a_removed_key_is_gone_and_was_read(state: State) -> None:
    del state["a"]
    assert "a" not in state
    assert list(state) == ["b"]
    assert state.changes == Changes(removed=frozenset({"a"}), expected={"a": "1"})
    with pytest.raises(KeyError):
        del state["a"]


def test_pop_reads_and_removes(state: State) -> None:
    assert state.pop("a") == 1
    assert state.pop("a", "default") == "default"
    assert state.changes == Changes(removed=frozenset({"a"}), expected={"a": "1"})


def test_a_key_written_and_removed_again_is_removed_blindly(state: State) -> None:
    state["z"] = 1
    del state["z"]
    assert "z" not in state
    assert state.changes == Changes(removed=frozenset({"z"}))


def test_a_key_removed_and_written_again_is_a_change_of_what_was_read(state: State) -> None:
    del state["a"]
    state["a"] = 5
    assert dict(state) == {"a": 5, "b": {"c": [2]}}
    assert state.changes == Changes(texts={"a": "5"}, expected={"a": "1"})


def test_clear_removes_every_key(state: State) -> None:
    state["new"] = 1
    state.clear()
    assert not state
    assert state.changes.removed == {"a", "b", "new"}


def test_a_large_value_is_fetched_once_and_only_when_it_is_asked_for() -> None:
    fetched = Fetched()
    state = State({"large": LARGE, "a": "1"}, fetched)
    assert list(state) == ["large", "a"]
    assert state["a"] == 1
    assert state.spilled("large") == LARGE
    assert fetched.asked == []
    assert state["large"] == state["large"] == "large value"
    assert fetched.asked == [LARGE]
    assert state.spilled("large") is None


def test_a_large_value_can_be_replaced_or_removed_unread() -> None:
    fetched = Fetched()
    state = State({"large": LARGE, "other": LARGE}, fetched)
    state["large"] = 1
    del state["other"]
    assert state.spilled("large") is None
    assert fetched.asked == []
    assert state.changes.expected == {"other": LARGE}


def test_a_state_that_came_from_no_store_says_that_it_cannot_fetch() -> None:
    with pytest.raises(StorageError, match="cannot ask DynamoDB for it"):
        State({"large": LARGE})["large"]


def test_a_bad_key_or_value_is_refused_at_the_assignment(state: State) -> None:
    for key, value in (("", 1), ("x" * 257, 1), ("a", float("nan")), ("a", "\ud800"), ("a", object())):
        with pytest.raises(InvalidState):
            state[key] = value
    assert not state.changes
    assert state["a"] == 1


def test_discard_forgets_changes_and_reads(state: State) -> None:
    state["a"] = state["a"] + 1
    del state["b"]
    state.discard()
    assert dict(state) == {"a": 1, "b": {"c": [2]}}
    state["a"] = 9
    assert state.changes == Changes(texts={"a": "9"}, expected={"a": "1"}), "dict() read it again"


def test_what_was_saved_begins_the_next_unit_of_work(state: State) -> None:
    state["a"] = state["a"] + 1
    state.saved({"a": "2"}, Fetched())
    assert not state.changes
    state["a"] = 3
    assert state.changes == Changes(texts={"a": "3"})


def test_its_repr_shows_no_value() -> None:
    state = State({"a": '"secret"'})
    state["b"] = "secret too"
    assert repr(state) == "<State: 2 keys, 1 changed>"
