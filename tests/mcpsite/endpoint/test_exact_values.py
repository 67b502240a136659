"""Any JSON value that is stored through the tool comes back equal: through both eras, and from both engines."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.mcpsite.conftest import on_both_engines
from tests.mcpsite.peers import LegacyPeer, ModernPeer

# Every Unicode text but lone surrogates, which no JSON text can carry; NUL and the last code point included.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**60), 10**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS
    | st.sampled_from(["null", "true", "[1]", '{"a": 1}', "12", '"x"', "1e5", "", " ", "NaN"])
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4), max_leaves=20
)
KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)


def _deep(levels: int) -> Any:
    value: Any = {"": [None, -0.0]}
    for level in range(levels):
        value = [value] if level % 2 else {"": value}
    return value


def exactly(value: Any) -> Any:
    """A form in which equal means the same JSON: 1, 1.0, True, 0.0 and -0.0 all differ."""
    if isinstance(value, dict):
        return {key: exactly(item) for key, item in value.items()}
    if isinstance(value, list):
        return [exactly(item) for item in value]
    sign = math.copysign(1, value) if isinstance(value, float) else None
    return type(value).__name__, value, sign


@on_both_engines
@given(key=KEYS, value=VALUES)
@example(key="k", value="null")
@example(key="k", value='"quoted"')
@example(key="k", value='{"looks": "like JSON"}')
@example(key="k", value="[1, 2")
@example(key="k", value=10**400)
@example(key="k", value=-(2**63) - 1)
@example(key="k", value=2**53 + 1)
@example(key="k", value=-0.0)
@example(key="k", value=5e-324)
@example(key="k", value=1.7976931348623157e308)
@example(key="k", value=1.0)
@example(key="k", value=0.1 + 0.2)
@example(key="k", value=None)
@example(key="k", value={"": {"": None}})
@example(key="k", value={"a": None, "b": [None]})
@example(key="k", value="\x00\x7f\u2028\U0010ffff")
@example(key="k", value=_deep(60))
@example(key="k", value=["x" * 3000, "ü" * 3000])
@settings(
    max_examples=40,
    deadline=None,
    # One session takes every example: each writes and reads its own key.
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_a_stored_value_comes_back_equal(peer: LegacyPeer | ModernPeer, key: str, value: Any) -> None:
    stored = peer.call("store_app_state", key=key, data=value)
    assert exactly(stored.data["data"]) == exactly(value)
    assert stored.data["key"] == key

    found = peer.call("get_app_state", key=key)
    assert found.data["found"] is True
    assert exactly(found.data["data"]) == exactly(value)
    # The text, for a client that reads no structured results.
    assert exactly(json.loads(found.text)["data"]) == exactly(value)


@given(value=VALUES)
@example(value="null")
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_operations_input_comes_back_equal(peer: LegacyPeer | ModernPeer, value: Any) -> None:
    result = peer.call("lambda_operation", operation="x", input=value).data["result"]
    assert exactly(result["input"]) == exactly(value)
    kept = peer.call("get_app_state", key="lambda_operation.x").data["data"]
    assert exactly(kept["input"]) == exactly(value)


@given(value=VALUES)
@example(value="[1]")
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_regions_state_comes_back_equal(peer: LegacyPeer | ModernPeer, value: Any) -> None:
    stored = peer.call("global_state", region="us-west-2", data=value).data
    assert exactly(stored["data"]) == exactly(value)


@pytest.mark.parametrize("value", ["\ud800", {"a": ["\udfff"]}, {"\udc00": 1}])
def test_a_lone_surrogate_is_a_clear_error(peer: LegacyPeer | ModernPeer, value: Any) -> None:
    outcome = peer.call("store_app_state", key="a", data=value)
    assert outcome.failed
    assert "lone surrogate" in outcome.text
