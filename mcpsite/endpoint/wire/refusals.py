"""One line in the log for each request that is refused: what was asked, why not, of which session, by whose client."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from http import HTTPStatus
from typing import Any, Final, TypeVar, cast

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.log import log_response
from mcp_types import CLIENT_INFO_META_KEY

from mcpsite.endpoint.wire.answers import Refusal
from mcpsite.endpoint.wire.headers import SESSION_HEADER
from mcpsite.endpoint.wire.messages import Message

logger = logging.getLogger(__name__)

_ORDINARY: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED})
"""What clients do as a matter of course: ask without a token first, come back to a session that is over, look what
there is."""
_MAX_CHARACTERS: Final = 64
_MAX_REASON_CHARACTERS: Final = 300

V = TypeVar("V", bound=Callable[..., Awaitable[HttpResponseBase]])


@dataclass(slots=True)
class Asked:
    """What has become known of a request."""

    method: object = None
    """Its JSON-RPC method."""
    client: object = None
    """``clientInfo``, where the message has it."""
    handshake: str | None = None
    """What the session began with, as JSON text."""


def asked(request: HttpRequest) -> Asked:
    """What is known of a request, to add to it."""
    known: Asked | None = getattr(request, "mcp_asked", None)
    if known is None:
        known = request.mcp_asked = Asked()  # type: ignore[attr-defined]
    return known


def note_message(request: HttpRequest, message: Message) -> None:
    """Keep of a request's message what a line in the log may say."""
    known = asked(request)
    known.method = getattr(message, "method", None)
    params = getattr(message, "params", None) or {}
    meta = params.get("_meta")
    known.client = params.get("clientInfo") or (meta.get(CLIENT_INFO_META_KEY) if isinstance(meta, dict) else None)


def refusals_logged(view: V) -> V:
    """Have each refusal of a view logged, whichever handler serves it."""

    @wraps(view)
    async def logged(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response = await view(request, *args, **kwargs)
        log_refusal(request, response)
        return response

    return cast("V", logged)


def log_refusal(request: HttpRequest, response: HttpResponseBase, failure: BaseException | None = None) -> None:
    """Log an answer that refuses a request, once; Django's handler, which would say less, logs it no more.

    No token, argument or value, and of a session's id only a hash (``printf %s <id> | sha256sum``). A failure is
    Django's to handle, by its own logger.
    """
    status = response.status_code
    if status < HTTPStatus.BAD_REQUEST:
        return
    if failure is not None:
        level = "error"
    elif status in _ORDINARY or (isinstance(response, Refusal) and response.is_answer):
        level = "info"
    else:
        level = "warning"
    known = asked(request)
    reason = response.reason if isinstance(response, Refusal) else response.reason_phrase
    words = [request.method or "", _clean(known.method)]
    details = {"session": _hashed(request.headers.get(SESSION_HEADER)), "client": _client(request, known)}
    log_response(
        "%s: %s %s%s",
        " ".join(filter(None, words))[: 2 * _MAX_CHARACTERS],
        str(status),
        reason[:_MAX_REASON_CHARACTERS],
        "".join(f", {name} {value}" for name, value in details.items() if value),
        response=cast("HttpResponse", response),
        request=request,
        level=level,
        exception=failure,
        **({} if failure is not None else {"logger": logger}),
    )


def _hashed(session_id: str | None) -> str:
    return hashlib.sha256(session_id.encode(errors="replace")).hexdigest()[:12] if session_id else ""


def _client(request: HttpRequest, known: Asked) -> str:
    """Name and version as the client gave them with its message or its handshake, else its ``User-Agent``."""
    info = known.client
    if info is None and known.handshake is not None:
        info = _client_info(known.handshake)
    if isinstance(info, Mapping):
        given = "/".join(filter(None, (_clean(info.get("name")), _clean(info.get("version")))))
        if given:
            return given
    return _clean(request.headers.get("User-Agent"))


def _client_info(handshake: str) -> object:
    try:
        params = json.loads(handshake)
    except (ValueError, RecursionError):
        # A row may hold anything; that it does is no reason to answer otherwise.
        return None
    return params.get("clientInfo") if isinstance(params, dict) else None


def _clean(value: object) -> str:
    if not isinstance(value, str):
        return ""
    return "".join(character if character.isprintable() else "?" for character in value[:_MAX_CHARACTERS])
