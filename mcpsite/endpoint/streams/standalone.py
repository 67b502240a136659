"""A session's standalone stream, opened by GET: what the server sends besides the answers to requests.

There is one for a session. Its holder is the newest GET, on whichever worker; the holder alone makes events of what
any worker leaves in the stream's inbox, so their sequence has no gap and no message is sent twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

from mcpsite.endpoint.streams.host import Host
from mcpsite.endpoint.streams.outbox import Outbox
from mcpsite.endpoint.wire import sse
from sessions_dynamo import schema
from sessions_dynamo.dataplane.loops import run
from sessions_dynamo.errors import StorageError
from sessions_dynamo.store.event_items import Event
from sessions_dynamo.store.session_items import Session
from sessions_dynamo.store.times import to_ms
from sessions_dynamo.tasks import to_its_end
from sessions_dynamo.workers.standalone_operations import (
    MAX_DELIVERY,
    MAX_DELIVERY_BYTES,
    Waiting,
    holder_name,
    worker_of,
)

logger = logging.getLogger(__name__)


def stream_id_of(session: Session) -> str:
    """The id of a session's standalone stream."""
    return schema.standalone_stream_id(to_ms(session.created_at))


class StandaloneStream:
    """The stream while this worker holds it."""

    def __init__(self, host: Host, session: Session, outbox: Outbox) -> None:
        self.session_id = session.session_id
        self.stream_id = stream_id_of(session)
        self.outbox = outbox
        self.name = holder_name(host.worker_id)
        """Under which it is held: another GET holds it under another."""
        self.is_woken = False
        self.leave: Callable[[], None] = lambda: None
        """Hear no more of what is published."""
        self._host = host
        self._expires_at = session.expires_at
        self._is_primed = sse.has_priming(session.protocol_version)
        self._sequence = 0
        # Held from the start: a message that comes while the stream is taken over waits until it has been.
        self._lock = asyncio.Lock()

    async def start(self, cursor: str | None) -> None:
        """Take over, then send what came after ``cursor``; without one, what comes from now on.

        Taking over comes first: afterwards nobody else adds to the stream, so nothing falls between. Raises
        ``StorageError``.
        """
        streams = self._host.streams
        async with self._lock:
            claim = await run(streams.standalone.claim(self.session_id, self.stream_id, self.name, self._expires_at))
            await self._tell_previous(claim.previous)
            # The first event has sequence 1: 0 is the position of a client that has had none.
            self._sequence = max(claim.newest, 0) + 1
            if cursor is not None:
                for event in await run(streams.events.after(self.session_id, cursor)):
                    self.outbox.put(sse.message(event.data, event.event_id))
            elif self._is_primed:
                # What becomes an event after the client left, and before that is noticed, it comes back for.
                position = schema.event_id(self.stream_id, self._sequence - 1)
                self.outbox.put(sse.priming(position))
            await self._drain()

    async def deliver(self, event_type: str, data: str) -> bool:
        """Make an event of a message of this worker's own and send it; ``False``, and nothing is stored, if the
        stream is no longer held. Raises ``StorageError``.

        A sender that is cancelled meanwhile cancels none of it: what is stored and not counted would have its sequence
        given to the next message, which is refused, and the stream ends.
        """
        return await to_its_end(self._deliver_own(Waiting("", event_type, data)))

    async def drain(self) -> bool:
        """Send what waits in the inbox; whether the stream is still held. Raises ``StorageError``."""
        async with self._lock:
            await self._drain()
        return not self.outbox.closed

    def wake(self) -> None:
        """Read the inbox at the next opportunity."""
        self.is_woken = True

    def close(self) -> None:
        """End the response; the session and its stream stay."""
        self.outbox.close()

    def send_away(self) -> None:
        """End the response, for its client to open another."""
        self.outbox.send_away()

    async def _drain(self) -> None:
        self.is_woken = False
        holder, waiting = await run(self._host.streams.standalone.waiting(self.session_id, self.stream_id))
        if holder != self.name:
            self.close()
        for messages in _transactions(waiting):
            if not await self._deliver(messages):
                return

    async def _tell_previous(self, previous: str | None) -> None:
        """Have whoever held it end its response; it would find out at its next write."""
        if previous is None or worker_of(previous) == self._host.worker_id:
            return
        try:
            self._host.ring(await run(self._host.streams.standalone.tell(self.session_id, previous, "taken")))
        except StorageError as exc:
            logger.info("a worker was not told that another holds a stream of its: %s", exc)

    async def _deliver_own(self, message: Waiting) -> bool:
        async with self._lock:
            return await self._deliver([message])

    async def _deliver(self, messages: Sequence[Waiting]) -> bool:
        # What is taken when the client has left would reach no client that comes without a cursor.
        if self.outbox.closed:
            return False
        events = [
            Event(self.session_id, self.stream_id, self._sequence + place, message.event_type, message.data, _now())
            for place, message in enumerate(messages)
        ]
        keys = [message.key for message in messages if message.key]
        delivery = self._host.streams.standalone.deliver(self.name, events, keys, expires_at=self._expires_at)
        if not await run(delivery):
            # Only a newer holder can have come between.
            self.close()
            return False
        self._sequence += len(events)
        for event in events:
            self.outbox.put(sse.message(event.data, event.event_id))
        return True


def _transactions(waiting: Sequence[Waiting]) -> Iterator[list[Waiting]]:
    """Messages in order, in as many as one transaction may hold."""
    chunk: list[Waiting] = []
    size = 0
    for message in waiting:
        length = len(message.data.encode())
        if chunk and (len(chunk) == MAX_DELIVERY or size + length > MAX_DELIVERY_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(message)
        size += length
    if chunk:
        yield chunk


def _now() -> datetime:
    return datetime.now(UTC)
