"""The admin shell's sidebar and its command search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import NoReverseMatch, reverse
from unfold.dataclasses import SearchResult

from sessions_dynamo import schema
from sessions_dynamo.errors import StorageError
from sessions_dynamo.staff import shell, stores


@dataclass(frozen=True, slots=True)
class Page:
    """A page that the shell leads to. One whose permission the user lacks is not offered."""

    title: str
    icon: str
    url_name: str
    permission: str
    is_optional: bool = False
    """Whether a project may have no such page."""

    @property
    def link(self) -> str:
        """Its URL; empty for an optional page that is not mounted."""
        try:
            return reverse(self.url_name)
        except NoReverseMatch:
            if not self.is_optional:
                raise
            return ""

    def is_for(self, request: HttpRequest) -> bool:
        """Whether the user is offered it."""
        return request.user.has_perm(self.permission) and bool(self.link)


_VIEW, _CHANGE = f"{shell.APP}.view_session", f"{shell.APP}.change_session"

PAGES: Final = (
    Page("Dashboard", "monitoring", "mcp_staff:dashboard", _VIEW),
    Page("Sessions", "forum", "mcp_staff:sessions", _VIEW),
    Page("Events", "timeline", "mcp_staff:events", _VIEW),
    Page("Workers", "dns", "mcp_staff:workers", _VIEW),
    Page("Tables", "table", "mcp_staff:tables", _VIEW),
    Page("Backups", "backup", "mcp_staff:backups", _VIEW),
    Page("Try it", "play_circle", "try-it", _CHANGE, is_optional=True),
)
ACCOUNTS: Final = (
    Page("Users", "person", "admin:auth_user_changelist", "auth.view_user", is_optional=True),
    Page("Groups", "group", "admin:auth_group_changelist", "auth.view_group", is_optional=True),
    Page(
        "Bearer tokens",
        "key",
        "admin:django_mcpz_bearer_tokens_token_changelist",
        "django_mcpz_bearer_tokens.view_token",
        is_optional=True,
    ),
)


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    """The groups of the sidebar, for what the user may see."""
    groups: list[dict[str, Any]] = [
        {"title": "MCP", "items": _items(request, PAGES)},
        {"title": "Access", "separator": True, "items": _items(request, ACCOUNTS)},
    ]
    return [group for group in groups if group["items"]]


def _items(request: HttpRequest, pages: tuple[Page, ...]) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = [
        {"title": page.title, "icon": page.icon, "link": page.link} for page in pages if page.is_for(request)
    ]
    for item in items:
        if any(other["link"].startswith(item["link"]) for other in items if other is not item):
            # The shell takes a page for open where its path begins with the link: for the dashboard, on every page.
            item["active"] = request.path == item["link"]
    return items


def favicon(request: HttpRequest) -> str:
    """The URL of the icon in the browser's tab."""
    return static("sessions_dynamo/favicon.svg")


def script(request: HttpRequest) -> str:
    """The URL of what the command search has besides the shell's own."""
    return static("sessions_dynamo/command_search.js")


def search(request: HttpRequest, term: str) -> list[SearchResult]:
    """Pages whose title holds the term, and the session whose id it is."""
    found = [
        SearchResult(title=page.title, description="Staff page", link=page.link, icon=page.icon)
        for page in PAGES
        if term.lower() in page.title.lower() and page.is_for(request)
    ]
    # The shell lowers the term before it is here; ids are case-sensitive.
    session_id = request.GET.get("s", "").strip()
    if shell.may(request, "view_session") and schema.is_session_id(session_id):
        try:
            session = stores.sessions().peek(session_id)
        except StorageError:
            session = None
        if session is not None:
            link = reverse("mcp_staff:session", args=[session_id])
            found.insert(0, SearchResult(title=session_id, description="Session", link=link, icon="forum"))
    return found
