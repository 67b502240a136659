"""Clients with sessions: revisions up to 2025-11-25, over Streamable HTTP."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from http import HTTPStatus
from time import perf_counter
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from mcp.shared.jsonrpc_dispatcher import cancelled_request_id_from_params
from mcp_types import JSONRPCError, JSONRPCNotification, JSONRPCRequest

from mcpsite.door.buffered import is_buffered
from mcpsite.endpoint import handling
from mcpsite.endpoint.access.auth import principal_of
from mcpsite.endpoint.conf import conf
from mcpsite.endpoint.loop import ServingLoop, current_loop
from mcpsite.endpoint.response import is_polled, respond, stream, stream_seconds
from mcpsite.endpoint.serving import kernel
from mcpsite.endpoint.serving.one_way import OneWayChannel
from mcpsite.endpoint.serving.record import record_call
from mcpsite.endpoint.serving.request import ServedRequest
from mcpsite.endpoint.streams.channels import RequestChannel, SessionChannel, StandaloneChannel
from mcpsite.endpoint.streams.held import UnknownStream
from mcpsite.endpoint.streams.outbox import Outbox
from mcpsite.endpoint.streams.owned import OwnedStream
from mcpsite.endpoint.wire import headers, sse
from mcpsite.endpoint.wire.answers import accepted, encode, error_answer, json_answer, reply_body
from mcpsite.endpoint.wire.messages import Message
from mcpsite.endpoint.wire.refusals import asked
from sessions_dynamo import schema
from sessions_dynamo.dataplane.loops import run
from sessions_dynamo.store.session_items import Session
from sessions_dynamo.store.session_operations import default_operations

LAST_EVENT_HEADER = "Last-Event-ID"
POLL_MS = 30_000
"""How soon a client is to come back for its standalone stream where that cannot stay open: each time costs a run."""


async def post(request: HttpRequest, message: Message, size: int) -> HttpResponseBase:
    """One message of a session; ``initialize`` begins one. Raises ``StorageError``."""
    if isinstance(message, JSONRPCRequest) and message.method == "initialize":
        return await _initialize(request, message, size)
    session = await _load_session(request)
    if session is None:
        return _missing_session()
    serving = await current_loop()
    if isinstance(message, JSONRPCRequest):
        return await _serve_request(serving, request, session, message, size)
    if isinstance(message, JSONRPCNotification):
        await _take_notification(serving, request, session, message)
    else:
        await serving.worker.accept_reply(session.session_id, message)
    return accepted()


async def get(request: HttpRequest) -> HttpResponseBase:
    """Open the session's standalone stream, or resume any of its streams at ``Last-Event-ID``.

    Streamable HTTP, "Listening for Messages from the Server" and "Resumability and Redelivery". Raises
    ``StorageError``.
    """
    if not headers.accepts(request, json=False):
        return error_answer(HTTPStatus.NOT_ACCEPTABLE, "Not acceptable: accept text/event-stream")
    session = await _load_session(request)
    if session is None:
        return _missing_session()
    cursor = request.headers.get(LAST_EVENT_HEADER)
    if cursor and schema.is_end_id(cursor):
        # Nothing follows a stream's end. An empty stream would have the client come back for ever; this status tells
        # it not to (HTML standard, "Server-sent events").
        return HttpResponse(status=HTTPStatus.NO_CONTENT)
    serving = await current_loop()
    worker = serving.worker
    await run(default_operations().touch(session))
    seconds = stream_seconds(request)
    retry_ms = conf.STREAM_RETRY_MS
    if retry_ms > 0 and not cursor and is_polled(request, seconds):
        retry_ms = max(retry_ms, POLL_MS)
    outbox = Outbox(lambda: worker.clients.discard(outbox), sse.farewell(session.protocol_version, retry_ms))
    try:
        await (worker.resume(session, cursor, outbox) if cursor else worker.hold(session, outbox))
    except UnknownStream:
        return error_answer(
            HTTPStatus.BAD_REQUEST, f"Unknown {LAST_EVENT_HEADER}: that stream is not of this session, or has expired"
        )
    left = (session.expires_at - datetime.now(UTC)).total_seconds()
    seconds = left if seconds is None else min(left, seconds)
    # Something at once, for a client that waits for the headers: its own cursor where it knows such events, so that it
    # has one for this connection too.
    primed = sse.has_priming(session.protocol_version)
    first = sse.priming(cursor) if cursor and primed else sse.KEEP_ALIVE
    response = stream(serving, outbox, may_return=True, first=first, seconds=seconds)
    response[headers.SESSION_HEADER] = session.session_id
    return response


async def delete(request: HttpRequest) -> HttpResponseBase:
    """End a session and what it has open on every worker. Raises ``StorageError``."""
    session_id = request.headers.get(headers.SESSION_HEADER)
    if not session_id:
        return _missing_session()
    serving = await current_loop()
    created_at = await run(default_operations().terminate(session_id, principal_of(request)))
    await serving.worker.end_session(session_id, created_at)
    return HttpResponse(status=HTTPStatus.OK)


async def _initialize(request: HttpRequest, message: JSONRPCRequest, size: int) -> HttpResponseBase:
    """Negotiate, then store the session in one write: a refused handshake leaves nothing behind."""
    started = perf_counter()
    serving, store, principal = await current_loop(), default_operations(), principal_of(request)
    session_id = schema.new_session_id()
    served = ServedRequest(request, principal, store)
    nothing = kernel.NoChannel()
    connection = kernel.legacy_connection(served, session_id, nothing)
    exchange = kernel.Exchange(serving.server, serving.lifespan_state, served, connection, nothing)
    reply = await asyncio.shield(serving.begin(kernel.serve_request(exchange, message)))
    body = encode(reply_body(reply))
    if isinstance(reply, JSONRPCError):
        return json_answer(body)
    await run(
        store.create(
            session_id,
            principal=principal,
            protocol_version=connection.protocol_version,
            client_params=_handshake(message),
        )
    )
    record_call(serving.recorder, session_id, message, reply, body, started=started, size=size)
    return json_answer(body, session_id=session_id)


async def _serve_request(
    serving: ServingLoop, request: HttpRequest, session: Session, message: JSONRPCRequest, size: int
) -> HttpResponseBase:
    worker = serving.worker
    served = ServedRequest(request, session.principal, default_operations(), session)
    connection = kernel.legacy_connection(
        served, session.session_id, _channel(request, StandaloneChannel(worker, session))
    )
    outbox = Outbox(
        lambda: worker.clients.discard(outbox), sse.farewell(connection.protocol_version, conf.STREAM_RETRY_MS)
    )
    answer = OwnedStream(worker, session, message.id, connection.protocol_version, outbox)

    async def close_standalone() -> None:
        await worker.close_standalone(session)

    exchange = kernel.Exchange(
        serving.server,
        serving.lifespan_state,
        served,
        connection,
        _channel(request, RequestChannel(worker, session, answer)),
        close_sse_stream=answer.release_client if answer.is_resumable else None,
        close_standalone_sse_stream=close_standalone,
    )

    handling.begin(serving, exchange, message, answer, outbox, size=size, is_durable=conf.DURABLE_ANSWERS)
    return await respond(serving, outbox, answer.open, may_return=answer.is_resumable, statuses=False)


async def _take_notification(
    serving: ServingLoop, request: HttpRequest, session: Session, message: JSONRPCNotification
) -> None:
    worker = serving.worker
    if message.method == "notifications/cancelled":
        request_id = cancelled_request_id_from_params(message.params)
        if request_id is not None:
            await worker.cancel(session, request_id)
        return
    served = ServedRequest(request, session.principal, default_operations(), session)
    connection = kernel.legacy_connection(
        served, session.session_id, _channel(request, StandaloneChannel(worker, session))
    )
    exchange = kernel.Exchange(serving.server, serving.lifespan_state, served, connection, kernel.NoChannel())
    await asyncio.shield(serving.begin(kernel.serve_notification(exchange, message)))
    if connection.initialized.is_set() and session.initialized_at is None:
        await run(default_operations().update(session, initialized_at=datetime.now(UTC)))
    else:
        await served.save()


def _channel(request: HttpRequest, channel: SessionChannel) -> kernel.Channel:
    """A channel as it can be used: an answer that leaves whole brings no question to the client before its end."""
    return OneWayChannel(channel) if is_buffered(request) else channel


async def _load_session(request: HttpRequest) -> Session | None:
    session_id = request.headers.get(headers.SESSION_HEADER)
    if not session_id:
        return None
    session = await run(default_operations().load(session_id, principal_of(request)))
    asked(request).handshake = session.client_params_text
    return session


def _missing_session() -> HttpResponse:
    return error_answer(
        HTTPStatus.BAD_REQUEST,
        f"Missing {headers.SESSION_HEADER} header: send 'initialize' first and repeat the id it returns",
    )


def _handshake(message: JSONRPCRequest) -> dict[str, Any]:
    params = message.params or {}
    return {name: params[name] for name in ("protocolVersion", "capabilities", "clientInfo") if name in params}
