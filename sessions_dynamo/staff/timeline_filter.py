"""The filter of the timeline and of the events page, as their URLs hold it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from django.utils.dateparse import parse_datetime
from django.utils.http import urlencode

from sessions_dynamo.reading.entries import Show

SHOWN: Final = (
    (Show.ALL, "Everything"),
    (Show.FAILED, "Failures only"),
    (Show.CALLS, "Served calls"),
    (Show.EVENTS, "Stream events"),
)
MAX_TYPE: Final = 256
_EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(2286, 1, 1, tzinfo=UTC)
"""The sort keys' times are 13 digits of milliseconds: no other time can be looked for."""


@dataclass(frozen=True, slots=True)
class Filter:
    """What a reader wants to see. ``before`` is UTC, in whole seconds; ``problem`` says what of the URL was no use."""

    show: Show = Show.ALL
    type: str = ""
    before: datetime | None = None
    problem: str = ""

    @property
    def is_active(self) -> bool:
        return self.show is not Show.ALL or bool(self.type) or self.before is not None

    @property
    def before_value(self) -> str:
        """As an input of type ``datetime-local`` holds it."""
        return self.before.strftime("%Y-%m-%dT%H:%M:%S") if self.before else ""

    @property
    def choices(self) -> list[tuple[str, str, bool]]:
        """The options of the select: value, words, chosen."""
        return [(show.value, words, show is self.show) for show, words in SHOWN]

    def query(self, **more: str) -> str:
        """The filter as a URL's query, with more parameters."""
        named = {"show": self.show.value if self.show is not Show.ALL else "", "type": self.type,
                 "before": self.before_value, **more}  # fmt: skip
        return urlencode({name: value for name, value in named.items() if value})


def read(query: Mapping[str, str]) -> Filter:
    """The filter of a URL; a part that is no use is left out and named."""
    problem, show, before = "", Show.ALL, None
    if given := query.get("show", ""):
        try:
            show = Show(given)
        except ValueError:
            problem = "The filter “show” is none of those offered, so everything is shown."
    if given := query.get("before", "").strip():
        before = _time(given)
        if before is None:
            problem = "“Before” is no time such as 2026-11-22T12:30, so the newest entries are shown."
    return Filter(show, query.get("type", "").strip()[:MAX_TYPE], before, problem)


def _time(given: str) -> datetime | None:
    """The time of a text, as UTC where it names no zone; ``None`` for what is none, or before 1970, or far ahead."""
    try:
        at = parse_datetime(given)
        if at is None:
            return None
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return at.replace(microsecond=0) if _EARLIEST <= at <= _LATEST else None
