"""Who calls: ``MCP_AUTH`` names a callable ``(request) -> HttpResponse | None``, django-mcpz's convention; or async.

Where it is unset the server object's own authentication decides, if it has one (``own``).

It answers with a rejection, or returns ``None`` after setting ``request.user`` (or ``request.mcp_principal``, for
identities that are no Django user). A session belongs to the principal that made it.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import cache, partial
from typing import Any, Final

from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.utils.module_loading import import_string

from mcpsite.blocking.database import given_back
from mcpsite.blocking.threads import in_thread
from mcpsite.endpoint.access.own import own_auth
from mcpsite.endpoint.conf import PUBLIC, conf
from mcpsite.endpoint.server_object.http_app import served_app
from sessions_dynamo.conf import forget_on_change
from sessions_dynamo.errors import StorageUnavailable

logger = logging.getLogger(__name__)

_REMEMBERED: Final = {"django_mcpz.bearer_tokens.auth.token_auth": "mcpsite.endpoint.access.bearer.token_auth"}
"""Checks of which this process remembers good answers; a callable of one's own is asked at every request."""

OWN: Final = "mcpsite.endpoint.access.own.own_auth"
"""The server object's authentication, in ``MCP_AUTH``'s form."""

Authenticator = Callable[[HttpRequest], Awaitable[HttpResponse | None]]


async def public(request: HttpRequest) -> HttpResponse | None:
    """Lets anybody in; whoever knows a session's id may use the session."""
    return None


class ChosenTwice(Exception):
    """``MCP_AUTH`` is set, and the server object has an authentication of its own: one of them would be dropped."""


def chosen() -> str:
    """The dotted path of the callable that decides; empty where nobody has chosen one, which lets nobody in.

    Raises ``ChosenTwice``, and ``CannotServe`` where the server object cannot be asked for its own.
    """
    if not served_app().has_auth:
        return conf.MCP_AUTH or (PUBLIC if settings.DEBUG else "")
    if conf.MCP_AUTH:
        raise ChosenTwice(
            f"MCP_AUTH={conf.MCP_AUTH!r} is set, and the server object MCP_SERVER={conf.MCP_SERVER!r} has an"
            " authentication of its own: one of them would be dropped."
        )
    return OWN


@cache
def load_authenticator() -> Authenticator:
    """The callable that decides; one that blocks runs in a thread.

    Raises ``ImportError``, ``TypeError`` for what cannot be called, and what ``chosen`` raises.
    """
    path = chosen()
    if path == OWN:
        return own_auth
    # The app of the one need not be installed where another is chosen.
    ours = _REMEMBERED.get(path)
    authenticator: Any = import_string(ours or path)
    if not callable(authenticator):
        raise TypeError("it is not callable")
    is_async = iscoroutinefunction(authenticator) or iscoroutinefunction(type(authenticator).__call__)
    if not is_async:
        return partial(in_thread, authenticator)
    return authenticator if ours else partial(_awaited, authenticator)


async def _awaited(authenticator: Authenticator, request: HttpRequest) -> HttpResponse | None:
    async with given_back():
        return await authenticator(request)


async def authenticate(request: HttpRequest) -> HttpResponse | None:
    """The rejection of a caller, or ``None`` for one who may go on.

    Raises ``StorageUnavailable`` where the database that has to say so is not available.
    """
    # A browser's login cookie is no identity here: a page of another site could make the browser send it.
    request.user = AnonymousUser()
    try:
        return await load_authenticator()(request)
    except (InterfaceError, OperationalError) as exc:
        logger.warning("the database could not say who calls: %s", exc)
        raise StorageUnavailable("The database of accounts and tokens is not available. Try again later.") from exc


def principal_of(request: HttpRequest) -> str:
    """The identity that a session is bound to; empty for the public. Stable over a user's many tokens."""
    principal = getattr(request, "mcp_principal", None)
    if principal not in (None, ""):
        return str(principal)
    return f"user:{request.user.pk}" if request.user.is_authenticated else ""


forget_on_change(load_authenticator.cache_clear, "MCP_AUTH", "MCP_SERVER", "DEBUG", "ROOT_URLCONF")
