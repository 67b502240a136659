"""Everything that streams and waits in this process, and the one poller that serves it all.

Runs on the event loop. Nothing is read while nothing waits. What happens in this process is acted on at once; what
other workers did arrives by the bus, which is read every ``EVENT_POLL_SECONDS``.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, TypeVar

import anyio
from anyio import to_thread
from django.conf import settings
from mcp.shared.dispatcher import coerce_request_id
from mcp_types import JSONRPCError, JSONRPCResponse, RequestId

from mcpsite.endpoint.answers import encode
from mcpsite.endpoint.streams import sse
from mcpsite.endpoint.streams.channels import is_own_request_id
from mcpsite.endpoint.streams.clients import ClientWatch
from mcpsite.endpoint.streams.follow import IDLE_FACTOR, Follower
from mcpsite.endpoint.streams.notifications import Notifications
from mcpsite.endpoint.streams.outbox import Outbox
from mcpsite.endpoint.streams.owned import OwnedStream
from mcpsite.endpoint.streams.standalone import StandaloneStream, stream_id_of
from sessions_dynamo import metrics, schema
from sessions_dynamo.errors import StorageError
from sessions_dynamo.sessions import Session, SessionStore
from sessions_dynamo.sessions import default_store as default_sessions
from sessions_dynamo.streams import BusItem, StreamStore
from sessions_dynamo.streams import default_store as default_streams

logger = logging.getLogger(__name__)

T = TypeVar("T")

STORAGE_THREADS: Final = 40
"""Of their own: tools that hold every thread of AnyIO's must not cost this worker its leases."""
CONCURRENT_READS: Final = 8
OVERLAP_MS: Final = 3000
"""The bus is read again this far back: another host's clock may be behind, and its write may be under way."""

Key = tuple[str, str]
"""A session's id and, in it, a request's."""


class UnknownStream(Exception):
    """A ``Last-Event-ID`` of no stream of the session: never stored, or no longer."""


class Worker:
    """This process, among the workers of the service."""

    def __init__(self) -> None:
        self.worker_id = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self.poll_seconds: float = settings.EVENT_POLL_SECONDS
        self.lease_seconds: float = settings.STREAM_LEASE_SECONDS
        self.retry_ms: int = settings.STREAM_RETRY_MS
        self.owned: dict[str, OwnedStream] = {}
        self.clients = ClientWatch(settings.MAX_STREAMS, self.retry_ms)
        self.notifications = Notifications(self)
        self._running: dict[Key, tuple[anyio.CancelScope, int]] = {}
        self._replies: dict[Key, asyncio.Future[dict[str, Any]]] = {}
        self._standalone: dict[str, StandaloneStream] = {}
        self._followers: set[Follower] = set()
        self._something = asyncio.Event()
        self._poke = asyncio.Event()
        self._threads = anyio.CapacityLimiter(STORAGE_THREADS)
        self._reads = asyncio.Semaphore(CONCURRENT_READS)
        self._steps: asyncio.TaskGroup
        self._under_way: set[object] = set()
        self._seen: set[str] = set()
        self._bus_from_ms = 0
        self._next_bus = self._next_renewal = self._next_fallback = 0.0

    @property
    def sessions(self) -> SessionStore:
        """The store of sessions."""
        return default_sessions()

    @property
    def streams(self) -> StreamStore:
        """The store of streams."""
        return default_streams()

    async def store(self, function: Callable[..., T], *args: Any) -> T:
        """Call a store, which blocks, in a thread."""
        return await to_thread.run_sync(function, *args, limiter=self._threads)

    # --- Requests that run here -------------------------------------------------------------------------------

    @contextmanager
    def running(self, session_id: str, request_id: RequestId) -> Iterator[anyio.CancelScope]:
        """A request of a session while it is served; cancelling the scope is what ``notifications/cancelled`` does."""
        key = (session_id, request_key(request_id))
        with anyio.CancelScope() as scope:
            self._running[key] = scope, schema.now_ms()
            self._stir()
            try:
                yield scope
            finally:
                if self._running.get(key, (None,))[0] is scope:
                    del self._running[key]

    async def cancel(self, session_id: str, request_id: RequestId) -> None:
        """Cancel a request of a session, wherever it runs; one that runs nowhere is let be."""
        if not self._cancel_here((session_id, request_key(request_id)), schema.now_ms()):
            await self._publish("cancel", [session_id, request_key(request_id)])

    def _cancel_here(self, key: Key, at_ms: int) -> bool:
        scope, started_ms = self._running.get(key, (None, 0))
        # A request id may be used again: an older cancellation was not meant for this request.
        if scope is None or started_ms > at_ms:
            return False
        scope.cancel()
        return True

    async def drain(self, seconds: float) -> None:
        """Let what runs here finish, for at most ``seconds``."""
        with anyio.move_on_after(seconds):
            while self._running or self.owned or self.notifications.is_spreading:
                await asyncio.sleep(0.05)

    # --- Requests of ours to clients --------------------------------------------------------------------------

    @contextmanager
    def expect_reply(self, session_id: str, request_id: str) -> Iterator[asyncio.Future[dict[str, Any]]]:
        """The client's answer to a request that is about to be sent."""
        key = (session_id, request_id)
        reply: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._replies[key] = reply
        self._stir()
        try:
            yield reply
        finally:
            self._replies.pop(key, None)

    async def accept_reply(self, session_id: str, message: JSONRPCResponse | JSONRPCError) -> None:
        """Take a client's answer to whoever waits for it; a second answer to one request is ignored."""
        if not isinstance(message.id, str) or not is_own_request_id(message.id):
            return
        # By way of Python's own objects: a lone surrogate is an escape here, and an error to Pydantic.
        text = encode(message.model_dump(mode="json", by_alias=True, exclude_none=True))
        is_first = await self.store(self.streams.reply, session_id, message.id, text)
        if is_first and not self._resolve((session_id, message.id), text):
            await self._publish("reply", [session_id, message.id])

    def _resolve(self, key: Key, text: str) -> bool:
        reply = self._replies.get(key)
        if reply is None:
            return False
        if not reply.done():
            reply.set_result(json.loads(text))
        return True

    async def _fetch_replies(self, keys: list[Key]) -> None:
        for key, text in (await self.store(self.streams.replies, keys)).items():
            self._resolve(key, text)

    # --- Streams ----------------------------------------------------------------------------------------------

    async def resume(self, session: Session, cursor: str, outbox: Outbox) -> None:
        """Send a client what came after ``cursor`` in that stream, and what follows.

        Raises ``UnknownStream`` or ``StorageError``.
        """
        position = schema.parse_event_id(cursor)
        if position is None:
            raise UnknownStream
        stream_id = position[0]
        if stream_id == stream_id_of(session):
            await self.hold(session, outbox, cursor)
            metrics.count("StreamResumed")
            return
        lease = await self.store(self.streams.lease, session.session_id, stream_id)
        if lease is None:
            raise UnknownStream
        follower = Follower(self, session.session_id, cursor, stream_id, outbox, lease.expires)
        goes_on = await follower.poll()
        metrics.count("StreamResumed")
        if goes_on:
            self._followers.add(follower)
            self._stir()

    async def hold(self, session: Session, outbox: Outbox, cursor: str | None = None) -> None:
        """Make this response the session's standalone stream; an older one, wherever it is, ends."""
        stream = StandaloneStream(self, session, outbox)
        older = self._standalone.get(session.session_id)
        self._standalone[session.session_id] = stream
        try:
            await stream.start(cursor)
        except BaseException:
            stream.close()
            raise
        finally:
            if self._standalone.get(session.session_id) is not stream:
                # A newer one came meanwhile, and may have been the first to take over.
                stream.close()
            if older is not None:
                older.close()
            self._stir()

    async def send_standalone(self, session: Session, event_type: str, data: str) -> None:
        """Send a message on a session's standalone stream, or leave it for whoever holds that."""
        while (held := self._standalone.get(session.session_id)) is not None and not held.outbox.closed:
            if await held.deliver(event_type, data):
                return
        await self.store(self.streams.send, session.session_id, stream_id_of(session), event_type, data)
        if (held := self._standalone.get(session.session_id)) is not None:
            # It was opened meanwhile.
            held.wake()
            self._poke.set()
        await self._publish("inbox", [session.session_id])

    async def close_standalone(self, session_id: str) -> None:
        """``ctx.close_standalone_sse_stream()``: let the client reopen it."""
        self._close_standalone_here(session_id, schema.now_ms())
        await self._publish("close_standalone", [session_id])

    async def end_session(self, session_id: str) -> None:
        """Close what a session that was terminated has open, on every worker."""
        self._end_here(session_id)
        await self._publish("ended", [session_id])

    def held_sessions(self) -> dict[str, StandaloneStream]:
        """The standalone streams that are open here, by session."""
        return {key: stream for key, stream in self._standalone.items() if not stream.outbox.closed}

    def own(self, stream: OwnedStream) -> None:
        """Renew a stream's lease from now on."""
        if not self.owned:
            self._next_renewal = time.monotonic() + self.lease_seconds / 3
        self.owned[stream.stream_id] = stream
        self._stir()

    def disown(self, stream: OwnedStream) -> None:
        """The stream has ended, or is given up."""
        self.owned.pop(stream.stream_id, None)

    def wake_followers(self, stream_id: str) -> None:
        """A stream of this process has something new."""
        for follower in self._followers:
            if follower.stream_id == stream_id:
                follower.wake()
                self._poke.set()

    def close_followers(self, stream_id: str) -> None:
        """Let the clients that follow a stream here go, to come back later."""
        for follower in self._followers:
            if follower.stream_id == stream_id:
                follower.outbox.close(sse.retry(self.retry_ms))

    def _close_standalone_here(self, session_id: str, at_ms: int) -> None:
        stream = self._standalone.get(session_id)
        # The client may be back already: an older request to let it go was not meant for this stream.
        if stream is not None and stream.opened_ms <= at_ms:
            stream.close(sse.retry(self.retry_ms))

    def _end_here(self, session_id: str) -> None:
        if (stream := self._standalone.pop(session_id, None)) is not None:
            stream.close()
        for follower in self._followers:
            if follower.session_id == session_id:
                follower.outbox.close()
        for (running_in, _), (scope, _) in list(self._running.items()):
            if running_in == session_id:
                scope.cancel()

    # --- The poller -------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve until cancelled."""
        try:
            async with asyncio.TaskGroup() as self._steps:
                while True:
                    await self._something.wait()
                    self._bus_from_ms = schema.now_ms() - OVERLAP_MS
                    self._next_bus = time.monotonic() + self.poll_seconds
                    while self._is_waiting():
                        try:
                            async with asyncio.timeout(self._next_bus - time.monotonic()):
                                await self._poke.wait()
                        except TimeoutError:
                            pass
                        self._poke.clear()
                        if self._is_waiting():
                            self._tick()
                    self._something.clear()
        finally:
            self.notifications.detach()

    def _stir(self) -> None:
        self._something.set()

    async def watch(self, outbox: Outbox, client: Any, *, may_return: bool) -> None:
        """Watch the client of a response that has begun to stream."""
        self.clients.add(outbox, client, may_return=may_return)
        self._stir()

    def _is_waiting(self) -> bool:
        return bool(self._running or self._replies or self._standalone or self._followers or self.owned or self.clients)

    def _tick(self) -> None:
        """Begin what is due; what takes long holds up nothing but itself."""
        now = time.monotonic()
        if now >= self._next_bus:
            self._next_bus = now + self.poll_seconds
            self._begin("clients", self._close_gone)
            self._begin("bus", self._read_bus)
        if self.owned and now >= self._next_renewal:
            self._begin("leases", self._renew)
        if self._replies and now >= self._next_fallback:
            # The bus wakes every wait; this is for a notification that could not be published.
            self._next_fallback = now + self.poll_seconds * IDLE_FACTOR
            self._begin("replies", lambda: self._fetch_replies(list(self._replies)))
        for follower in self._followers:
            if now >= follower.next_poll or follower.outbox.closed:
                self._begin(follower, partial(self._follow, follower))
        for stream in self._standalone.values():
            if now >= stream.next_poll or stream.outbox.closed:
                self._begin(stream, partial(self._drain, stream))

    def _begin(self, what: object, step: Callable[[], Awaitable[Any]]) -> None:
        """Begin a step, unless it is still under way from before."""
        if what not in self._under_way:
            self._under_way.add(what)
            self._steps.create_task(self._guarded(what, step))

    async def _guarded(self, what: object, step: Callable[[], Awaitable[Any]]) -> None:
        try:
            await step()
        except StorageError as exc:
            logger.warning("a poll failed and will be repeated: %s", exc)
        except Exception:
            logger.exception("a poll failed")
        finally:
            self._under_way.discard(what)

    async def _close_gone(self) -> None:
        self.clients.close_gone()

    async def _renew(self) -> None:
        await self.store(self.streams.renew, [stream.lease for stream in self.owned.values()])
        self._next_renewal = time.monotonic() + self.lease_seconds / 3

    async def _follow(self, follower: Follower) -> None:
        async with self._reads:
            if follower.outbox.closed or not await follower.poll():
                self._followers.discard(follower)
        if follower.next_poll == 0.0:
            # Woken after it had read.
            self._poke.set()

    async def _drain(self, stream: StandaloneStream) -> None:
        async with self._reads:
            is_held = not stream.outbox.closed and await stream.drain()
        if not is_held and self._standalone.get(stream.session_id) is stream:
            del self._standalone[stream.session_id]
        if stream.next_poll == 0.0:
            # Woken after it had read.
            self._poke.set()

    async def _publish(self, topic: str, payload: Any) -> None:
        await self.store(self.streams.publish, self.worker_id, topic, payload)

    async def publish_notification(self, payload: Any) -> None:
        """Tell every other worker of a server event."""
        await self._publish("notification", payload)

    async def _read_bus(self) -> None:
        started = schema.now_ms()
        items = await self.store(self.streams.bus_since, self._bus_from_ms)
        new = [item for item in items if item.bus_id not in self._seen and item.origin != self.worker_id]
        self._bus_from_ms = started - OVERLAP_MS
        oldest = f"{self._bus_from_ms:013d}"
        self._seen = {item.bus_id for item in items if item.bus_id >= oldest}
        for item in new:
            try:
                self._on_bus(item)
            except Exception:
                # Of another version of this code, perhaps; those behind it are heard.
                logger.exception("a notification of another worker was not understood")

    def _on_bus(self, item: BusItem) -> None:
        match item.topic, item.payload:
            case "reply", [session_id, request_id] if (session_id, request_id) in self._replies:
                self._begin(item.bus_id, lambda: self._fetch_replies([(session_id, request_id)]))
            case "cancel", [session_id, request_id]:
                self._cancel_here((session_id, request_id), _published_ms(item))
            case "inbox", [session_id] if session_id in self._standalone:
                self._standalone[session_id].wake()
                self._poke.set()
            case "close_standalone", [session_id]:
                self._close_standalone_here(session_id, _published_ms(item))
            case "ended", [session_id]:
                self._end_here(session_id)
            case "notification", payload:
                self._begin(item.bus_id, lambda: self.notifications.on_remote(payload, _published_ms(item)))


def request_key(request_id: RequestId) -> str:
    """A request's id as text; "7" and 7 are one, as in the SDK."""
    return str(coerce_request_id(request_id))


def _published_ms(item: BusItem) -> int:
    return int(item.bus_id.partition("-")[0])
