"""The streams that this process holds: those it owns, those that clients follow here, and standalone ones."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from functools import partial
from typing import Final

from mcpsite.endpoint.peers.bell_channels import stream_channel
from mcpsite.endpoint.peers.poller import Poller, Step
from mcpsite.endpoint.peers.traces import Trace, Traces
from mcpsite.endpoint.streams.followed import Follower
from mcpsite.endpoint.streams.host import Host, Leased
from mcpsite.endpoint.streams.outbox import Outbox
from mcpsite.endpoint.streams.standalone import StandaloneStream, stream_id_of
from sessions_dynamo import metrics, schema
from sessions_dynamo.dataplane.loops import run
from sessions_dynamo.store.session_items import Session

CONCURRENT_READS: Final = 8
KEPT_A_LIFETIME: Final = 2
"""How often a stream that runs on puts off its expiry."""


class UnknownStream(Exception):
    """A ``Last-Event-ID`` of no stream of the session: never stored, or no longer."""


class HeldStreams:
    """Looks after the owned, reads for the followed, and drains the inboxes of the standalone."""

    def __init__(self, host: Host, poller: Poller, traces: Traces) -> None:
        self.owned: dict[str, Leased] = {}
        self._host = host
        self._poller = poller
        self._traces = traces
        self._standalone: dict[str, StandaloneStream] = {}
        self._followers: dict[Follower, Trace] = {}
        self._reads = asyncio.Semaphore(CONCURRENT_READS)
        self._next_keep = 0.0

    def __len__(self) -> int:
        return len(self.owned) + len(self._standalone) + len(self._followers)

    @property
    def followed(self) -> int:
        """How many clients follow a stream here."""
        return len(self._followers)

    @property
    def standalone(self) -> int:
        """How many sessions' standalone streams are held here."""
        return len(self._standalone)

    def due(self, now: float, *, is_beat: bool) -> Iterator[tuple[object, Step]]:
        """What of them is to be read, or is over. A quiet standalone stream is neither."""
        if self.owned and now >= self._next_keep:
            yield "owned", self._keep
        for follower in self._followers:
            if now >= follower.next_poll or follower.outbox.closed:
                yield follower, partial(self._follow, follower)
        for stream in self._standalone.values():
            if stream.is_woken or stream.outbox.closed:
                yield stream, partial(self._drain, stream)

    # --- Owned ------------------------------------------------------------------------------------------------

    def own(self, stream: Leased) -> None:
        """This stream is owned here from now on."""
        if not self.owned:
            self._keep_later()
        self.owned[stream.stream_id] = stream
        self._host.lease.hurry()
        self._poller.stir()

    def disown(self, stream: Leased) -> None:
        """The stream has ended, or is given up."""
        self.owned.pop(stream.stream_id, None)

    def lose(self, stream_id: str) -> None:
        """Others have ended a stream, which may be owned here."""
        if (stream := self.owned.get(stream_id)) is not None:
            stream.lose()

    async def _keep(self) -> None:
        """Put off the expiry of what runs for long."""
        await run(self._host.streams.keep([stream.lease for stream in self.owned.values()]))
        self._keep_later()

    def _keep_later(self) -> None:
        lifetime = self._host.streams.events.event_ttl.total_seconds()
        self._next_keep = time.monotonic() + lifetime / KEPT_A_LIFETIME

    # --- Followed ---------------------------------------------------------------------------------------------

    async def resume(self, session: Session, cursor: str, outbox: Outbox) -> None:
        """Send a client what came after ``cursor`` in that stream, and what follows.

        Raises ``UnknownStream`` or ``StorageError``.
        """
        position = schema.parse_event_id(cursor)
        if position is None:
            raise UnknownStream
        stream_id = position[0]
        if stream_id == stream_id_of(session):
            await self.hold_standalone(session, outbox, cursor)
            metrics.count("StreamResumed")
            return
        lease = await run(self._host.streams.lease(session.session_id, stream_id))
        if lease is None:
            raise UnknownStream
        follower = Follower(self._host, lease, cursor, outbox)
        goes_on = await follower.poll()
        metrics.count("StreamResumed")
        if goes_on:
            # Its session may end elsewhere.
            self._followers[follower] = self._traces.begin(
                session.session_id, "", session.cancellations, follower.on_cancelled
            )
            follower.begin()
            self._host.bell.listen(stream_channel(stream_id), partial(self.wake_followers, stream_id))
            self._host.lease.hurry()
            self._poller.stir()

    def wake_followers(self, stream_id: str) -> None:
        """A stream has something new."""
        for follower in self._followers:
            if follower.stream_id == stream_id:
                follower.wake()
                self._poller.poke()

    def wake_all_followers(self) -> None:
        """Any stream may have something new."""
        for follower in self._followers:
            follower.wake()
        self._poller.poke()

    def close_followers(self, stream_id: str) -> None:
        """Let the clients that follow a stream go, to come back later."""
        for follower in self._followers:
            if follower.stream_id == stream_id:
                follower.outbox.send_away()

    async def _follow(self, follower: Follower) -> None:
        async with self._reads:
            if follower.outbox.closed or not await follower.poll():
                self._drop(follower)
        if follower.next_poll == 0.0:
            # Woken after it had read.
            self._poller.poke()

    def _drop(self, follower: Follower) -> None:
        follower.end()
        if (trace := self._followers.pop(follower, None)) is not None:
            self._traces.end(trace)
        if all(other.stream_id != follower.stream_id for other in self._followers):
            self._host.bell.forget(stream_channel(follower.stream_id))

    # --- Standalone -------------------------------------------------------------------------------------------

    async def hold_standalone(self, session: Session, outbox: Outbox, cursor: str | None = None) -> None:
        """Make this response the session's standalone stream; an older one, wherever it is, ends."""
        stream = StandaloneStream(self._host, session, outbox)
        # Before it is held: what was published until here is for whoever holds it now.
        stream.leave = await self._host.attend()
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
                older.leave()
            self._host.lease.hurry()
            self._poller.stir()

    async def deliver_standalone(self, session_id: str, event_type: str, data: str) -> bool:
        """Send a message on a session's standalone stream, if it is held here. Raises ``StorageError``."""
        while (held := self._standalone.get(session_id)) is not None and not held.outbox.closed:
            if await held.deliver(event_type, data):
                return True
        return False

    def wake_standalone(self, session_id: str) -> None:
        """Something waits in the inbox of a session's standalone stream, which may be held here."""
        if (held := self._standalone.get(session_id)) is not None:
            held.wake()
            self._poller.poke()

    def close_standalone(self, session_id: str, name: str | None = None) -> bool:
        """Let a session's client reopen its standalone stream, if it is held here, and under this name where one is
        given: a client may be back already. Whether it was."""
        stream = self._standalone.get(session_id)
        if stream is None or stream.outbox.closed or name not in (None, stream.name):
            return False
        stream.send_away()
        return True

    def take_standalone(self, session_id: str, name: str) -> None:
        """Another holds a session's standalone stream that was held here under a name: its response ends."""
        stream = self._standalone.get(session_id)
        if stream is not None and stream.name == name:
            stream.close()
            self._poller.poke()

    def open_standalone(self) -> dict[str, StandaloneStream]:
        """The standalone streams that are open here, by session."""
        return {key: stream for key, stream in self._standalone.items() if not stream.outbox.closed}

    async def _drain(self, stream: StandaloneStream) -> None:
        async with self._reads:
            is_held = not stream.outbox.closed and await stream.drain()
        if not is_held and self._standalone.get(stream.session_id) is stream:
            del self._standalone[stream.session_id]
            stream.leave()
        elif stream.is_woken:
            # After it had read.
            self._poller.poke()

    # --- Both -------------------------------------------------------------------------------------------------

    def end_session(self, session_id: str) -> None:
        """Close what a session that was terminated has open here."""
        if (stream := self._standalone.pop(session_id, None)) is not None:
            stream.close()
            stream.leave()
        for follower in self._followers:
            if follower.session_id == session_id:
                follower.outbox.close()
        self._poller.poke()
