"""The HTTP response of an outbox: one JSON body, or an event stream."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from mcp.shared.inbound import ERROR_CODE_HTTP_STATUS
from mcp_types import JSONRPCError

from mcpsite.door.buffered import is_buffered, is_frozen_between_answers
from mcpsite.door.event_stream import EventStream
from mcpsite.endpoint.conf import conf
from mcpsite.endpoint.loop import ServingLoop
from mcpsite.endpoint.streams.outbox import Answer, Begin, Failure, Item, Outbox
from mcpsite.endpoint.wire import sse
from mcpsite.endpoint.wire.answers import error_reply_answer, json_answer


async def respond(
    serving: ServingLoop,
    outbox: Outbox,
    open_stream: Callable[[], Awaitable[bool]],
    *,
    may_return: bool,
    statuses: bool,
    seconds: float | None = None,
) -> HttpResponseBase:
    """The answer to a POST: JSON, unless its handler sends something or is silent for a keep-alive interval first.

    ``open_stream`` makes it a stream if it has not been answered by then; ``seconds`` bounds that stream. ``statuses``
    gives JSON-RPC errors the HTTP statuses of 2026-07-28. Whoever serves the request cancels this when the client
    leaves.
    """
    serving.worker.clients.expect(outbox, may_return=may_return)
    try:
        item = await outbox.first(conf.STREAM_KEEPALIVE_SECONDS)
        while isinstance(item, Begin):
            if await open_stream():
                return stream(serving, outbox, may_return=may_return, seconds=seconds)
            item = await outbox.first(conf.STREAM_KEEPALIVE_SECONDS)
    except BaseException:
        outbox.gone()
        raise
    if isinstance(item, bytes):
        return stream(serving, outbox, may_return=may_return, first=item, seconds=seconds)
    outbox.gone()
    return _whole(item, statuses=statuses)


def stream(
    serving: ServingLoop,
    outbox: Outbox,
    *,
    may_return: bool,
    first: bytes = sse.KEEP_ALIVE,
    seconds: float | None = None,
) -> HttpResponseBase:
    """An event stream of an outbox; its client is sent away after ``seconds``, if that is given.

    It begins with ``first``: a server sends the headers with the first bytes, and the client waits for those.
    """
    serving.worker.clients.add(outbox, may_return=may_return)
    return EventStream(outbox.frames(conf.STREAM_KEEPALIVE_SECONDS, first, seconds=seconds), outbox.gone)


def stream_seconds(request: HttpRequest) -> float | None:
    """How long a GET or a subscription may stay open; ``None`` until either side ends."""
    if conf.STREAM_SECONDS is None and is_buffered(request):
        # The client would have the first of it with the last.
        return 0.0
    return conf.STREAM_SECONDS


def is_polled(request: HttpRequest, seconds: float | None) -> bool:
    """Whether a client that comes back for a stream that ends at once has a function run each time."""
    return seconds == 0 and (is_buffered(request) or is_frozen_between_answers())


def _whole(item: Item, *, statuses: bool) -> HttpResponseBase:
    if isinstance(item, Failure):
        raise item.error
    if not isinstance(item, Answer):
        # Hung up: the client has ended its session while it waited. The SDK's own server ends the stream, of which
        # nothing was sent yet; Python's client before 2 would raise for an answer that finds its session closed.
        return EventStream(_nothing(), lambda: None)
    if statuses and isinstance(item.reply, JSONRPCError):
        return error_reply_answer(item.reply, item.body, ERROR_CODE_HTTP_STATUS.get(item.reply.error.code, 200))
    return json_answer(item.body)


async def _nothing() -> AsyncGenerator[bytes]:
    return
    yield
