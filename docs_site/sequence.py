"""Sequence diagrams in Mermaid's words, drawn as SVG when the site is built, so that no reader's browser loads Mermaid.

What is understood is what the pages use; anything else is an error of the build.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import Any, Final

CHARACTER: Final = 6.5
"""Pixels of a character, generously: a text that is narrower than its place looks right."""
LINE: Final = 16
MARGIN, BOX, GAP = 4, 32, 110

_PARTICIPANT: Final = re.compile(r"(?:participant|actor) (\w+)(?: as (.+))?")
_MESSAGE: Final = re.compile(r"(\w+)(-->>|->>|--x|-x)(\w+): (.+)")
_NOTE: Final = re.compile(r"Note over (\w+)(?:,(\w+))?: (.+)")
_TITLE: Final = re.compile(r"accTitle: (.+)")


@dataclass(frozen=True, slots=True)
class Row:
    """A message from one column to another, or a note over both; ``arrow`` is empty for a note."""

    begin: int
    end: int
    arrow: str
    lines: Sequence[str]

    @property
    def width(self) -> float:
        return max(map(len, self.lines)) * CHARACTER + 22


def fence(source: str, language: str, css_class: str, options: Any, md: Any, **_: Any) -> str:
    """The picture of a block, as ``pymdownx.superfences`` asks for it."""
    # On a narrow screen it is moved sideways, by the keyboard too.
    return f'<div class="{css_class}" tabindex="0">{draw(source)}</div>'


def draw(source: str) -> str:
    """The SVG of a diagram. Raises ``ValueError`` with the line that is not understood."""
    title, names, rows = _parse(source)
    centres = _columns(list(names.values()), rows)
    right = max([centres[-1] + _half(list(names.values())[-1]), *(_right(row, centres) for row in rows)])
    y = MARGIN + BOX + 14.0
    drawn: list[str] = []
    for row in rows:
        drawn += _row(row, centres, y)
        y += _height(row)
    lifelines = [f'<line class="life" x1="{x:g}" y1="{MARGIN + BOX}" x2="{x:g}" y2="{y:g}"/>' for x in centres]
    boxes = [part for name, x in zip(names.values(), centres, strict=True) for part in _box(name, x)]
    width, height = right + MARGIN, y + MARGIN
    return (
        f'<svg role="img" viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}"'
        f' xmlns="http://www.w3.org/2000/svg"><title>{escape(title)}</title>'
        + "".join([*lifelines, *boxes, *drawn])
        + "</svg>"
    )


def _parse(source: str) -> tuple[str, dict[str, str], list[Row]]:
    head, *lines = [line.strip() for line in source.strip().splitlines()]
    if head != "sequenceDiagram":
        raise ValueError(f"{head!r}: only sequenceDiagram is drawn here")
    title, names, rows = "", dict[str, str](), list[Row]()
    for line in filter(None, lines):
        if found := _TITLE.fullmatch(line):
            title = found[1]
        elif found := _PARTICIPANT.fullmatch(line):
            names[found[1]] = found[2] or found[1]
        elif found := _MESSAGE.fullmatch(line):
            rows.append(Row(_column(names, found[1]), _column(names, found[3]), found[2], found[4].split("<br/>")))
        elif found := _NOTE.fullmatch(line):
            ends = _column(names, found[1]), _column(names, found[2] or found[1])
            rows.append(Row(min(ends), max(ends), "", found[3].split("<br/>")))
        else:
            raise ValueError(f"{line!r} is not understood")
    if not title:
        raise ValueError("accTitle is missing: the picture's words for who cannot see it")
    return title, names, rows


def _column(names: dict[str, str], name: str) -> int:
    if name not in names:
        raise ValueError(f"{name!r} is no participant")
    return list(names).index(name)


def _half(name: str) -> float:
    return max(len(name) * CHARACTER + 24, 84) / 2


def _columns(names: Sequence[str], rows: Sequence[Row]) -> list[float]:
    """The middle of each column: as near as names and texts allow."""
    needed = {(one, one + 1): _half(a) + _half(b) + 16 for one, (a, b) in enumerate(pairwise(names))}
    for row in rows:
        begin, end = sorted((row.begin, row.end))
        if not row.arrow and begin == end:
            for beside in ((begin - 1, begin), (begin, begin + 1)):
                needed[beside] = max(needed.get(beside, 0), row.width / 2 + 12)
            continue
        if begin == end:
            end = begin + 1
        needed[begin, end] = max(needed.get((begin, end), 0), row.width + (24 if row.begin == row.end else 0))
    first = [row.width / 2 for row in rows if not row.arrow and row.begin == row.end == 0]
    first += [30.0 for row in rows if not row.arrow and row.begin == 0 < row.end]
    centres = [MARGIN + max([_half(names[0]), *first])]
    for column in range(1, len(names)):
        before = [centres[begin] + wide for (begin, end), wide in needed.items() if end == column and begin >= 0]
        centres.append(max([centres[-1] + GAP, *before]))
    return centres


def _right(row: Row, centres: Sequence[float]) -> float:
    """Where a row ends; a message to the right stays within its columns."""
    if not row.arrow:
        middle, width = _place(row, centres)
        return middle + width / 2
    return centres[row.begin] + row.width + 30 if row.begin == row.end else 0


def _place(row: Row, centres: Sequence[float]) -> tuple[float, float]:
    """The middle of a note, and its width."""
    spanned = centres[row.end] - centres[row.begin]
    return (centres[row.begin] + centres[row.end]) / 2, max(row.width, spanned + 60 if spanned else 0)


def _height(row: Row) -> float:
    if not row.arrow:
        return len(row.lines) * LINE + 26
    return len(row.lines) * LINE + (30 if row.begin == row.end else 20)


def _box(name: str, x: float) -> list[str]:
    half = _half(name)
    return [
        f'<rect class="who" x="{x - half:g}" y="{MARGIN}" width="{2 * half:g}" height="{BOX}" rx="4"/>',
        _text("who", x, MARGIN + BOX / 2 + 5, "middle", name),
    ]


def _row(row: Row, centres: Sequence[float], y: float) -> list[str]:
    if not row.arrow:
        return _note(row, centres, y)
    begin, end = centres[row.begin], centres[row.end]
    line_y = y + len(row.lines) * LINE + 5
    kind = "message dashed" if row.arrow.startswith("--") else "message"
    if row.begin == row.end:
        texts = _texts(row.lines, "say", begin + 34, y + 17, "start")
        path = f'<path class="{kind}" d="M{begin:g},{y + 8:g} h24 v{line_y - y:g} h-18"/>'
        return [*texts, path, _head(row.arrow, begin + 4, line_y + 8, 1)]
    side = 1 if end < begin else -1
    path = f'<line class="{kind}" x1="{begin:g}" y1="{line_y:g}" x2="{end + side * 6:g}" y2="{line_y:g}"/>'
    texts = _texts(row.lines, "say", (begin + end) / 2, y + 13, "middle")
    return [*texts, path, _head(row.arrow, end + side * 2, line_y, side)]


def _head(arrow: str, x: float, y: float, side: int) -> str:
    if arrow.endswith("x"):
        x += side * 5
        return f'<path class="cross" d="M{x - 5:g},{y - 5:g} l10,10 m0,-10 l-10,10"/>'
    return f'<path class="head" d="M{x:g},{y:g} l{side * 9},-4.5 v9 z"/>'


def _note(row: Row, centres: Sequence[float], y: float) -> list[str]:
    middle, width = _place(row, centres)
    height = len(row.lines) * LINE + 10
    rectangle = (
        f'<rect class="note" x="{middle - width / 2:g}" y="{y + 4:g}" width="{width:g}" height="{height}" rx="3"/>'
    )
    return [rectangle, *_texts(row.lines, "note", middle, y + 21, "middle")]


def _texts(lines: Sequence[str], kind: str, x: float, y: float, anchor: str) -> list[str]:
    return [_text(kind, x, y + number * LINE, anchor, line) for number, line in enumerate(lines)]


def _text(kind: str, x: float, y: float, anchor: str, line: str) -> str:
    return f'<text class="{kind}" x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(line)}</text>'
