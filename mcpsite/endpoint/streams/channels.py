"""Where a handler's own messages go: its request's stream, its session's standalone stream, or nowhere."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Final, Protocol, get_args

import anyio
from mcp.shared.dispatcher import CallOptions
from mcp.shared.exceptions import MCPError, NoBackChannelError
from mcp_types import REQUEST_TIMEOUT, ErrorData, LoggingLevel

from mcpsite.endpoint.streams.owned import OwnedStream
from mcpsite.endpoint.streams.transient import TransientStream
from mcpsite.endpoint.wire.answers import encode
from sessions_dynamo import worker_keys
from sessions_dynamo.errors import StorageError
from sessions_dynamo.store.session_items import Session

logger = logging.getLogger(__name__)

Params = Mapping[str, Any] | None

LOG_LEVELS: Final[tuple[LoggingLevel, ...]] = get_args(LoggingLevel)
"""From the least severe to the most (RFC 5424)."""
WITHDRAW_SECONDS: Final = 5.0


def _message(method: str, params: Params, request_id: str | None = None) -> dict[str, Any]:
    message: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
    if request_id is not None:
        message["id"] = request_id
    if params is not None:
        message["params"] = dict(params)
    return message


class Messenger(Protocol):
    """What a channel needs of its process."""

    worker_id: str

    def expect_reply(self, session_id: str, request_id: str) -> AbstractContextManager[Awaitable[dict[str, Any]]]:
        """The client's answer to a request that is about to be sent."""
        ...

    async def send_standalone(self, session: Session, event_type: str, data: str) -> None:
        """Send a message on a session's standalone stream, or leave it for whoever holds that.

        Raises ``StorageError``; ``EventTooLarge`` is one.
        """
        ...


class SessionChannel:
    """What both channels of a client with a session share: the log level's filter, and requests to the client."""

    can_send_request = True

    def __init__(self, messenger: Messenger, session: Session) -> None:
        self._messenger = messenger
        self._session = session

    async def send_raw_request(self, method: str, params: Params, opts: CallOptions | None = None) -> dict[str, Any]:
        """Ask the client; its answer may come by any worker. Raises ``MCPError`` for an error or a timeout."""
        request_id = worker_keys.question_id(self._messenger.worker_id)
        with self._messenger.expect_reply(self._session.session_id, request_id) as reply:
            timeout = (opts or {}).get("timeout")
            try:
                # Cancelled while it is sent, it may have reached the client all the same.
                await self._send(_message(method, params, request_id))
                with anyio.fail_after(timeout):
                    answer = await reply
            except anyio.get_cancelled_exc_class():
                with anyio.move_on_after(WITHDRAW_SECONDS, shield=True):
                    await self._withdraw(request_id, "cancelled")
                raise
            except TimeoutError:
                await self._withdraw(request_id, "timed out")
                raise MCPError(REQUEST_TIMEOUT, f"The client did not answer {method} in {timeout} s.") from None
        if "error" in answer:
            raise MCPError.from_error_data(ErrorData.model_validate(answer["error"]))
        result: dict[str, Any] = answer["result"]
        return result

    async def notify(self, method: str, params: Params, opts: CallOptions | None = None) -> None:
        """Tell the client; log messages below the session's level are dropped."""
        if method == "notifications/message" and not self._is_logged(params):
            return
        await self._tell(_message(method, params))

    async def _tell(self, message: dict[str, Any]) -> None:
        """Send what nothing depends on."""
        await self._send(message)

    async def _send(self, message: dict[str, Any]) -> None:
        """Send; raises ``StorageError`` where that failed."""
        raise NotImplementedError

    async def _withdraw(self, request_id: str, reason: str) -> None:
        try:
            await self._send(_message("notifications/cancelled", {"requestId": request_id, "reason": reason}))
        except StorageError as exc:
            # Its answer is ignored, should it come.
            logger.info("a client was not told that a request is withdrawn: %s", exc)

    def _is_logged(self, params: Params) -> bool:
        wanted, level = self._session.log_level, (params or {}).get("level")
        if wanted not in LOG_LEVELS or level not in LOG_LEVELS:
            return True
        return LOG_LEVELS.index(level) >= LOG_LEVELS.index(wanted)


class RequestChannel(SessionChannel):
    """The stream of the request that a handler serves."""

    def __init__(self, messenger: Messenger, session: Session, stream: OwnedStream) -> None:
        super().__init__(messenger, session)
        self._stream = stream

    async def _tell(self, message: dict[str, Any]) -> None:
        await self._stream.queue(message)

    async def _send(self, message: dict[str, Any]) -> None:
        await self._stream.emit(message)


class StandaloneChannel(SessionChannel):
    """The session's standalone stream, wherever its holder is."""

    async def _send(self, message: dict[str, Any]) -> None:
        await self._messenger.send_standalone(self._session, message["method"], encode(message))


class TransientChannel:
    """The answer to one request of 2026-07-28, which has no requests to the client."""

    can_send_request = False

    def __init__(self, stream: TransientStream) -> None:
        self._stream = stream

    async def send_raw_request(self, method: str, params: Params, opts: CallOptions | None = None) -> dict[str, Any]:
        raise NoBackChannelError(method)

    async def notify(self, method: str, params: Params, opts: CallOptions | None = None) -> None:
        await self._stream.emit(encode(_message(method, params)))
