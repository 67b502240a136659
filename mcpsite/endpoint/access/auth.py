"""Who calls: ``MCP_AUTH`` names a callable ``(request) -> HttpResponse | None``, django-mcpz's convention; or async.

It answers with a rejection, or returns ``None`` after setting ``request.user`` (or ``request.mcp_principal``, for
identities that are no Django user). A session belongs to the principal that made it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import cache, partial
from typing import Any, Final

from asgiref.sync import iscoroutinefunction
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse
from django.utils.module_loading import import_string

from mcpsite.endpoint.conf import conf
from mcpsite.endpoint.waiting.threads import in_thread
from sessions_dynamo.conf import forget_on_change

_REMEMBERED: Final = {"django_mcpz.bearer_tokens.auth.token_auth": "mcpsite.endpoint.access.bearer.token_auth"}
"""Checks of which this process remembers good answers; a callable of one's own is asked at every request."""

Authenticator = Callable[[HttpRequest], Awaitable[HttpResponse | None]]


async def public(request: HttpRequest) -> HttpResponse | None:
    """Lets anybody in; whoever knows a session's id may use the session."""
    return None


@cache
def load_authenticator() -> Authenticator:
    """The callable that ``MCP_AUTH`` names; one that blocks runs in a thread.

    Raises ``ImportError``, or ``TypeError`` for what cannot be called.
    """
    # The app of the one need not be installed where another is chosen.
    authenticator: Any = import_string(_REMEMBERED.get(conf.MCP_AUTH, conf.MCP_AUTH))
    if not callable(authenticator):
        raise TypeError("it is not callable")
    is_async = iscoroutinefunction(authenticator) or iscoroutinefunction(type(authenticator).__call__)
    return authenticator if is_async else partial(in_thread, authenticator)


async def authenticate(request: HttpRequest) -> HttpResponse | None:
    """The rejection of a caller, or ``None`` for one who may go on."""
    # A browser's login cookie is no identity here: a page of another site could make the browser send it.
    request.user = AnonymousUser()
    return await load_authenticator()(request)


def principal_of(request: HttpRequest) -> str:
    """The identity that a session is bound to; empty for the public. Stable over a user's many tokens."""
    principal = getattr(request, "mcp_principal", None)
    if principal not in (None, ""):
        return str(principal)
    return f"user:{request.user.pk}" if request.user.is_authenticated else ""


forget_on_change(load_authenticator.cache_clear, "MCP_AUTH")
