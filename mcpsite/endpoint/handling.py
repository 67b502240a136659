"""A request's handler, from its beginning to its answer, in a task of its own."""

from __future__ import annotations

import asyncio
import secrets
from time import perf_counter
from typing import Protocol

from mcp.server.streamable_http import REQUEST_CANCELLED
from mcp_types import ErrorData, JSONRPCError, JSONRPCRequest

from mcpsite.endpoint.loop import ServingLoop
from mcpsite.endpoint.serving import kernel
from mcpsite.endpoint.serving.record import record_call
from mcpsite.endpoint.streams.outbox import Failure, Outbox
from mcpsite.endpoint.wire.answers import Reply, encode, reply_body


class Answering(Protocol):
    """What takes the messages of one answer, the reply last."""

    async def open(self) -> bool: ...

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

    async def serve() -> None:
        started = perf_counter()
        try:
            reply = await _reply()
            body = encode(reply_body(reply))
            own = exchange.request.stored
            session_id = own.session_id if own is not None else exchange.request.stored_session_id
            record_call(serving.recorder, session_id, message, reply, body, started=started, size=size)
            await answer.finish(reply, body)
        except asyncio.CancelledError:
            # By a client that has left, or the loop itself is ending: nobody else would tell the client.
            outbox.put(Failure(RuntimeError("the request was cancelled")))
            raise
        except Exception as exc:
            outbox.put(Failure(exc))
        finally:
            answer.close_response()

    async def _reply() -> Reply:
        own = exchange.request.stored
        key = (own.session_id, message.id) if own is not None else ("", secrets.token_hex(8))
        reply: Reply | None = None
        with serving.worker.running(*key, outbox.close):
            if is_durable:
                await answer.open()
            reply = await kernel.serve_request(exchange, message)
        # With a session a stream ends with a response only, so a cancelled request gets one, as the SDK answers it.
        return reply or _cancelled(message)

    return serving.begin(serve())


def _cancelled(message: JSONRPCRequest) -> Reply:
    return JSONRPCError(
        jsonrpc="2.0", id=message.id, error=ErrorData(code=REQUEST_CANCELLED, message="Request cancelled")
    )
