"""One session: what it did, newest first and live; its state, streams and client; and its relatives."""

from __future__ import annotations

from typing import Any, Final

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import path, reverse

from sessions_dynamo import schema
from sessions_dynamo.reading import at_workers, entries, tails, timeline
from sessions_dynamo.reading.entries import Entry
from sessions_dynamo.reading.tails import News, Tail
from sessions_dynamo.staff import json_tree, shell, stores, timeline_filter
from sessions_dynamo.staff.timeline_filter import Filter
from sessions_dynamo.store.session_items import Session
from sessions_dynamo.store.state import Spilled

PER_PAGE: Final = 50
KEYS_PER_PAGE: Final = 50
MAX_INLINE_TREES: Final = 32 * 1024
"""Bytes of state whose trees are part of the page; the others are read when they are opened."""
RELATED: Final = 10
EVERY_MS: Final = 1_000
"""How often a page asks for what is new."""
CHECK_MS: Final = 10_000
"""How often a live page looks whether its session has ended."""


@shell.page("view_session")
def page(request: HttpRequest, session_id: str) -> HttpResponse:
    session = stores.sessions().peek(session_id)
    if session is None:
        return unknown(request, session_id)
    wanted = timeline_filter.read(request.GET)
    cursor, problem = request.GET.get("cursor", ""), wanted.problem
    try:
        shown = _timeline(session_id, wanted, cursor)
    except ValueError as exc:
        cursor, problem = "", str(exc)
        shown = _timeline(session_id, wanted, "")
    context = {
        "session": session,
        "filter": wanted,
        "problem": problem,
        "timeline": shown,
        "at_workers": None if cursor else at_workers.of_session(stores.events(), session_id),
        "cursor": cursor,
        "next_query": wanted.query(cursor=shown.next_cursor or ""),
        "failed": sum(entry.is_failed for entry in shown.entries),
        "types": _types(shown.entries),
        "is_followed": session.is_live and not cursor and wanted.before is None,
        "live_url": _live_url(session_id, wanted, tails.begin(shown.entries)),
        "client": _client(session),
        "is_users_own": schema.is_user_session_id(session_id),
        "capabilities": json_tree.tree_of((session.client_params or {}).get("capabilities")),
        **_keys(request, session),
    }
    return shell.render(request, "sessions_dynamo/sessions/session.html", context, title=f"Session {session_id}")


def unknown(request: HttpRequest, session_id: str) -> HttpResponse:
    """The page for an id that no session has."""
    return shell.problem(
        request,
        "No such session",
        f"No session with the id {session_id[:128]} is stored: it never existed, was deleted, or has expired.",
        remedy="Check the id. What is left of its events, if anything, is under Events with this id as the filter.",
        status=404,
    )


@shell.page("view_session")
def live(request: HttpRequest, session_id: str) -> HttpResponse:
    """What is newer than the newest that the page shows: one Query, now and then one GetItem."""
    wanted = timeline_filter.read(request.GET)
    try:
        tail = tails.decode(request.GET.get("after", ""))
    except ValueError as exc:
        return shell.problem(request, "Load the page again", str(exc), fragment=True)
    ended = ""
    if schema.now_ms() - tail.checked > CHECK_MS:
        session = stores.sessions().peek(session_id)
        tail = Tail(tail.since, tail.seen, schema.now_ms())
        if session is None or not session.is_live:
            ended = "This session has ended." if session else "This session was deleted."
    news = _news(session_id, tail)
    test = entries.shows(wanted.show, wanted.type)
    context = {
        "entries": [entry for entry in news.entries if test(entry)],
        "missed": news.missed,
        "ended": ended,
        "live_url": _live_url(session_id, wanted, news.tail),
        "page_url": f"{reverse('mcp_staff:session', args=[session_id])}?{wanted.query()}",
        "every": EVERY_MS,
    }
    return render(request, "sessions_dynamo/events/live.html", context)


def _news(session_id: str, tail: Tail) -> News:
    if not tail.is_broken:
        return tails.of_session(stores.events(), session_id, tail)
    # The tab was hidden for a while: one look at the timeline, instead of at all that all sessions did meanwhile.
    newest = timeline.page(stores.events(), session_id, limit=tails.MAX_NEWS).entries
    fresh = [entry for entry in newest if entry.order[0] > tail.since and not tail.has_seen(entry)]
    following = tails.begin(newest)
    return News(fresh, Tail(following.since, following.seen, tail.checked), missed=len(fresh) == tails.MAX_NEWS)


@shell.page("view_session")
def related(request: HttpRequest, session_id: str) -> HttpResponse:
    """Sessions of the same principal, and of the same client among the latest: at most twelve requests."""
    session = stores.sessions().peek(session_id)
    if session is None:
        return unknown(request, session_id)
    listed, latest = stores.session_list(), list[Session]()
    if session.client_name is not None:
        latest = listed.page("last_activity", limit=100).items
    same_client = [other for other in latest if other.client_name == session.client_name]
    context = {
        "session": session,
        "same_principal": _others(session, listed.by_principal(session.principal, limit=RELATED + 1))
        if session.principal
        else [],
        "same_client": _others(session, same_client),
        "looked_at": len(latest),
    }
    if "HX-Request" in request.headers:
        return render(request, "sessions_dynamo/sessions/related_part.html", context)
    return shell.render(
        request, "sessions_dynamo/sessions/related.html", context, title=f"Related to session {session_id}"
    )


def _others(session: Session, found: list[Session]) -> list[Session]:
    return [other for other in found if other.session_id != session.session_id][:RELATED]


def _timeline(session_id: str, wanted: Filter, cursor: str) -> timeline.TimelinePage:
    page = timeline.page(
        stores.events(),
        session_id,
        show=wanted.show,
        type_=wanted.type,
        before=wanted.before,
        limit=PER_PAGE,
        cursor=cursor or None,
    )
    # One request, if any is open: a worker that went in good order has taken its item with it.
    owners = {
        stream.owner for stream in page.streams if stream.state == "open" and stream.is_of_worker and stream.owner
    }
    if owners:
        there = stores.streams().roster.beats(sorted(owners))
        for stream in page.streams:
            stream.owner_is_gone = stream.owner in owners - there.keys()
    return page


def _types(listed: list[Entry]) -> list[str]:
    """What the filter's field suggests: the types, methods and tools of these entries."""
    tools = (entry.call.tool for entry in listed if entry.call)
    return sorted({entry.type for entry in listed} | {tool for tool in tools if tool})


def _live_url(session_id: str, wanted: Filter, tail: Tail) -> str:
    return f"{reverse('mcp_staff:session-live', args=[session_id])}?{wanted.query(after=tail.encode())}"


def _client(session: Session) -> dict[str, Any]:
    """What the client said of itself at ``initialize``; it may be anything, or nothing."""
    params = session.client_params or {}
    info = params.get("clientInfo")
    info = info if isinstance(info, dict) else {}
    return {
        "name": info.get("name"),
        "version": info.get("version"),
        "title": info.get("title"),
    }


def _keys(request: HttpRequest, session: Session) -> dict[str, Any]:
    """The state's keys of one page of them, with the trees of those that are at hand and small."""
    stored = session.state.entries
    keys = Paginator(sorted(stored), KEYS_PER_PAGE).get_page(request.GET.get("keys"))
    budget, rows = MAX_INLINE_TREES, list[dict[str, Any]]()
    for key in keys:
        entry = stored[key]
        if isinstance(entry, Spilled):
            rows.append({"key": key, "size": entry.size, "is_spilled": True})
            continue
        size = len(entry.encode())
        budget -= size
        value = json_tree.parse(entry)
        row: dict[str, Any] = {"key": key, "size": size, "kind": json_tree.kind_of(value)}
        rows.append(row | ({"tree": json_tree.tree(value)} if budget >= 0 else {}))
    return {"keys": keys, "rows": rows, "state_bytes": sum(map(_size, stored.values()))}


def _size(entry: str | Spilled) -> int:
    return entry.size if isinstance(entry, Spilled) else len(entry.encode())


urlpatterns = [
    path("sessions/<dynamo_id:session_id>/", page, name="session"),
    path("sessions/<dynamo_id:session_id>/live/", live, name="session-live"),
    path("sessions/<dynamo_id:session_id>/related/", related, name="session-related"),
]
