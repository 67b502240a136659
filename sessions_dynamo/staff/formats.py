"""How the staff pages show times, sizes, ids and statuses. Whatever a client sent is escaped and cut to size."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django.template.defaultfilters import filesizeformat
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timesince import timesince, timeuntil

from sessions_dynamo.reading.session_status import status_of
from sessions_dynamo.store.session_items import Session

MAX_TEXT = 200
"""Characters of a client's text in a table cell."""


def when(at: datetime | None, none: str = "never") -> SafeString | str:
    """A time: how long ago or ahead, the absolute time on hover; ``staff.js`` adds the viewer's own zone."""
    if at is None:
        return none
    at = at.astimezone(UTC)
    now = datetime.now(UTC)
    if abs(at - now) < timedelta(minutes=1):
        words = "now" if at > now else "just now"
    else:
        words = f"in {timeuntil(at, now, depth=1)}" if at > now else f"{timesince(at, now, depth=1)} ago"
    return format_html('<time datetime="{}" title="{} UTC">{}</time>', at.isoformat(), f"{at:%Y-%m-%d %H:%M:%S}", words)


def at(moment: datetime | None) -> SafeString | str:
    """A time to the millisecond, for timelines; ``staff.js`` shows it in the viewer's own zone."""
    if moment is None:
        return ""
    moment = moment.astimezone(UTC)
    text = f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03d}"
    return format_html(
        '<time class="absolute-time" datetime="{}" title="{} UTC">{}</time>', moment.isoformat(), text, text
    )


def status_badge(session: Session) -> SafeString:
    """The session's status as a coloured label."""
    return badge(status_of(session).value)


_TONES = {
    "active": "good", "ok": "good", "available": "good", "enabled": "good", "unchanged": "good", "created": "good",
    "idle": "quiet", "unsupported": "quiet", "expired": "quiet", "disabled": "quiet",
    "terminated": "warn", "pending": "warn", "creating": "warn", "updating": "warn", "changed": "warn",
    "tool_error": "bad", "error": "bad", "deleting": "bad",
}  # fmt: skip


def badge(text: str, tone: str = "") -> SafeString:
    """A word as a coloured label; ``tone`` is ``good``, ``warn``, ``bad`` or ``quiet``, by default the word's own."""
    return format_html('<span class="badge {}">{}</span>', tone or _TONES.get(text.lower(), "quiet"), text)


def copyable(text: str, shown: str = "") -> SafeString:
    """An id with a button that copies it whole."""
    return format_html(
        '<span class="copyable"><code dir="ltr" title="{0}">{1}</code>'
        '<button type="button" class="copy" data-copy="{0}" aria-label="Copy {1}" hidden>'
        '<span class="material-symbols-outlined" aria-hidden="true">content_copy</span></button></span>',
        text,
        shown or short_id(text),
    )


def short_id(text: str) -> str:
    """An id's first characters, enough to tell sessions apart on one page."""
    return text if len(text) <= 12 else f"{text[:10]}…"


def size(count: int | None) -> str:
    """Bytes as people read them; empty where it is not known."""
    return "" if count is None else filesizeformat(count).replace("\xa0", " ")


def span(seconds: float) -> str:
    """A while as people read it: ``4 s``, ``12 min``, ``3 h``."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 2 * 3600 else f"{seconds / 3600:.0f} h"


def client_text(value: Any, limit: int = MAX_TEXT) -> SafeString:
    """What a client sent, as text in an isolated direction, cut to size; empty for nothing."""
    text = "" if value is None else str(value)
    cut = text if len(text) <= limit else f"{text[:limit]}…"
    return format_html('<bdi class="client-text">{}</bdi>', cut)
