"""State values as JSON text: what goes in comes back equal, at any depth that JSON allows.

DynamoDB's own maps stop at 32 levels and its numbers at 38 digits, so each value is one string attribute.
"""

from __future__ import annotations

import json
import re
from numbers import Integral
from typing import Any, Final

from sessions_dynamo.errors import InvalidState

MAX_KEY_CHARACTERS = 256
MAX_COUNT = 10**38 - 1
"""DynamoDB's numbers have 38 digits."""
MAX_DEPTH = 500
"""Levels of nesting: what one stack can write, a deeper one must still be able to read."""

# Made once: ``json.dumps`` with options makes one at every call.
_encode: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]')


def dumps(value: Any) -> str:
    """The compact JSON text of a value.

    As ``json`` does, it takes a tuple for an array and a number for an object's key. Raises ``InvalidState`` for what
    JSON or DynamoDB cannot hold: NaN, infinities, lone surrogates, objects that are no JSON; and for nesting over
    ``MAX_DEPTH``.
    """
    try:
        text = _encode(value)
        text.encode()
    except UnicodeEncodeError as exc:
        raise InvalidState(
            f"The value holds a lone surrogate (U+{ord(exc.object[exc.start]):04X}), which is no Unicode text:"
            " send well-formed strings."
        ) from exc
    except RecursionError as exc:
        raise _too_deep() from exc
    except (TypeError, ValueError) as exc:
        raise InvalidState(f"The value is not JSON: {exc}.") from exc
    # Counting brackets is quick; only a text with many of them is walked.
    if text.count("[") + text.count("{") > MAX_DEPTH and _depth(text) > MAX_DEPTH:
        raise _too_deep()
    return text


def loads(text: str) -> Any:
    """The value of a stored JSON text."""
    return json.loads(text)


def _depth(text: str) -> int:
    depth = deepest = 0
    for match in _STRING_OR_BRACKET.finditer(text):
        if match[0] in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif match[0] in "]}":
            depth -= 1
    return deepest


def _too_deep() -> InvalidState:
    return InvalidState(f"The value is nested over {MAX_DEPTH} levels deep: flatten it, or store it as a string.")


def check_key(key: object) -> str:
    """A state key or counter name, or ``InvalidState``: 1 to 256 characters of well-formed text."""
    if not isinstance(key, str) or not 1 <= len(key) <= MAX_KEY_CHARACTERS:
        raise InvalidState(f"A key is a string of 1 to {MAX_KEY_CHARACTERS} characters.")
    try:
        key.encode()
    except UnicodeEncodeError as exc:
        raise InvalidState("The key holds a lone surrogate: send well-formed strings.") from exc
    return key


def check_count(by: object) -> None:
    """Raise ``InvalidState`` for what no counter can be changed by: only whole numbers of up to 38 digits are read."""
    if isinstance(by, bool) or not isinstance(by, Integral) or abs(int(by)) > MAX_COUNT:
        raise InvalidState("A counter is changed by a whole number of at most 38 digits.")
