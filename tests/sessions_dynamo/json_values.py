"""JSON values for property tests."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

_scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=-(10**60), max_value=10**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)

json_values: st.SearchStrategy[Any] = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5), max_leaves=25
)
"""Any JSON value: empty strings and keys, null, big integers, every float, all of Unicode."""

state_keys: st.SearchStrategy[str] = st.text(min_size=1, max_size=256)
"""Any state key."""


def nested(depth: int) -> Any:
    """Arrays and objects in turn, ``depth`` levels of them."""
    value: Any = [] if depth % 2 else {}
    for level in range(depth - 1):
        value = {"": value} if level % 2 == depth % 2 else [value]
    return value
