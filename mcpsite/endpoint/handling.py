"""A request's handler, from its beginning to its answer, in a task of its own."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from time import perf_counter
from typing import Protocol

from mcp.server.streamable_http import REQUEST_CANCELLED
from mcp_types import INTERNAL_ERROR, ErrorData, JSONRPCError, JSONRPCRequest

from mcpsite.endpoint.loop import ServingLoop
from mcpsite.endpoint.serving import kernel
from mcpsite.endpoint.serving.record import record_call
from mcpsite.endpoint.streams.outbox import Failure, Outbox
from mcpsite.endpoint.wire.answers import Reply, encode, reply_body


class Answering(Protocol):
    """What takes the messages of one answer, the reply last."""

    async def open(self) -> bool: ...

    def serve(self, cancel: Callable[[], None]) -> None: ...

    async def finish(self, reply: Reply, body: str) -> None: ...

    def close_response(self) -> None: ...


def begin(
    serving: ServingLoop,
    exchange: kernel.Exchange,
    message: JSONRPCRequest,
    answer: Answering,
    outbox: Outbox,
    *,
    size: int,
    is_durable: bool = False,
) -> asyncio.Task[None]:
    """Begin to serve a request of so many bytes; its ``answer`` goes to the ``outbox``.

    It runs on when its client leaves, unless somebody cancels it. ``is_durable`` makes the answer a stored stream
    before there is anything to send.
    """
    call = _Call(serving, exchange, message, answer, outbox, size)
    return serving.begin(call.serve(is_durable=is_durable), cut_off=call.cut_off)


class _Call:
    """One request while it is served. It is answered once: by its handler, or by whoever cuts that off."""

    def __init__(
        self,
        serving: ServingLoop,
        exchange: kernel.Exchange,
        message: JSONRPCRequest,
        answer: Answering,
        outbox: Outbox,
        size: int,
    ) -> None:
        self._serving = serving
        self._exchange = exchange
        self._message = message
        self._answer = answer
        self._outbox = outbox
        self._size = size
        self._started = perf_counter()
        self._answering = asyncio.Lock()
        self._is_answered = False

    async def serve(self, *, is_durable: bool) -> None:
        """Run the handler, and give its answer."""
        try:
            await self._give(await self._reply(is_durable=is_durable))
        except asyncio.CancelledError:
            # By a client that has left, or the loop itself is ending: nobody else would tell the client.
            self._fail(RuntimeError("the request was cancelled"))
            raise
        except Exception as exc:
            self._fail(exc)

    async def cut_off(self, reason: str) -> bool:
        """Answer with an error in the handler's place, whose changes are not saved; whether it had not answered yet."""
        if not self._is_answered:
            self._exchange.request.give_up()
        error = ErrorData(code=INTERNAL_ERROR, message=reason)
        try:
            return await self._give(JSONRPCError(jsonrpc="2.0", id=self._message.id, error=error))
        except Exception as exc:
            self._fail(exc)
            return False

    async def _give(self, reply: Reply) -> bool:
        """Give the one answer, unless it was given; whether this is it. One that is under way is waited for."""
        async with self._answering:
            if self._is_answered:
                return False
            self._is_answered = True
            try:
                body = encode(reply_body(reply))
                own = self._exchange.request.stored
                session_id = own.session_id if own is not None else self._exchange.request.stored_session_id
                record_call(
                    self._serving.recorder,
                    session_id,
                    self._message,
                    reply,
                    body,
                    started=self._started,
                    size=self._size,
                )
                await self._answer.finish(reply, body)
            except BaseException:
                self._is_answered = False
                raise
            self._answer.close_response()
            return True

    def _fail(self, exc: Exception) -> None:
        """Nothing more is sent, and nobody else would tell the client."""
        if not self._is_answered:
            self._is_answered = True
            self._outbox.put(Failure(exc))
            self._answer.close_response()

    async def _reply(self, *, is_durable: bool) -> Reply:
        own = self._exchange.request.stored
        key = (own.session_id, self._message.id) if own is not None else ("", secrets.token_hex(8))
        seen = own.cancellations if own is not None else 0
        reply: Reply | None = None
        with self._serving.worker.running(*key, self._outbox.close, seen) as scope:
            self._answer.serve(scope.cancel)
            if is_durable:
                await self._answer.open()
            reply = await kernel.serve_request(self._exchange, self._message)
        # With a session a stream ends with a response only, so a cancelled request gets one, as the SDK answers it.
        return reply or _cancelled(self._message)


def _cancelled(message: JSONRPCRequest) -> Reply:
    return JSONRPCError(
        jsonrpc="2.0", id=message.id, error=ErrorData(code=REQUEST_CANCELLED, message="Request cancelled")
    )
