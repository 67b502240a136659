"""The server that this site serves: the one that ``MCP_SERVER`` names.

It is served as it is, but for what only a service of many workers can give it: ``requestState`` sealed with keys that
all workers share, and handlers for ``logging/setLevel`` and ``resources/subscribe``, which the session remembers.
"""

from __future__ import annotations

import hashlib
import hmac
from functools import cache
from typing import Any

from django.conf import settings
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.mcpserver import MCPServer
from mcp.server.request_state import AESGCMRequestStateCodec, RequestStateBoundary, RequestStateSecurity
from mcp.server.subscriptions import ListenHandler, SubscriptionBus
from mcp_types import EmptyResult, SetLevelRequestParams, SubscribeRequestParams, UnsubscribeRequestParams

from mcpsite.endpoint.conf import conf
from mcpsite.endpoint.server_object.loading import is_fastmcp, load_server, low_level
from mcpsite.endpoint.serving.errors import specified_errors
from mcpsite.endpoint.serving.fastmcp import serve_fastmcp
from mcpsite.endpoint.serving.late_tools import LateTools, names_of
from mcpsite.endpoint.serving.request_state import SharedRequestStateCodec
from mcpsite.endpoint.serving.session_argument import SessionArgument
from sessions_dynamo.conf import forget_on_change


@cache
def served_server() -> Server[Any]:
    """The low-level server of the process's server object, made fit for many workers. Raises ``CannotServe``."""
    target = load_server(conf.MCP_SERVER)
    server = low_level(target)
    if isinstance(target, MCPServer) or is_fastmcp(target):
        _specify_errors(server)
    if is_fastmcp(target):
        serve_fastmcp(target, server)
    _offer_session(target, server)
    # FastMCP names an unnamed server at random, in each process otherwise.
    _share_request_state(server, conf.MCP_SERVER if is_fastmcp(target) else server.name)
    _remember_settings(server)
    _watch_tools(target, server)
    return server


def subscription_bus(server: Server[Any]) -> SubscriptionBus | None:
    """The bus that a server's ``ctx.notify_*`` publish to; ``None`` for a server that serves no subscriptions."""
    entry = server.get_request_handler("subscriptions/listen")
    # The handler is the only holder of the bus that a low-level server knows; it has no public name there.
    return entry.handler._bus if entry is not None and isinstance(entry.handler, ListenHandler) else None


def request_state_keys() -> list[bytes]:
    """Keys for ``requestState`` from ``SECRET_KEY`` and its fallbacks: the first seals, every one opens."""
    secrets = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return [hmac.digest(secret.encode(), b"mcpsite.requestState", hashlib.sha256) for secret in secrets]


def _specify_errors(server: Server[Any]) -> None:
    """Let what the SDK itself refuses be refused as the specification says; the middleware next to the handlers."""
    if specified_errors not in server.middleware:
        server.middleware.append(specified_errors)


def _offer_session(target: Any, server: Server[Any]) -> None:
    """Let clients without sessions name theirs; the tools of a low-level server say themselves what they take."""
    server.middleware[:] = [one for one in server.middleware if not isinstance(one, SessionArgument)]
    if isinstance(target, MCPServer) and conf.MCP_SESSION_ARGUMENT:
        server.middleware.append(SessionArgument(target, conf.MCP_SESSION_ARGUMENT))


def _watch_tools(target: Any, server: Server[Any]) -> None:
    server.middleware[:] = [one for one in server.middleware if not isinstance(one, LateTools)]
    if (names := names_of(target)) is not None:
        server.middleware.append(LateTools(names))


def _share_request_state(server: Server[Any], audience: str) -> None:
    """Replace a boundary whose key no other worker has; one with a codec of its own is left as it is."""
    for place, middleware in enumerate(server.middleware):
        if not isinstance(middleware, RequestStateBoundary):
            continue
        own: RequestStateSecurity = middleware._security
        if isinstance(own.codec, AESGCMRequestStateCodec):
            shared = RequestStateSecurity(
                codec=SharedRequestStateCodec(request_state_keys()),
                ttl=own.ttl,
                bind_principal=_principal,
                audience=own.audience,
            )
            server.middleware[place] = RequestStateBoundary(shared, default_audience=audience)


def _principal(ctx: ServerRequestContext[Any, Any]) -> str | None:
    return getattr(ctx.request, "principal", "") or None


def _remember_settings(server: Server[Any]) -> None:
    """Handlers that only accept: the kernel keeps what was set with the session (``kernel.remember``)."""

    async def accept(ctx: ServerRequestContext[Any, Any], params: Any) -> EmptyResult:
        return EmptyResult()

    if server.get_request_handler("logging/setLevel") is None:
        server.add_request_handler("logging/setLevel", SetLevelRequestParams, accept)
    if server.get_request_handler("resources/read") and not server.get_request_handler("resources/subscribe"):
        server.add_request_handler("resources/subscribe", SubscribeRequestParams, accept)
        server.add_request_handler("resources/unsubscribe", UnsubscribeRequestParams, accept)


forget_on_change(served_server.cache_clear, "MCP_SERVER", "MCP_SESSION_ARGUMENT", "SECRET_KEY")
