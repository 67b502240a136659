"""Events and served calls across sessions, newest first and live; and one of them, whole."""

from __future__ import annotations

import re
from typing import Any, Final

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import path, reverse

from sessions_dynamo import schema
from sessions_dynamo.reading import entries, event_list, tails, timeline
from sessions_dynamo.reading.tails import News, Tail
from sessions_dynamo.staff import shell, stores, timeline_filter
from sessions_dynamo.staff.timeline_filter import Filter
from sessions_dynamo.store.event_items import PART_BYTES

PER_PAGE: Final = 50
EVERY_MS: Final = 2_000
MAX_SHOWN: Final = 64 * 1024
"""Characters of a message on its page; the download has all."""
MAX_SESSION_ID: Final = 256
"""Characters of the filter's session id; ours have at most 128."""
MAX_PREVIEW: Final = 4_000
"""Characters of a message that is opened in a list."""


@shell.page("view_session")
def page(request: HttpRequest) -> HttpResponse:
    wanted, session_id = timeline_filter.read(request.GET), _session_id(request)
    cursor, problem = request.GET.get("cursor", ""), wanted.problem
    try:
        shown = _list(session_id, wanted, cursor)
    except ValueError as exc:
        cursor, problem = "", str(exc)
        shown = _list(session_id, wanted, "")
    context = {
        "filter": wanted,
        "session_id": session_id,
        "problem": problem,
        "cursor": cursor,
        "next_query": wanted.query(session=session_id, cursor=shown["next_cursor"] or ""),
        "types": sorted({entry.type for entry in shown["entries"]}),
        "is_followed": not cursor and wanted.before is None,
        "live_url": _live_url(session_id, wanted, tails.begin(shown["entries"])),
        "every": EVERY_MS,
        **shown,
    }
    return shell.render(request, "sessions_dynamo/events/page.html", context, title="Events")


@shell.page("view_session")
def live(request: HttpRequest) -> HttpResponse:
    """What is newer than the newest that the page shows: one Query a shard, and one request for what they found."""
    wanted, session_id = timeline_filter.read(request.GET), _session_id(request)
    try:
        tail = tails.decode(request.GET.get("after", ""))
    except ValueError as exc:
        return shell.problem(request, "Load the page again", str(exc), fragment=True)
    if tail.is_broken:
        news = News([], tails.begin([]), missed=True)
    elif session_id:
        news = tails.of_session(stores.events(), session_id, tail)
    else:
        news = tails.of_all(stores.events(), tail)
    test = entries.shows(wanted.show, wanted.type)
    context = {
        "entries": [entry for entry in news.entries if test(entry)],
        "missed": news.missed,
        "live_url": _live_url(session_id, wanted, news.tail),
        "page_url": f"{reverse('mcp_staff:events')}?{wanted.query(session=session_id)}",
        "every": EVERY_MS,
        "names_session": True,
    }
    return render(request, "sessions_dynamo/events/live.html", context)


@shell.page("view_session")
def event(request: HttpRequest, session_id: str, key: str) -> HttpResponse:
    """One entry with its message, cut to the screen; of a large event its first part."""
    entry = entries.get(stores.events(), session_id, key)
    if entry is None:
        return _gone(request, session_id, key)
    context: dict[str, Any] = {
        "entry": entry,
        "limit": MAX_SHOWN,
        "preview": MAX_PREVIEW,
        "first_part": PART_BYTES,
    }
    if "HX-Request" in request.headers:
        return render(request, "sessions_dynamo/events/message.html", context)
    title = f"Call of {entry.type}" if entry.call else f"Event {entry.type}"
    return shell.render(request, "sessions_dynamo/events/event.html", context, title=title)


@shell.page("view_session")
def download(request: HttpRequest, session_id: str, key: str) -> HttpResponse:
    """An event's whole message, or one side of a call (``?body=request`` or ``response``), as it is stored."""
    text: str | None
    if schema.parse_event_id(key) is not None:
        whole = stores.events().get(session_id, key)
        text = whole.data if whole else None
    else:
        entry = entries.get(stores.events(), session_id, key)
        side = "response_body" if request.GET.get("body") == "response" else "request_body"
        text = getattr(entry.call, side) if entry and entry.call else None
    if text is None:
        return _gone(request, session_id, key)
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", f"{session_id}-{key}")[:200]
    return shell.attachment(text, "application/json", f"{name}.json")


def _session_id(request: HttpRequest) -> str:
    """The session of the filter; of what is longer than any id the beginning, which is no session's either."""
    return request.GET.get("session", "").strip()[:MAX_SESSION_ID]


def _list(session_id: str, wanted: Filter, cursor: str) -> dict[str, Any]:
    filters: dict[str, Any] = {
        "show": wanted.show,
        "type_": wanted.type,
        "before": wanted.before,
        "limit": PER_PAGE,
        "cursor": cursor or None,
    }
    if session_id:
        # One session's are read from its own partition: the time index would read all others' for them.
        of_one = timeline.page(stores.events(), session_id, **filters)
        return {"entries": of_one.entries, "next_cursor": of_one.next_cursor, "rows_read": of_one.calls_read}
    found = event_list.page(stores.events(), **filters)
    return {
        "entries": found.entries,
        "next_cursor": found.next_cursor,
        "rows_read": found.rows_read,
        "back_to": found.back_to,
    }


def _live_url(session_id: str, wanted: Filter, tail: Tail) -> str:
    return f"{reverse('mcp_staff:events-live')}?{wanted.query(session=session_id, after=tail.encode())}"


def _gone(request: HttpRequest, session_id: str, key: str) -> HttpResponse:
    return shell.problem(
        request,
        "No such event",
        f"Session {session_id[:128]!r} has no event {key[:128]!r}, or not all of its parts.",
        remedy="Events are kept for EVENT_TTL_HOURS, and the oldest over MAX_EVENTS_PER_SESSION are trimmed.",
        status=404,
    )


_EVENT: Final = "sessions/<dynamo_id:session_id>/events/<dynamo_id:key>"
urlpatterns = [
    path("events/", page, name="events"),
    path("events/live/", live, name="events-live"),
    path(f"{_EVENT}/", event, name="event"),
    path(f"{_EVENT}/download/", download, name="event-download"),
]
