"""JSON text: what goes in comes back equal, and what cannot is refused with a reason."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from hypothesis import given

from sessions_dynamo.errors import InvalidState
from sessions_dynamo.store import values
from tests.sessions_dynamo.json_values import json_values, nested


@given(json_values)
def test_any_json_value_comes_back_equal_to_the_type(value: Any) -> None:
    # By repr, because 1, 1.0 and True are equal to each other, and so are 0.0 and -0.0.
    assert repr(values.loads(values.dumps(value))) == repr(value)


@pytest.mark.parametrize("value", [None, "", {}, [], {"": ""}, 0, -0.0, 5e-324, 1.7976931348623157e308, 10**60, "\x00"])
def test_the_edges_come_back_equal(value: Any) -> None:
    assert repr(values.loads(values.dumps(value))) == repr(value)


def test_text_is_compact_and_keeps_its_characters() -> None:
    assert values.dumps({"name": "Zoë €", "n": [1, None]}) == '{"name":"Zoë €","n":[1,null]}'


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (float("nan"), "not JSON"),
        (float("inf"), "not JSON"),
        ({"x": [float("-inf")]}, "not JSON"),
        pytest.param(10**5000, "not JSON", id="5001 digits"),
        ({1, 2}, "not JSON"),
        (b"bytes", "not JSON"),
        (object(), "not JSON"),
        ({(1, 2): 3}, "not JSON"),
        ("\ud800", r"lone surrogate \(U\+D800\)"),
        ({"k": ["\udfff"]}, r"lone surrogate \(U\+DFFF\)"),
        ({"\udc00": 1}, r"lone surrogate \(U\+DC00\)"),
    ],
)
def test_what_is_no_json_is_refused(value: Any, reason: str) -> None:
    with pytest.raises(InvalidState, match=reason):
        values.dumps(value)


def test_a_value_that_holds_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(InvalidState):
        values.dumps(endless)


@pytest.mark.parametrize("depth", [values.MAX_DEPTH + 1, 100_000])
def test_nesting_over_the_limit_is_refused(depth: int) -> None:
    with pytest.raises(InvalidState, match="nested over 500 levels"):
        values.dumps(nested(depth))


def test_nesting_to_the_limit_is_read_in_a_stack_deeper_than_the_one_that_wrote_it() -> None:
    text = values.dumps(nested(values.MAX_DEPTH))

    def loads_below(frames: int) -> Any:
        return loads_below(frames - 1) if frames else values.loads(text)

    room = sys.getrecursionlimit() - values.MAX_DEPTH
    assert repr(loads_below(room // 2)) == repr(nested(values.MAX_DEPTH))


@pytest.mark.parametrize(
    "value",
    [
        [[]] * 5000,
        "[" * 5000,
        {'"[{': '\\"' + "[" * 600},
        ["\\", "[" * 600, "\\\\"],
    ],
    ids=["wide", "text", "quotes", "backslashes"],
)
def test_many_brackets_are_not_deep_nesting(value: Any) -> None:
    assert values.loads(values.dumps(value)) == value


@pytest.mark.parametrize("key", ["k", " ", "#", "a.b[0]", "\x00", "x" * 256, "😀" * 256])
def test_a_key_is_any_text_of_1_to_256_characters(key: str) -> None:
    assert values.check_key(key) == key


@pytest.mark.parametrize("key", ["", "x" * 257, "\ud800", 1, None, b"k", ("k",)])
def test_nothing_else_is_a_key(key: object) -> None:
    with pytest.raises(InvalidState):
        values.check_key(key)
