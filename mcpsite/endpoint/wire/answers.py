"""What goes back: JSON-RPC messages as HTTP responses, and the one table from storage errors to HTTP."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any, Final

from django.http import HttpResponse
from mcp_types import INTERNAL_ERROR, INVALID_REQUEST, JSONRPCError, JSONRPCResponse, RequestId
from pydantic_core import PydanticSerializationError, to_json

from mcpsite.endpoint.wire.headers import SESSION_HEADER
from sessions_dynamo.errors import (
    EventTooLarge,
    InvalidState,
    SessionNotFound,
    StateConflict,
    StateTooLarge,
    StorageError,
    StorageUnavailable,
)

Reply = JSONRPCResponse | JSONRPCError
"""What ends a request."""

UNANSWERED: Final = "The server process that ran this request ended before it answered."
"""The error of a request whose process stopped, or died, meanwhile."""

_STORAGE_ERRORS: tuple[tuple[type[StorageError], int, int], ...] = (
    (SessionNotFound, HTTPStatus.NOT_FOUND, INVALID_REQUEST),
    (StateConflict, HTTPStatus.CONFLICT, INTERNAL_ERROR),
    (StateTooLarge, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, INVALID_REQUEST),
    (EventTooLarge, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, INVALID_REQUEST),
    (InvalidState, HTTPStatus.BAD_REQUEST, INVALID_REQUEST),
    (StorageUnavailable, HTTPStatus.SERVICE_UNAVAILABLE, INTERNAL_ERROR),
)
RETRY_AFTER_SECONDS = 1


class Refusal(HttpResponse):
    """An answer that is an error, with the reason that the log has: nothing of what a client sent as a value."""

    reason = ""
    is_answer = False
    """Whether it is a handler's own answer, which 2026-07-28 gives a status, and nothing was refused."""


# Made once: ``json.dumps`` with options makes one at every call.
_ascii_encoder: Final = json.JSONEncoder(separators=(",", ":"))

_LINE_BREAKS: Final = {"\x85": "\\u0085", "\u2028": "\\u2028", "\u2029": "\\u2029"}
"""What ends no line of an event stream, but does for clients that split its text by Unicode's rules."""


def encode(body: Any) -> str:
    """JSON as the wire has it, which UTF-8 can carry: a message with lone surrogates leaves in ASCII, by escapes."""
    try:
        text = to_json(body).decode()
    except PydanticSerializationError:
        return _ascii_encoder.encode(body)
    if not text.isascii():
        for character, escape in _LINE_BREAKS.items():
            text = text.replace(character, escape)
    return text


def size_of(text: str) -> int:
    """The bytes of a text in UTF-8."""
    return len(text) if text.isascii() else len(text.encode())


def reply_body(reply: Reply) -> dict[str, Any]:
    """A reply's JSON-RPC object."""
    if isinstance(reply, JSONRPCResponse):
        # As the SDK made it: to dump it again would walk all of it.
        return {"jsonrpc": "2.0", "id": reply.id, "result": reply.result}
    body = reply.model_dump(mode="json", by_alias=True, exclude_none=True)
    if reply.id is None:
        body["id"] = None  # JSON-RPC 2.0, section 5: null where the request's id is not known.
    return body


def json_answer(body: str, status: int = HTTPStatus.OK, *, session_id: str | None = None) -> HttpResponse:
    """A JSON response, naming the session it belongs to."""
    # In bytes: Django would write text in the project's DEFAULT_CHARSET.
    response = HttpResponse(body.encode(), status=status, content_type="application/json")
    response["Cache-Control"] = "no-store"
    if session_id is not None:
        response[SESSION_HEADER] = session_id
    return response


def error_reply_answer(reply: JSONRPCError, body: str, status: int) -> Refusal:
    """A handler's error with the HTTP status that its revision gives it."""
    response = _refusal(body, status, f"JSON-RPC error {reply.error.code}")
    response.is_answer = True
    return response


def _refusal(body: str, status: int, reason: str) -> Refusal:
    response = Refusal(body.encode(), status=status, content_type="application/json")
    response["Cache-Control"] = "no-store"
    response.reason = reason
    return response


def accepted() -> HttpResponse:
    """The answer to a notification or a response: 202, without a body and so without its type."""
    response = HttpResponse(status=HTTPStatus.ACCEPTED)
    del response["Content-Type"]
    return response


def error_body(code: int, message: str, request_id: RequestId | None = None, data: Any = None) -> dict[str, Any]:
    """A JSON-RPC error object."""
    error: dict[str, Any] = {"code": code, "message": message}
    if data is not None:
        error["data"] = data
    return {"jsonrpc": "2.0", "id": request_id, "error": error}


def error_answer(
    status: int,
    message: str,
    code: int = INVALID_REQUEST,
    *,
    request_id: RequestId | None = None,
    data: Any = None,
    reason: str | None = None,
) -> Refusal:
    """A JSON-RPC error as an HTTP response; ``reason`` is for the log, where the message repeats what was sent."""
    return _refusal(encode(error_body(code, message, request_id, data)), status, reason or message)


def storage_error_answer(exc: StorageError, request_id: RequestId | None = None) -> Refusal:
    """The HTTP answer to a request that storage refused."""
    status, code = storage_error_codes(exc)
    if isinstance(exc, SessionNotFound):
        # It is the session that is not found, not the request: go-sdk takes an error with the request's id for that
        # call's own, and goes on with a session that is lost.
        request_id = None
    answer = error_answer(status, str(exc), code, request_id=request_id, reason=_logged(exc))
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        answer["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return answer


def storage_error_codes(exc: StorageError) -> tuple[int, int]:
    """The HTTP status and the JSON-RPC code of a storage error."""
    for family, status, code in _STORAGE_ERRORS:
        if isinstance(exc, family):
            return status, code
    return HTTPStatus.INTERNAL_SERVER_ERROR, INTERNAL_ERROR


def _logged(exc: StorageError) -> str:
    """The reason without names of sessions and keys, which messages for the client repeat."""
    if isinstance(exc, SessionNotFound):
        return "no such session: it never was, has ended, has expired, or is another caller's"
    return f"storage is unavailable: {exc}" if isinstance(exc, StorageUnavailable) else type(exc).__name__
