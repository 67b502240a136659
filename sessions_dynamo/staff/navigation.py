"""The admin shell's sidebar and its command search."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse
from unfold.dataclasses import SearchResult

from sessions_dynamo import schema
from sessions_dynamo.errors import StorageError
from sessions_dynamo.staff import shell, stores

_PAGES = (
    # Title, icon, URL name, permission. A page with a permission that the user lacks is not offered.
    ("Dashboard", "monitoring", "staff:dashboard", "view_session"),
    ("Sessions", "forum", "staff:sessions", "view_session"),
    ("Events", "timeline", "staff:events", "view_session"),
    ("Tables", "table", "staff:tables", "view_session"),
    ("Backups", "backup", "staff:backups", "view_session"),
    ("Try it", "play_circle", "try-it", "change_session"),
)
_ACCOUNTS = (
    ("Users", "person", "admin:auth_user_changelist", "auth.view_user"),
    ("Groups", "group", "admin:auth_group_changelist", "auth.view_group"),
    (
        "Bearer tokens",
        "key",
        "admin:django_mcpz_bearer_tokens_token_changelist",
        "django_mcpz_bearer_tokens.view_token",
    ),
)


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    """The groups of the sidebar, for what the user may see."""
    pages = [_item(title, icon, name) for title, icon, name, needed in _PAGES if shell.may(request, needed)]
    accounts = [_item(title, icon, name) for title, icon, name, needed in _ACCOUNTS if request.user.has_perm(needed)]
    groups: list[dict[str, Any]] = [
        {"title": "MCP", "items": pages},
        {"title": "Access", "separator": True, "items": accounts},
    ]
    return [group for group in groups if group["items"]]


def _item(title: str, icon: str, name: str) -> dict[str, Any]:
    return {"title": title, "icon": icon, "link": reverse(name)}


def favicon(request: HttpRequest) -> str:
    """The URL of the icon in the browser's tab."""
    return static("sessions_dynamo/favicon.svg")


def script(request: HttpRequest) -> str:
    """The URL of what the command search has besides the shell's own."""
    return static("sessions_dynamo/command_search.js")


def search(request: HttpRequest, term: str) -> list[SearchResult]:
    """Pages whose title holds the term, and the session whose id it is."""
    found = [
        SearchResult(title=title, description="Staff page", link=reverse(name), icon=icon)
        for title, icon, name, needed in _PAGES
        if term.lower() in title.lower() and shell.may(request, needed)
    ]
    # The shell lowers the term before it is here; ids are case-sensitive.
    session_id = request.GET.get("s", "").strip()
    if shell.may(request, "view_session") and schema.is_session_id(session_id):
        try:
            session = stores.sessions().peek(session_id)
        except StorageError:
            session = None
        if session is not None:
            link = reverse("staff:session", args=[session_id])
            found.insert(0, SearchResult(title=session_id, description="Session", link=link, icon="forum"))
    return found
