"""Host and Origin of requests to the endpoint, checked first and refused in the protocol's own form.

Streamable HTTP, "Security Warning": servers MUST validate Origin, against DNS rebinding.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, Final, TypeVar, cast
from urllib.parse import urlsplit

from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import Resolver404, resolve
from django.utils.decorators import sync_and_async_middleware

from mcpsite.endpoint.conf import conf
from mcpsite.endpoint.wire.answers import error_answer
from mcpsite.endpoint.wire.refusals import log_refusal

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


V = TypeVar("V", bound=Callable[..., Awaitable[HttpResponseBase]])
Next = Callable[[HttpRequest], Any]


def transport_security(view: V) -> V:
    """Guard a view, wherever a project mounts it; with ``TransportSecurityMiddleware`` before any other code."""

    @wraps(view)
    async def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return _refusal(request) or await view(request, *args, **kwargs)

    guarded.transport_security = True  # type: ignore[attr-defined]
    return cast("V", guarded)


@sync_and_async_middleware
def TransportSecurityMiddleware(get_response: Next) -> Next:
    """Refuses first of all middleware what a guarded view would refuse: Django's own answers a wrong Host in HTML."""

    def refusal(request: HttpRequest) -> HttpResponseBase | None:
        refused = _refusal(request) if _is_guarded(request.path_info) else None
        if refused is not None:
            log_refusal(request, refused)
        return refused

    if iscoroutinefunction(get_response):

        async def on_the_loop(request: HttpRequest) -> HttpResponseBase:
            return refusal(request) or await get_response(request)

        return on_the_loop

    def in_a_thread(request: HttpRequest) -> HttpResponseBase:
        return refusal(request) or get_response(request)

    return in_a_thread


def _refusal(request: HttpRequest) -> HttpResponseBase | None:
    """The refusal of a Host outside ``ALLOWED_HOSTS`` (421) or a foreign Origin (403)."""
    try:
        host = request.get_host()
    except DisallowedHost:
        return error_answer(421, "Invalid Host header: add the name to ALLOWED_HOSTS if it is this site's.")
    origin = request.headers.get("Origin")
    if origin and not _is_allowed(origin, host):
        return error_answer(403, "Invalid Origin header: add the origin to MCP_ALLOWED_ORIGINS if it is trusted.")
    return None


def _is_guarded(path: str) -> bool:
    try:
        return getattr(resolve(path).func, "transport_security", False)
    except Resolver404:
        return False


def _is_allowed(origin: str, host: str) -> bool:
    if origin in conf.MCP_ALLOWED_ORIGINS:
        return True
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    # The host alone, not the scheme: behind a proxy that ends TLS, http here is https there.
    return parts.netloc == host or (settings.DEBUG and parts.hostname in _LOOPBACK)
