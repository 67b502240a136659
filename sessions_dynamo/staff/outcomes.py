"""Plans and steps of the tables as rows of a page."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from sessions_dynamo.tables.aspects.change import RUN_AGAIN, Change
from sessions_dynamo.tables.steps import Outcome, Step

_TONES: Final = {
    Outcome.CREATE: "warn",
    Outcome.CHANGE: "warn",
    Outcome.PENDING: "warn",
    Outcome.CREATED: "good",
    Outcome.CHANGED: "good",
    Outcome.UNCHANGED: "good",
    Outcome.CANNOT_CHANGE: "bad",
    Outcome.DENIED: "bad",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One aspect of a table (``table`` is empty where the page has named it), its outcome, and the tone of that."""

    table: str
    aspect: str
    outcome: Outcome
    detail: str
    tone: str


def noteworthy(rows: Iterable[Line]) -> list[Line]:
    """The rows that are not as they shall be, or that something became of."""
    return [row for row in rows if row.outcome not in (Outcome.UNCHANGED, Outcome.UNSUPPORTED)]


def others(rows: Iterable[Line]) -> list[Line]:
    """The rows of what stays as it is."""
    return [row for row in rows if row.outcome in (Outcome.UNCHANGED, Outcome.UNSUPPORTED)]


def lines(found: Iterable[Change | Step]) -> list[Line]:
    """The rows of a plan, or of what became of it."""
    return [
        Line(
            getattr(one, "table", ""),
            one.aspect,
            one.outcome,
            # A page looks again by itself, and its button is beside.
            one.detail.removesuffix(f": {RUN_AGAIN}"),
            _TONES.get(one.outcome, "quiet"),
        )
        for one in found
    ]
