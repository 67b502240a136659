"""The HTTP response of an outbox: one JSON body, or an event stream."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from django.db import connections
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from mcp.shared.inbound import ERROR_CODE_HTTP_STATUS
from mcp_types import JSONRPCError

from mcpsite.endpoint.conf import conf
from mcpsite.endpoint.loop import LoopThread
from mcpsite.endpoint.streams.outbox import Answer, Begin, Failure, Item, Outbox
from mcpsite.endpoint.wire import sse
from mcpsite.endpoint.wire.answers import json_answer


def respond(
    loop: LoopThread,
    request: HttpRequest,
    outbox: Outbox,
    open_stream: Callable[[], Coroutine[Any, Any, bool]],
    *,
    may_return: bool,
    statuses: bool,
    seconds: float | None = None,
) -> HttpResponseBase:
    """The answer to a POST: JSON, unless its handler sends something or is silent for a keep-alive interval first.

    ``open_stream`` makes it a stream if it has not been answered by then; ``seconds`` bounds that stream. ``statuses``
    gives JSON-RPC errors the HTTP statuses of 2026-07-28.
    """
    # In 2026-07-28 a client cancels a request by closing its response, so that is looked for from the start.
    loop.worker.clients.expect(outbox, _socket(request) if statuses else None, may_return=may_return)
    item = outbox.first(conf.STREAM_KEEPALIVE_SECONDS)
    while isinstance(item, Begin):
        try:
            is_stream = loop.submit(open_stream()).result()
        except Exception:
            outbox.gone()
            raise
        if is_stream:
            return stream(loop, request, outbox, may_return=may_return, seconds=seconds)
        item = outbox.first(conf.STREAM_KEEPALIVE_SECONDS)
    if isinstance(item, bytes):
        return stream(loop, request, outbox, may_return=may_return, first=item, seconds=seconds)
    outbox.gone()
    return _whole(item, statuses=statuses)


def stream(
    loop: LoopThread,
    request: HttpRequest,
    outbox: Outbox,
    *,
    may_return: bool,
    first: bytes = sse.KEEP_ALIVE,
    seconds: float | None = None,
) -> HttpResponseBase:
    """An event stream of an outbox; closed with a ``retry`` hint after ``seconds``, if that is given.

    It begins with ``first``: a server sends the headers with the first bytes, and the client waits for those.
    """
    loop.submit(loop.worker.watch(outbox, _socket(request), may_return=may_return)).result()
    _release_database()
    frames = outbox.frames(
        conf.STREAM_KEEPALIVE_SECONDS, first, seconds=seconds, farewell=sse.retry(conf.STREAM_RETRY_MS)
    )
    response = StreamingHttpResponse(_Body(frames, outbox), content_type=sse.CONTENT_TYPE)
    response["Cache-Control"] = "no-cache, no-transform"
    response["X-Accel-Buffering"] = "no"
    return response


class _Body:
    """Frames whose outbox hears that the response was closed, also where none of them was ever read."""

    def __init__(self, frames: Iterator[bytes], outbox: Outbox) -> None:
        self._frames = frames
        self._outbox = outbox

    def __iter__(self) -> Iterator[bytes]:
        return self._frames

    def close(self) -> None:
        self._outbox.gone()


def _socket(request: HttpRequest) -> Any:
    """The client's socket, which gunicorn shows; other servers notice a client that left at the next write."""
    return request.META.get("gunicorn.socket")


def _whole(item: Item, *, statuses: bool) -> HttpResponse:
    if isinstance(item, Failure):
        raise item.error
    if not isinstance(item, Answer):
        # Closed before there was an answer: the client has left, and nobody reads this.
        return HttpResponse(status=202)
    status = 200
    if statuses and isinstance(item.reply, JSONRPCError):
        status = ERROR_CODE_HTTP_STATUS.get(item.reply.error.code, 200)
    return json_answer(item.body, status)


def _release_database() -> None:
    """Close this thread's database connections: a parked stream would hold them for as long as it is open."""
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close()
