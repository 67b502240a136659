"""Clients without sessions: 2026-07-28, where each request stands alone and carries its own envelope."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from mcp.server.subscriptions import SUBSCRIPTION_ID_META_KEY
from mcp.shared.inbound import (
    ERROR_CODE_HTTP_STATUS,
    InboundLadderRejection,
    classify_inbound_request,
    unsupported_protocol_version_rejection,
)
from mcp_types import (
    HEADER_MISMATCH,
    INVALID_PARAMS,
    UNSUPPORTED_PROTOCOL_VERSION,
    JSONRPCNotification,
    JSONRPCRequest,
    RequestId,
)

from mcpsite.endpoint import handling
from mcpsite.endpoint.access.auth import principal_of
from mcpsite.endpoint.conf import conf
from mcpsite.endpoint.loop import current_loop
from mcpsite.endpoint.response import is_polled, respond, stream_seconds
from mcpsite.endpoint.serving import kernel, param_headers
from mcpsite.endpoint.serving.request import ServedRequest
from mcpsite.endpoint.streams.channels import TransientChannel
from mcpsite.endpoint.streams.outbox import Outbox
from mcpsite.endpoint.streams.transient import TransientStream
from mcpsite.endpoint.wire import sse
from mcpsite.endpoint.wire.answers import accepted, encode, error_answer
from mcpsite.endpoint.wire.messages import Message
from sessions_dynamo.store.session_operations import default_operations

_REASONS: Final = {
    HEADER_MISMATCH: "a header does not say what the body says",
    INVALID_PARAMS: "the message lacks the envelope of 2026-07-28",
    UNSUPPORTED_PROTOCOL_VERSION: "a revision that is not served",
}
"""For the log: the messages repeat values."""


async def post(request: HttpRequest, message: Message, size: int) -> HttpResponseBase:
    """One request, or a notification, which this revision lets a server drop. Raises ``StorageError``."""
    if isinstance(message, JSONRPCNotification):
        rejection = unsupported_protocol_version_rejection(request.headers["MCP-Protocol-Version"])
        return _rejected(rejection, None) if rejection else accepted()
    if not isinstance(message, JSONRPCRequest):
        # Streamable HTTP 2026-07-28, "Sending Messages", item 4: clients send no responses.
        return error_answer(HTTPStatus.BAD_REQUEST, "The body must be one JSON-RPC request or notification")
    served = ServedRequest(request, principal_of(request), default_operations())
    decoded = {name: getattr(message, name) for name in message.model_fields_set}
    route = classify_inbound_request(decoded, headers=served.folded_headers)
    if isinstance(route, InboundLadderRejection):
        return _rejected(route, message.id)
    serving = await current_loop()
    is_subscription = message.method == "subscriptions/listen"
    seconds = stream_seconds(request) if is_subscription else None
    farewell = sse.farewell(route.protocol_version, conf.STREAM_RETRY_MS)
    if is_polled(request, seconds):
        # Ended by the server, and not lost: a client that lost it would listen again at once, and for ever.
        farewell = sse.message(encode(_ended(message)))
    outbox = Outbox(lambda: left(), farewell)
    answer = TransientStream(outbox)
    connection, channel = kernel.modern_connection(route), TransientChannel(answer)
    exchange = kernel.Exchange(serving.server, serving.lifespan_state, served, connection, channel)
    if message.method == "tools/call":
        rejected = await param_headers.param_header_rejection(
            exchange.server,
            exchange.context(message),
            kernel.modern_connection(route),
            exchange.lifespan_state,
            message,
            served.folded_headers,
        )
        if rejected is not None:
            return _rejected(rejected, message.id)

    # A subscription that ends at once hears of nothing.
    leave = await serving.worker.notifications.attend() if is_subscription and seconds != 0 else None
    handler = handling.begin(serving, exchange, message, answer, outbox, size=size)

    def left() -> None:
        # Cancellation, 2026-07-28: a client cancels a request by closing its response.
        serving.worker.clients.discard(outbox)
        handler.cancel()
        if leave is not None:
            leave()

    return await respond(
        serving,
        outbox,
        answer.open,
        may_return=is_subscription,
        statuses=True,
        seconds=seconds,
    )


def _rejected(rejection: InboundLadderRejection, request_id: RequestId | None) -> HttpResponse:
    status = ERROR_CODE_HTTP_STATUS.get(rejection.code, HTTPStatus.BAD_REQUEST)
    return error_answer(
        status,
        rejection.message,
        rejection.code,
        request_id=request_id,
        data=rejection.data,
        reason=_REASONS.get(rejection.code, f"JSON-RPC error {rejection.code}"),
    )


def _ended(message: JSONRPCRequest) -> dict[str, object]:
    """What ends a subscription (2026-07-28, "Subscriptions"): its result, which names it."""
    result = {"_meta": {SUBSCRIPTION_ID_META_KEY: message.id}, "resultType": "complete"}
    return {"jsonrpc": "2.0", "id": message.id, "result": result}
