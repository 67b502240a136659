"""The server object's own routes (``@mcp.custom_route``, its OAuth endpoints), where the site has none of that path.

They are the object's own ASGI application's, streams and background tasks included, and as public as the SDK has them.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.core.handlers.asgi import get_script_prefix
from django.urls import Resolver404, resolve

from mcpsite.blocking.database import given_back
from mcpsite.door.request import DoorRequest, Receive
from mcpsite.door.short_door import Application, Scope, Send
from mcpsite.endpoint.server_object.authored import CannotServe
from mcpsite.endpoint.server_object.http_app import HttpApp, routes_are_served, served_app
from sessions_dynamo.conf import forget_on_change

logger = logging.getLogger(__name__)

_PARAMETER: Final = re.compile(r"{[^}]*}")


class OwnRoutes:
    """An ASGI application before the site's: it serves the server object's routes, and passes on all else."""

    def __init__(self, site: Application) -> None:
        self._site = site
        routes_are_served.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection's scope (ASGI 3.0)."""
        app = _served_app() if scope["type"] == "http" else None
        if app is None or not _is_own(app, scope) or not _is_allowed_host(scope, receive):
            await self._site(scope, receive, send)
            return
        answer = _Answer(send)
        try:
            async with given_back():
                await app.application(scope, receive, answer.send)
        except Exception:
            if not answer.is_whole:
                raise
            # It was answered with a 500, or fails only after its answer.
            path = scope["path"].encode("unicode_escape").decode("ascii")
            logger.exception("a route of the server object failed: %s %s", scope["method"], path)


def _served_app() -> HttpApp | None:
    try:
        return served_app()
    except CannotServe:
        # For the endpoint to say; the site's other pages are none of its.
        return None


class _Answer:
    def __init__(self, send: Send) -> None:
        self._send = send
        self.is_whole = False

    async def send(self, message: Any) -> None:
        await self._send(message)
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self.is_whole = True


def overridden(app: HttpApp) -> Iterator[str]:
    """Paths of the server object's that the site answers itself."""
    for route in app.routes:
        path = getattr(route, "path_format", None) or getattr(route, "path", "")
        if path and is_the_sites(_PARAMETER.sub("1", path)):
            yield path


@lru_cache(maxsize=1024)
def is_the_sites(path: str) -> bool:
    """Whether the site has an answer of its own for a path: its URLs, one that differs by its last slash alone where
    Django redirects to it, and static files."""
    static = f"/{(settings.STATIC_URL or '').lstrip('/')}"
    if static != "/" and path.startswith(static):
        return True
    return _is_resolved(path) or (settings.APPEND_SLASH and not path.endswith("/") and _is_resolved(f"{path}/"))


def _is_own(app: HttpApp, scope: Scope) -> bool:
    prefix = get_script_prefix(scope)
    path = scope["path"].removeprefix(prefix) if prefix else scope["path"]
    return app.serves(scope) and not is_the_sites(path)


def _is_resolved(path: str) -> bool:
    try:
        resolve(path)
    except Resolver404:
        return False
    return True


def _is_allowed_host(scope: Scope, receive: Receive) -> bool:
    """Whether the site answers to the request's Host; where it does not, it says so itself."""
    try:
        DoorRequest(scope, receive).get_host()
    except DisallowedHost:
        return False
    return True


forget_on_change(is_the_sites.cache_clear, "ROOT_URLCONF", "STATIC_URL", "APPEND_SLASH")
