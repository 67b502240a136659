"""One inbound message through the SDK's kernel, on the event loop.

The only module that touches the SDK's dispatcher seam, which the SDK documents as provisional.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import anyio
import anyio.abc
from mcp.server.connection import Connection
from mcp.server.lowlevel import Server
from mcp.server.runner import serve_connection, serve_one
from mcp.shared.dispatcher import CallOptions, OnNotify, OnNotifyIntercept, OnRequest, Outbound
from mcp.shared.exceptions import NoBackChannelError
from mcp.shared.inbound import InboundModernRoute
from mcp.shared.jsonrpc_dispatcher import progress_token_from_params
from mcp.shared.message import CloseSSEStreamCallback, MessageMetadata, ServerMessageMetadata
from mcp.shared.transport_context import TransportContext
from mcp_types import (
    SERVER_INFO_META_KEY,
    InitializeRequestParams,
    JSONRPCError,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
    ProgressToken,
    RequestId,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from mcpsite.blocking.database import given_back
from mcpsite.endpoint.serving.errors import error_data
from mcpsite.endpoint.serving.one_way import CannotAsk
from mcpsite.endpoint.serving.request import ServedRequest
from mcpsite.endpoint.wire.answers import Reply
from sessions_dynamo.dataplane.loops import run
from sessions_dynamo.errors import StorageError
from sessions_dynamo.store.session_items import Session
from sessions_dynamo.store.session_operations import default_operations

logger = logging.getLogger(__name__)

TRANSPORT_KIND: Final = "streamable-http"
Params = Mapping[str, Any] | None


class Channel(Outbound, Protocol):
    """Where a message's handler sends its own messages to the client."""

    @property
    def can_send_request(self) -> bool: ...


class NoChannel:
    """The channel of an answer that is one JSON body: it drops notifications and refuses requests."""

    can_send_request = False

    async def send_raw_request(self, method: str, params: Params, opts: CallOptions | None = None) -> dict[str, Any]:
        raise NoBackChannelError(method)

    async def notify(self, method: str, params: Params, opts: CallOptions | None = None) -> None:
        logger.debug("dropped %s: the answer is one JSON body", method)


@dataclass
class MessageContext:
    """The SDK's ``DispatchContext`` for one inbound message, over a channel."""

    transport: TransportContext
    message_metadata: MessageMetadata
    channel: Channel
    request_id: RequestId | None = None
    progress_token: ProgressToken | None = None
    cancel_requested: anyio.Event = field(default_factory=anyio.Event)

    @property
    def can_send_request(self) -> bool:
        return self.channel.can_send_request

    async def send_raw_request(self, method: str, params: Params, opts: CallOptions | None = None) -> dict[str, Any]:
        return await self.channel.send_raw_request(method, params, opts)

    async def notify(self, method: str, params: Params, opts: CallOptions | None = None) -> None:
        await self.channel.notify(method, params, opts)

    async def progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        if self.progress_token is None:
            return
        params: dict[str, Any] = {"progressToken": self.progress_token, "progress": progress}
        params |= {name: value for name, value in (("total", total), ("message", message)) if value is not None}
        await self.notify("notifications/progress", params)


class OneNotification(NoChannel):
    """The SDK's ``Dispatcher`` for a connection that carries one inbound notification, then closes."""

    def __init__(self, context: MessageContext, message: JSONRPCNotification) -> None:
        self._context = context
        self._message = message

    async def run(
        self,
        on_request: OnRequest,
        on_notify: OnNotify,
        on_notify_intercept: OnNotifyIntercept | None = None,
        *,
        task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
    ) -> None:
        task_status.started()
        await on_notify(self._context, self._message.method, self._message.params)


@dataclass(frozen=True, slots=True)
class Exchange:
    """What serving one message needs besides the message."""

    server: Server[Any]
    lifespan_state: Any
    request: ServedRequest
    connection: Connection
    channel: Channel
    close_sse_stream: CloseSSEStreamCallback | None = None
    close_standalone_sse_stream: CloseSSEStreamCallback | None = None

    def context(self, message: JSONRPCRequest | JSONRPCNotification) -> MessageContext:
        transport = TransportContext(
            kind=TRANSPORT_KIND, can_send_request=self.channel.can_send_request, headers=self.request.headers
        )
        metadata = ServerMessageMetadata(
            request_context=self.request,
            close_sse_stream=self.close_sse_stream,
            close_standalone_sse_stream=self.close_standalone_sse_stream,
            can_send_request=transport.can_send_request,
        )
        return MessageContext(
            transport=transport,
            message_metadata=metadata,
            channel=self.channel,
            request_id=message.id if isinstance(message, JSONRPCRequest) else None,
            progress_token=progress_token_from_params(message.params),
        )


def legacy_connection(request: ServedRequest, session_id: str, standalone: Channel) -> Connection:
    """The connection of a client with a session, as its handshake left it; a new one without a stored session."""
    stored = request.stored
    connection = Connection.for_loop(
        standalone,
        session_id=session_id,
        protocol_version_hint=stored.protocol_version if stored else None,
    )
    if stored is not None and stored.client_params_text is not None:
        text = stored.client_params_text
        connection.client_params = InitializeRequestParams.model_validate_json(text, by_name=False)
        if stored.initialized_at is not None:
            connection.initialized.set()
    return connection


def modern_connection(route: InboundModernRoute) -> Connection:
    """The connection of a request that carries its own envelope (2026-07-28)."""
    return Connection.from_envelope(route.protocol_version, route.client_info, route.client_capabilities)


async def serve_request(exchange: Exchange, message: JSONRPCRequest) -> Reply:
    """The reply to one request, its session's changes saved first as one unit.

    Never raises for what a handler does: an error is a reply. A tool that failed has changed nothing.
    """
    try:
        async with given_back():
            result = await serve_one(
                exchange.server,
                exchange.context(message),
                message.method,
                message.params,
                connection=exchange.connection,
                lifespan_state=exchange.lifespan_state,
            )
    except CannotAsk as exc:
        reply: Reply = _refused(exchange, message, exc)
    except (Exception, SystemExit) as exc:
        # A handler that calls sys.exit() ends itself, not the loop that serves everybody.
        reply = _error_reply(exchange, message, exc)
    else:
        reply = JSONRPCResponse(jsonrpc="2.0", id=message.id, result=result)
        if message.method in _REMEMBERED and exchange.request.stored is not None:
            return await _remember(exchange, exchange.request.stored, message, reply)
    if is_failure(reply):
        exchange.request.discard()
    changed = exchange.request.changed
    try:
        await exchange.request.save()
    except StorageError as exc:
        if changed:
            return _refused(exchange, message, exc)
        # Only its activity was not recorded; what it read stands.
        logger.info("the activity of a session was not recorded: %s", type(exc).__name__)
    return reply


async def serve_notification(exchange: Exchange, message: JSONRPCNotification) -> None:
    """Let the server see one notification; its handler's failure is logged by the SDK."""
    async with given_back():
        await serve_connection(
            exchange.server,
            OneNotification(exchange.context(message), message),
            connection=exchange.connection,
            lifespan_state=exchange.lifespan_state,
        )


def is_failure(reply: Reply) -> bool:
    """Whether a reply is an error, or a tool's result that says it failed."""
    return isinstance(reply, JSONRPCError) or bool(reply.result.get("isError"))


_REMEMBERED: Final[Mapping[str, Callable[[Session, Mapping[str, Any]], Awaitable[None]]]] = {
    "logging/setLevel": lambda session, params: run(default_operations().update(session, log_level=params["level"])),
    "resources/subscribe": lambda session, params: run(default_operations().subscribe(session, str(params["uri"]))),
    "resources/unsubscribe": lambda session, params: run(default_operations().unsubscribe(session, str(params["uri"]))),
}


async def _remember(exchange: Exchange, session: Session, message: JSONRPCRequest, reply: Reply) -> Reply:
    """Keep with the session what a client set by a request, for every worker to honour."""
    try:
        await _REMEMBERED[message.method](session, message.params or {})
    except StorageError as exc:
        return _error_reply(exchange, message, exc)
    return reply


def _error_reply(exchange: Exchange, message: JSONRPCRequest, exc: BaseException) -> JSONRPCError:
    error = error_data(exc, exchange.connection.protocol_version)
    return JSONRPCError(jsonrpc="2.0", id=message.id, error=error)


def _refused(exchange: Exchange, message: JSONRPCRequest, exc: StorageError | CannotAsk) -> Reply:
    """The reply where a handler did right, and its changes cannot be saved or its client not be asked: a tool's error
    that a model can act on."""
    if message.method != "tools/call":
        return _error_reply(exchange, message, exc)
    result: dict[str, Any] = {"content": [{"type": "text", "text": str(exc)}], "isError": True}
    if exchange.connection.protocol_version in MODERN_PROTOCOL_VERSIONS:
        result |= {"resultType": "complete", "_meta": {SERVER_INFO_META_KEY: exchange.server.server_info_stamp}}
    return JSONRPCResponse(jsonrpc="2.0", id=message.id, result=result)
