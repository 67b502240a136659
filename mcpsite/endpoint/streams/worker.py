"""This process among the workers of the service: what runs, waits and streams here, and what is told to the others.

Runs on the event loop. What happens in this process is acted on at once; what other workers have for it they leave in
its inbox.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, Final

import anyio
from mcp_types import JSONRPCError, JSONRPCResponse, RequestId

from mcpsite.endpoint.conf import conf
from mcpsite.endpoint.peers.bell import chosen_bell
from mcpsite.endpoint.peers.bell_channels import inbox_channel, news_channel, stream_channel
from mcpsite.endpoint.peers.inbox import Inbox
from mcpsite.endpoint.peers.lease import WorkerLease
from mcpsite.endpoint.peers.news import NewsReader
from mcpsite.endpoint.peers.poller import Poller
from mcpsite.endpoint.peers.telling import Teller
from mcpsite.endpoint.peers.traces import Traces
from mcpsite.endpoint.peers.watch import LeaseWatch
from mcpsite.endpoint.streams.awaited import AwaitedReplies
from mcpsite.endpoint.streams.clients import Clients
from mcpsite.endpoint.streams.hearing import Hearing
from mcpsite.endpoint.streams.held import HeldStreams
from mcpsite.endpoint.streams.host import Leased
from mcpsite.endpoint.streams.notifications import Notifications
from mcpsite.endpoint.streams.outbox import Outbox
from mcpsite.endpoint.streams.running import Running, request_key
from mcpsite.endpoint.streams.standalone import StandaloneStream, stream_id_of
from mcpsite.endpoint.wire.answers import encode
from sessions_dynamo import metrics, worker_keys
from sessions_dynamo.asgi_server.limits import Limits
from sessions_dynamo.dataplane.loops import run
from sessions_dynamo.errors import StorageError
from sessions_dynamo.store.session_items import Session
from sessions_dynamo.store.session_operations import SessionOperations
from sessions_dynamo.store.session_operations import default_operations as default_sessions
from sessions_dynamo.workers.stream_operations import StreamOperations
from sessions_dynamo.workers.stream_operations import default_operations as default_streams

logger = logging.getLogger(__name__)

RUNG_SECONDS: Final = 5.0
"""Between two looks at what the bell rings for, while it works."""
LEAVE_SECONDS: Final = 0.5
"""At most, to say that this worker is gone."""


class Worker:
    """The host of all streams of a process, and what the endpoint's views talk to."""

    def __init__(self) -> None:
        self.worker_id = worker_keys.new_worker_id()
        self.poll_seconds: float = conf.EVENT_POLL_SECONDS
        self.lease_seconds: float = conf.STREAM_LEASE_SECONDS
        self.clients = Clients(_most_streams())
        self.notifications = Notifications(self)
        self.lease = WorkerLease(self)
        self.bell = chosen_bell(self._on_bell)
        self._poller = Poller(self)
        self._traces = Traces(self, self._poller)
        self.watch = LeaseWatch(self, self._poller)
        self.news = NewsReader(self, self._poller, lambda _, payload: self.notifications.on_remote(payload))
        self.teller = Teller(self, self.news.talking, lambda: self.bell.ring(news_channel()))
        self._running = Running(self._traces)
        self._replies = AwaitedReplies(self, self._poller)
        self._held = HeldStreams(self, self._poller, self._traces)
        self._hearing = Hearing(self._running, self._replies, self._held)
        self._inbox = Inbox(self, self._poller, self._hearing.hear, self._expects_messages)
        self._poller.attend(self._inbox, self.news, self._traces, self._replies, self._held, self.watch)

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
        self.bell.listen(inbox_channel(self.worker_id), self._inbox.ring)
        self.bell.listen(news_channel(), self.news.ring)
        beside = [
            asyncio.create_task(self.lease.run(), name="mcp-lease"),
            asyncio.create_task(self.bell.run(), name="mcp-bell"),
        ]
        try:
            with metrics.gauge(metrics.OPEN_STREAMS, lambda: self.clients.streaming):
                await self._poller.run()
        finally:
            for task in beside:
                task.cancel()
            self.notifications.detach()
            self.teller.stop()
            with anyio.move_on_after(LEAVE_SECONDS, shield=True):
                await self._leave()

    def holds(self) -> dict[str, int]:
        """How many of each of ``roster.HOLDINGS`` are here."""
        calls = self._running.of_sessions
        return {
            "streams": len(self._held.owned),
            "followed": self._held.followed,
            "standalone": self._held.standalone,
            "calls": calls,
            "questions": len(self._replies),
            "subscriptions": self.notifications.listening - self._held.standalone,
        }

    async def drain(self, seconds: float) -> None:
        """Let what runs here finish, for at most ``seconds``."""
        with anyio.move_on_after(seconds):
            while self._running or self._held.owned or self.notifications.is_spreading:
                await asyncio.sleep(0.05)

    async def spread(self, seconds: float) -> None:
        """Let what was published here reach the other workers, and take back word of what is over; for at most
        ``seconds``."""
        with anyio.move_on_after(seconds):
            if self._traces.has_left_what_is_over:
                await self._take_back()
            while self.notifications.is_spreading:
                await asyncio.sleep(0.05)

    # --- Requests that run here, and requests of ours to clients ----------------------------------------------

    def running(
        self, session_id: str, request_id: RequestId, hang_up: Callable[[], None], seen: int = 0
    ) -> AbstractContextManager[anyio.CancelScope]:
        """A request of a session while it is served; cancelling the scope is what ``notifications/cancelled`` does.

        ``hang_up`` ends its response without an answer, for a client that has ended its session. ``seen`` is how many
        cancellations its session had had when it came.
        """
        # Where there are requests, others may soon have something for this worker.
        self._inbox.pace.hurry()
        self.news.pace.hurry()
        return self._running.serving(session_id, request_id, hang_up, seen)

    async def cancel(self, session: Session, request_id: RequestId) -> None:
        """Cancel a request of a session, wherever it runs; one that runs nowhere is let be. Raises ``StorageError``.

        Other workers hear of it also where one ran here: a client may use one id for several at once.
        """
        request = request_key(request_id)
        self._running.cancel((session.session_id, request))
        told = await run(self.streams.cancel(session.session_id, session.principal, request, but=self.worker_id))
        self._ring(told)

    def expect_reply(self, session_id: str, request_id: str) -> AbstractContextManager[asyncio.Future[dict[str, Any]]]:
        """The client's answer to a request that is about to be sent."""
        return self._replies.expect(session_id, request_id)

    async def accept_reply(self, session_id: str, message: JSONRPCResponse | JSONRPCError) -> None:
        """Take a client's answer to whoever waits for it; a second answer to one request is ignored.

        Raises ``StorageError``.
        """
        if not isinstance(message.id, str) or not worker_keys.is_question_id(message.id):
            return
        # By way of Python's own objects: a lone surrogate is an escape here, and an error to Pydantic.
        text = encode(message.model_dump(mode="json", by_alias=True, exclude_none=True))
        asking = worker_keys.asking_worker(message.id)
        if asking is None:
            # A worker of the version before asked, and looks for its answer there.
            await run(self.streams.replies.put(session_id, message.id, text))
        elif asking == self.worker_id:
            if (session_id, message.id) in self._replies:
                # One that came before, by another worker, may wait there.
                await self._inbox.read()
                self._replies.resolve((session_id, message.id), text)
        else:
            payload = [session_id, message.id, text]
            once = worker_keys.answer_id(session_id, message.id)
            await run(self.streams.inboxes.send(asking, "answer", payload, once=once))
            self.ring(asking)

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
        told = await run(self.streams.standalone.send(session.session_id, stream_id_of(session), event_type, data))
        # It may have been opened here meanwhile.
        self._held.wake_standalone(session.session_id)
        self.ring(told)

    async def close_standalone(self, session: Session) -> None:
        """``ctx.close_standalone_sse_stream()``: let the client reopen it. Raises ``StorageError``."""
        if not self._held.close_standalone(session.session_id):
            told = await run(self.streams.standalone.tell_holder(session.session_id, stream_id_of(session), "close"))
            self.ring(told)

    async def end_session(self, session_id: str, created_at: datetime | None) -> None:
        """Close what a session has open that its client has ended, on every worker. Raises ``StorageError``."""
        self._hearing.end_session(session_id, hang_up=True)
        told = await run(self.streams.end_session(session_id, created_at, hang_up=True, but=self.worker_id))
        self._ring(told)

    async def attend(self) -> Callable[[], None]:
        """A stream is about to be opened that hears what is published from now on; what to call at its end.

        Raises ``StorageError``.
        """
        return await self.notifications.attend()

    def held_sessions(self) -> dict[str, StandaloneStream]:
        """The standalone streams that are open here, by session."""
        return self._held.open_standalone()

    def own(self, stream: Leased) -> None:
        """This stream is owned here from now on."""
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
        self.bell.ring(stream_channel(stream_id))

    def close_followers(self, stream_id: str) -> None:
        """Let the clients that follow a stream here go, to come back later."""
        self._held.close_followers(stream_id)

    # --- The other workers ------------------------------------------------------------------------------------

    def ring(self, worker_id: str | None) -> None:
        """Something was left for a worker, if for any."""
        if worker_id is not None:
            self.bell.ring(inbox_channel(worker_id))

    def _on_bell(self, works: bool) -> None:
        """The bell works from now on, or does no longer: what rang meanwhile was not heard."""
        self._inbox.pace.slow_seconds = self.news.pace.slow_seconds = RUNG_SECONDS if works else None
        self._inbox.ring()
        self.news.ring()
        self._held.wake_all_followers()

    def _ring(self, worker_ids: Iterable[str]) -> None:
        for worker_id in worker_ids:
            self.ring(worker_id)

    def _expects_messages(self) -> bool:
        return bool(self._replies or self._running.of_sessions)

    async def _leave(self) -> None:
        """Take back what was left here for others to know."""
        await self._take_back()
        try:
            await self.lease.leave()
        except StorageError as exc:
            logger.info("this worker's item was left to expire: %s", exc)

    async def _take_back(self) -> None:
        try:
            await self._traces.write()
        except StorageError as exc:
            logger.info("word of calls that are over was left to expire: %s", exc)


def _most_streams() -> int:
    """``MAX_STREAMS``, or as many as leave an eighth of the connections that open files allow to calls."""
    connections = Limits.of_settings().max_connections
    return max(1, min(conf.MAX_STREAMS, connections - connections // 8))
