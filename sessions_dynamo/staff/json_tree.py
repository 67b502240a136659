"""JSON as the staff pages show it: a collapsible tree of a value, and a message's indented text, both cut to size."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

MAX_NODES: Final = 2_000
MAX_CHARACTERS: Final = 64 * 1024
"""Of all strings of a tree."""
MAX_LEVELS: Final = 40
MAX_STRING: Final = 1_000
"""Characters of one string in a tree."""
OPEN_LEVELS: Final = 2
OPEN_CHILDREN: Final = 20
"""A branch with more children begins closed, as does every branch below ``OPEN_LEVELS``."""
MAX_GIST: Final = 16 * 1024
"""Characters of a message that are parsed for its gist."""
MAX_PARSED: Final = 512 * 1024
"""Characters of a message that are parsed to be indented; a longer one is shown as it is."""
_INDENTED: Final = json.JSONEncoder(indent=2, ensure_ascii=False)


class _Number(str):
    """A number as it is written: a float or a Python integer could not show every JSON number as it is stored."""

    __slots__ = ()


class _Budget:
    """How many more nodes, and characters of strings, a tree may have."""

    def __init__(self) -> None:
        self._nodes, self._characters = MAX_NODES, MAX_CHARACTERS

    def take(self) -> bool:
        """Whether there is room for another node."""
        self._nodes -= 1
        return self._nodes >= 0 and self._characters > 0

    def cut(self, text: str) -> str:
        """As much of a string as there is room for."""
        self._characters -= len(text[:MAX_STRING])
        return _cut(text, MAX_STRING)


def parse(text: str) -> Any:
    """The value of a JSON text, its numbers as they are written; what cannot be parsed is the text itself."""
    try:
        return json.loads(text, parse_int=_Number, parse_float=_Number)
    except (ValueError, RecursionError):
        return text


def kind_of(value: Any) -> str:
    """What JSON calls a value that ``parse`` returned, with how much it holds."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case _Number():
            return "number"
        case str():
            return f"string, {_count(len(value), 'character')}"
        case list():
            return f"array, {_count(len(value), 'item')}"
        case _:
            return f"object, {_count(len(value), 'key')}"


def tree(value: Any) -> SafeString:
    """A value that ``parse`` returned, as nested ``details``; whatever a client stored is escaped."""
    return _node("", value, 1, _Budget())


def tree_of(value: Any) -> SafeString | None:
    """The tree of a value that was parsed elsewhere; ``None`` for an empty one."""
    return tree(parse(json.dumps(value))) if value else None


def _node(label: SafeString | str, value: Any, level: int, budget: _Budget) -> SafeString:
    if isinstance(value, dict | list) and value:
        if level > MAX_LEVELS:
            return format_html('<div class="leaf">{}<span class="quiet">{}, deeper than is shown</span></div>', label,
                               kind_of(value))  # fmt: skip
        opened = " open" if level <= OPEN_LEVELS and len(value) <= OPEN_CHILDREN else ""
        return format_html(
            '<details class="branch"{}><summary>{}<span class="quiet">{}</span></summary>{}</details>',
            opened,
            label,
            kind_of(value),
            _children(value, level, budget),
        )
    return format_html('<div class="leaf">{}{}</div>', label, _leaf(value, budget))


def _children(value: dict[str, Any] | list[Any], level: int, budget: _Budget) -> SafeString:
    pairs: Iterable[tuple[Any, Any]] = value.items() if isinstance(value, dict) else enumerate(value)
    shown: list[SafeString] = []
    for name, child in pairs:
        if not budget.take():
            left = len(value) - len(shown)
            shown.append(format_html('<div class="leaf quiet">{} more: download the value to see all.</div>', left))
            break
        shown.append(_node(format_html('<span class="name"><bdi>{}</bdi></span> ', _cut(str(name), 256)), child,
                           level + 1, budget))  # fmt: skip
    return format_html_join("", "{}", ((part,) for part in shown))


def _leaf(value: Any, budget: _Budget) -> SafeString:
    match value:
        case _Number():
            return format_html('<span class="number-value">{}</span>', budget.cut(value))
        case str():
            return format_html('<bdi class="string-value">"{}"</bdi>', budget.cut(value))
        case dict() | list():
            return format_html('<span class="quiet">empty {}</span>', "object" if isinstance(value, dict) else "array")
        case _:
            return format_html('<span class="word-value">{}</span>', "null" if value is None else str(value).lower())


def _cut(text: str, limit: int) -> str:
    return _sendable(text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)")


def _sendable(text: str) -> str:
    """A text that a page can hold: an escape in JSON may write a lone surrogate, which is no character."""
    return text.encode(errors="replace").decode()


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


@dataclass(frozen=True, slots=True)
class Shown:
    """A text for the screen, and whether it is less than the whole."""

    text: str
    is_cut: bool


def indented(text: str, limit: int) -> Shown:
    """A JSON text with line breaks, or as it is where it is no JSON or too long to parse; at most ``limit`` long."""
    if len(text) <= MAX_PARSED:
        with suppress(ValueError, RecursionError):
            return _first(_INDENTED.iterencode(json.loads(text)), limit)
    return Shown(text[:limit], len(text) > limit)


def _first(chunks: Iterable[str], limit: int) -> Shown:
    """No more of the text than is shown: indented whole, a deep one is hundreds of times as long as it was.

    Raises ``ValueError`` for a lone surrogate, whose escape is kept where the text is shown as it is.
    """
    parts, length = list[str](), 0
    for chunk in chunks:
        parts.append(chunk)
        length += len(chunk)
        if length > limit:
            break
    text = "".join(parts)[:limit]
    text.encode()
    return Shown(text, length > limit)


def gist(text: str) -> str:
    """What a JSON-RPC message carries, as one line: its params, its result, or its error's message."""
    if len(text) > MAX_GIST:
        return ""
    message = parse(text)
    if not isinstance(message, dict):
        return ""
    error = message.get("error")
    if isinstance(error, dict):
        return _sendable(str(error.get("message", "")))
    carried = message.get("params", message.get("result"))
    return "" if carried is None else _sendable(_inline(carried, 1))


def _inline(value: Any, level: int) -> str:
    """A value's JSON without quotes around keys: short, and for the eye alone."""
    match value:
        case dict() | list() if level > MAX_LEVELS:
            return "…"
        case dict():
            pairs = ((name, child) for name, child in value.items() if name != "_meta")
            return ", ".join(f"{name} {_inline(child, level + 1)}" for name, child in pairs)
        case list():
            return f"[{', '.join(_inline(child, level + 1) for child in value)}]"
        case None | bool():
            return json.dumps(value)
        case _:
            return str(value)
