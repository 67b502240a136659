"""The MCP endpoint: HTTP in, one JSON-RPC message to the protocol's era, its answer out.

Two eras meet here: clients of revisions up to 2025-11-25 have a session, requests of 2026-07-28 stand alone.
"""

from __future__ import annotations

from http import HTTPStatus

from django.contrib.auth.decorators import login_not_required
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.views.decorators.csrf import csrf_exempt
from mcp_types import INTERNAL_ERROR, JSONRPCRequest

from mcpsite.door.short_door import short_door
from mcpsite.endpoint import legacy, modern
from mcpsite.endpoint.access.auth import Authenticator, authenticate
from mcpsite.endpoint.access.origins import transport_security
from mcpsite.endpoint.conf import conf
from mcpsite.endpoint.wire import headers
from mcpsite.endpoint.wire.answers import error_answer, storage_error_answer
from mcpsite.endpoint.wire.body import BodyTooLarge, LengthRequired, read_body
from mcpsite.endpoint.wire.messages import InvalidMessage, parse_message
from mcpsite.endpoint.wire.refusals import log_refusal, note_message, refusals_logged
from sessions_dynamo.errors import StorageError


@short_door
@login_not_required
@csrf_exempt
@refusals_logged
@transport_security
async def mcp_endpoint(request: HttpRequest) -> HttpResponseBase:
    """``POST`` carries one message, ``GET`` opens or resumes a stream, ``DELETE`` ends a session."""
    if isinstance(request, WSGIRequest):
        # Each request would have an event loop of its own, and no session's stream would outlive it.
        return error_answer(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "The MCP endpoint needs ASGI, and this process serves WSGI: serve the project's asgi module instead.",
            INTERNAL_ERROR,
        )
    return await serve(request, authenticate)


async def serve(request: HttpRequest, authenticator: Authenticator) -> HttpResponseBase:
    """Serve a request of whoever ``authenticator`` says that it is from."""
    try:
        if (rejection := await authenticator(request)) is not None:
            return rejection
        is_modern = headers.is_modern(request)
        if request.method == "POST":
            return await _post(request, is_modern=is_modern)
        if request.method == "GET" and not is_modern:
            return await legacy.get(request)
        if request.method == "DELETE" and not is_modern:
            return await legacy.delete(request)
    except StorageError as exc:
        return storage_error_answer(exc)
    except Exception as exc:
        # In the protocol's own form, and without the exception's text: it may hold anything.
        failed = error_answer(HTTPStatus.INTERNAL_SERVER_ERROR, "Internal server error", INTERNAL_ERROR)
        log_refusal(request, failed, exc)
        return failed
    answer = error_answer(HTTPStatus.METHOD_NOT_ALLOWED, f"Method not allowed: {request.method}")
    answer["Allow"] = "POST" if is_modern else "GET, POST, DELETE"
    return answer


async def _post(request: HttpRequest, *, is_modern: bool) -> HttpResponseBase:
    if not headers.is_json(request):
        return error_answer(HTTPStatus.BAD_REQUEST, "Invalid Content-Type header: send application/json")
    if not headers.accepts(request):
        return error_answer(
            HTTPStatus.NOT_ACCEPTABLE, "Not acceptable: accept both application/json and text/event-stream"
        )
    try:
        body = await read_body(request)
        message = parse_message(body)
        note_message(request, message)
    except BodyTooLarge:
        return error_answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body is over {conf.MCP_MAX_BODY_BYTES} bytes")
    except LengthRequired:
        return error_answer(HTTPStatus.LENGTH_REQUIRED, "Send a Content-Length header")
    except InvalidMessage as exc:
        return error_answer(HTTPStatus.BAD_REQUEST, str(exc), exc.code, request_id=exc.request_id)
    try:
        era = modern.post if is_modern else legacy.post
        return await era(request, message, len(body))
    except StorageError as exc:
        return storage_error_answer(exc, message.id if isinstance(message, JSONRPCRequest) else None)
