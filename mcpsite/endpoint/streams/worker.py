"""This process among the workers of the service: what runs, waits and streams here, and what is told to the others.

Runs on the event loop. What happens in this process is acted on at once; what other workers did arrives by the bus.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import anyio
from mcp_types import JSONRPCError, JSONRPCResponse, RequestId

from mcpsite.endpoint.conf import conf
from mcpsite.endpoint.peers.poller import Poller
from mcpsite.endpoint.streams.awaited import AwaitedReplies
from mcpsite.endpoint.streams.bus import BusReader, published_ms
from mcpsite.endpoint.streams.channels import is_own_request_id
from mcpsite.endpoint.streams.clients import Clients
from mcpsite.endpoint.streams.held import HeldStreams
from mcpsite.endpoint.streams.host import Leased
from mcpsite.endpoint.streams.notifications import Notifications
from mcpsite.endpoint.streams.outbox import Outbox
from mcpsite.endpoint.streams.running import Running, request_key
from mcpsite.endpoint.streams.standalone import StandaloneStream, stream_id_of
from mcpsite.endpoint.wire.answers import encode
from sessions_dynamo import metrics, schema
from sessions_dynamo.asgi_server.limits import Limits
from sessions_dynamo.dataplane.loops import run
from sessions_dynamo.store.session_items import Session
from sessions_dynamo.store.session_operations import SessionOperations
from sessions_dynamo.store.session_operations import default_operations as default_sessions
from sessions_dynamo.workers.bus import STAFF, BusItem
from sessions_dynamo.workers.stream_operations import StreamOperations
from sessions_dynamo.workers.stream_operations import default_operations as default_streams


class Worker:
    """The host of all streams of a process, and what the endpoint's views talk to."""

    def __init__(self) -> None:
        self.worker_id = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self.poll_seconds: float = conf.EVENT_POLL_SECONDS
        self.lease_seconds: float = conf.STREAM_LEASE_SECONDS
        self.clients = Clients(_most_streams())
        self.notifications = Notifications(self)
        self._bus = BusReader(self, self._on_bus)
        self._poller = Poller(self, wake=self._bus.listen)
        self._running = Running(self._poller)
        self._replies = AwaitedReplies(self, self._poller)
        self._held = HeldStreams(self, self._poller)
        self._poller.attend(self._bus, self._running, self._replies, self._held)

    @property
    def sessions(self) -> SessionOperations:
        """What is asked of the sessions table."""
        return default_sessions()

    @property
    def streams(self) -> StreamOperations:
        """What workers ask of the events table."""
        return default_streams()

    async def run(self) -> None:
        """Serve until cancelled."""
        try:
            with metrics.gauge(metrics.OPEN_STREAMS, lambda: self.clients.streaming):
                await self._poller.run()
        finally:
            self.notifications.detach()

    async def drain(self, seconds: float) -> None:
        """Let what runs here finish, for at most ``seconds``."""
        with anyio.move_on_after(seconds):
            while self._running or self._held.owned or self.notifications.is_spreading:
                await asyncio.sleep(0.05)

    async def spread(self, seconds: float) -> None:
        """Let what was published here reach the other workers, for at most ``seconds``."""
        with anyio.move_on_after(seconds):
            while self.notifications.is_spreading:
                await asyncio.sleep(0.05)

    # --- Requests that run here, and requests of ours to clients ----------------------------------------------

    def running(
        self, session_id: str, request_id: RequestId, hang_up: Callable[[], None]
    ) -> AbstractContextManager[anyio.CancelScope]:
        """A request of a session while it is served; cancelling the scope is what ``notifications/cancelled`` does.

        ``hang_up`` ends its response without an answer, for a client that has ended its session.
        """
        return self._running.serving(session_id, request_id, hang_up)

    async def cancel(self, session_id: str, request_id: RequestId) -> None:
        """Cancel a request of a session, wherever it runs; one that runs nowhere is let be. Raises ``StorageError``.

        Other workers hear of it also where one ran here: a client may use one id for several at once.
        """
        key = (session_id, request_key(request_id))
        self._running.cancel(key, schema.now_ms())
        await self._publish("cancel", [*key])

    def expect_reply(self, session_id: str, request_id: str) -> AbstractContextManager[asyncio.Future[dict[str, Any]]]:
        """The client's answer to a request that is about to be sent."""
        return self._replies.expect(session_id, request_id)

    async def accept_reply(self, session_id: str, message: JSONRPCResponse | JSONRPCError) -> None:
        """Take a client's answer to whoever waits for it; a second answer to one request is ignored.

        Raises ``StorageError``.
        """
        if not isinstance(message.id, str) or not is_own_request_id(message.id):
            return
        # By way of Python's own objects: a lone surrogate is an escape here, and an error to Pydantic.
        text = encode(message.model_dump(mode="json", by_alias=True, exclude_none=True))
        is_first = await run(self.streams.replies.put(session_id, message.id, text))
        if is_first and not self._replies.resolve((session_id, message.id), text):
            await self._publish("reply", [session_id, message.id])

    # --- Streams ----------------------------------------------------------------------------------------------

    async def resume(self, session: Session, cursor: str, outbox: Outbox) -> None:
        """Send a client what came after ``cursor`` in that stream, and what follows.

        Raises ``UnknownStream`` or ``StorageError``.
        """
        await self._held.resume(session, cursor, outbox)

    async def hold(self, session: Session, outbox: Outbox, cursor: str | None = None) -> None:
        """Make this response the session's standalone stream; an older one, wherever it is, ends.

        Raises ``StorageError``.
        """
        await self._held.hold_standalone(session, outbox, cursor)

    async def send_standalone(self, session: Session, event_type: str, data: str) -> None:
        """Send a message on a session's standalone stream, or leave it for whoever holds that.

        Raises ``StorageError``; ``EventTooLarge`` is one.
        """
        if await self._held.deliver_standalone(session.session_id, event_type, data):
            return
        await run(self.streams.send(session.session_id, stream_id_of(session), event_type, data))
        # It may have been opened here meanwhile.
        self._held.wake_standalone(session.session_id)
        await self._publish("inbox", [session.session_id])

    async def close_standalone(self, session_id: str) -> None:
        """``ctx.close_standalone_sse_stream()``: let the client reopen it. Raises ``StorageError``."""
        self._held.close_standalone(session_id, schema.now_ms())
        await self._publish("close_standalone", [session_id])

    async def end_session(self, session_id: str) -> None:
        """Close what a session has open that its client has ended, on every worker. Raises ``StorageError``."""
        self._end_here(session_id, hang_up=True)
        await self._publish("ended", [session_id])

    def held_sessions(self) -> dict[str, StandaloneStream]:
        """The standalone streams that are open here, by session."""
        return self._held.open_standalone()

    def own(self, stream: Leased) -> None:
        """Renew a stream's lease from now on."""
        self._held.own(stream)

    def disown(self, stream: Leased) -> None:
        """The stream has ended, or is given up."""
        self._held.disown(stream)

    def owns(self, stream_id: str) -> bool:
        """Whether a stream runs here."""
        return stream_id in self._held.owned

    def wake_followers(self, stream_id: str) -> None:
        """A stream of this process has something new."""
        self._held.wake_followers(stream_id)

    def close_followers(self, stream_id: str) -> None:
        """Let the clients that follow a stream here go, to come back later."""
        self._held.close_followers(stream_id)

    # --- The other workers ------------------------------------------------------------------------------------

    async def publish_notification(self, payload: Any) -> None:
        """Tell every other worker of a server event. Raises ``StorageError``."""
        await self._publish("notification", payload)

    async def _publish(self, topic: str, payload: Any) -> None:
        await run(self.streams.bus.publish(self.worker_id, topic, payload))

    def _on_bus(self, item: BusItem) -> None:
        match item.topic, item.payload:
            case "reply", [session_id, request_id] if (session_id, request_id) in self._replies:
                self._poller.begin(item.bus_id, lambda: self._replies.fetch([(session_id, request_id)]))
            case "cancel", [session_id, request_id]:
                self._running.cancel((session_id, request_id), published_ms(item))
            case "inbox", [session_id]:
                self._held.wake_standalone(session_id)
            case "close_standalone", [session_id]:
                self._held.close_standalone(session_id, published_ms(item))
            case "ended", [session_id]:
                # By staff its client may be waiting, and learns of it by an error.
                self._end_here(session_id, hang_up=item.origin != STAFF)
            case "notification", payload:
                self._poller.begin(item.bus_id, lambda: self.notifications.on_remote(payload, published_ms(item)))

    def _end_here(self, session_id: str, *, hang_up: bool) -> None:
        self._held.end_session(session_id)
        self._running.end_session(session_id, hang_up=hang_up)


def _most_streams() -> int:
    """``MAX_STREAMS``, or as many as leave an eighth of the connections that open files allow to calls."""
    connections = Limits.of_settings().max_connections
    return max(1, min(conf.MAX_STREAMS, connections - connections // 8))
