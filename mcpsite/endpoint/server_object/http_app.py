"""The HTTP application that a server object makes of itself: its routes and its authentication, not its transport.

Nothing is written again here: the SDK's (or FastMCP's) own application answers, with a mark where its transport was.
"""

from __future__ import annotations

import threading
from collections.abc import MutableMapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from django.conf import settings
from django.urls import NoReverseMatch, get_script_prefix, reverse
from mcp.server.auth.middleware.bearer_auth import RequireAuthMiddleware
from mcp.server.lowlevel import Server
from mcp.server.mcpserver import MCPServer
from starlette.applications import Starlette
from starlette.routing import BaseRoute, Match, Route

from mcpsite.endpoint.conf import conf
from mcpsite.endpoint.server_object.authored import CannotServe
from mcpsite.endpoint.server_object.loading import is_fastmcp, load_server
from mcpsite.endpoint.server_object.unserved import Unserved, unserved
from sessions_dynamo.conf import forget_on_change

Scope = MutableMapping[str, Any]

ADMITTED: Final = "mcpsite.admitted"
"""The key of a scope under which the application writes who would have been served: ``user`` and ``auth``."""

routes_are_served: Final = threading.Event()
"""Set once something in this process serves the routes."""


@dataclass(frozen=True, slots=True)
class HttpApp:
    """What a server object serves over HTTP, and what of its wishes this site does not follow."""

    application: Starlette
    path: str
    """Where its transport would be."""
    routes: tuple[BaseRoute, ...]
    """The author's, and those of its authentication."""
    has_auth: bool
    unserved: tuple[Unserved, ...]

    def serves(self, scope: Scope) -> bool:
        """Whether one of the routes has this path, or would with the other spelling of its last slash."""
        path = scope["path"]
        other = path.removesuffix("/") if path.endswith("/") else f"{path}/"
        return any(
            route.matches({**scope, "path": spelling})[0] is not Match.NONE
            for spelling in (path, other)
            for route in self.routes
            if spelling
        )


@cache
def served_app() -> HttpApp:
    """The application of the server object that ``MCP_SERVER`` names.

    Raises ``CannotServe``, also for authentication that cannot be honoured.
    """
    target = load_server(conf.MCP_SERVER)
    # Before the application is made here: what its author made shows what its author wished.
    wishes = tuple(unserved(target))
    path = _endpoint_path()
    if isinstance(target, Server):
        # It has neither routes nor authentication of its own.
        return HttpApp(Starlette(), path, (), has_auth=False, unserved=wishes)
    try:
        application = _application(target, path)
    except Exception as exc:
        raise CannotServe(
            f"its HTTP application cannot be made: {type(exc).__name__}: {exc}",
            hint="Mend what the server object says of its auth and its routes.",
        ) from exc
    # Its own debug pages would show this site's code to anybody.
    application.debug = settings.DEBUG
    transport = next(route for route in application.routes if isinstance(route, Route) and route.path == path)
    guard: Any = transport.endpoint
    has_auth = isinstance(guard, RequireAuthMiddleware)
    if has_auth:
        guard.app = _mark
    elif is_guarded(target):
        raise CannotServe(
            "its auth guards its transport in a way that this site does not know",
            hint="Take auth= out of it, and set MCP_AUTH.",
        )
    routes = tuple(route for route in application.routes if route is not transport)
    return HttpApp(application, path, routes, has_auth, wishes)


def is_guarded(target: Any) -> bool:
    """Whether a server object was given an authentication of its own."""
    if isinstance(target, MCPServer):
        return target.settings.auth is not None
    return getattr(target, "auth", None) is not None


async def _mark(scope: Scope, receive: Any, send: Any) -> None:
    if ADMITTED in scope:
        scope[ADMITTED].update(user=scope["user"], auth=scope["auth"])


def _application(target: Any, path: str) -> Starlette:
    if is_fastmcp(target):
        application: Starlette = target.http_app(
            path=path, json_response=False, stateless_http=False, host_origin_protection=False
        )
        return application
    made: Starlette = target.streamable_http_app(streamable_http_path=path)
    return made


def _endpoint_path() -> str:
    """Where the endpoint is, without the prefix that the site may be served under."""
    try:
        return f"/{reverse('mcp').removeprefix(get_script_prefix())}"
    except NoReverseMatch:
        return "/mcp"


forget_on_change(served_app.cache_clear, "MCP_SERVER", "ROOT_URLCONF", "DEBUG")
