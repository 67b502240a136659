"""The stream of one POST, on the worker that serves it.

It begins with the handler's first message: until then the answer may still be one JSON body. Events are stored before
they are sent, so a client that drops can resume on any worker while the handler runs on. A handler does not wait for
its notifications: those that it sends while some are being stored are stored together.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final

from mcp_types import INTERNAL_ERROR, JSONRPCError, RequestId

from mcpsite.endpoint.streams.host import Host
from mcpsite.endpoint.streams.outbox import Answer, Outbox
from mcpsite.endpoint.wire import sse
from mcpsite.endpoint.wire.answers import UNANSWERED, Reply, encode, error_body, size_of
from sessions_dynamo import schema
from sessions_dynamo.dataplane.loops import run
from sessions_dynamo.errors import EventTooLarge, StorageError
from sessions_dynamo.store import batches
from sessions_dynamo.store.event_items import Event, cut
from sessions_dynamo.store.session_items import Session
from sessions_dynamo.tasks import kept, to_its_end
from sessions_dynamo.workers.stream_operations import Lease

logger = logging.getLogger(__name__)

MAX_QUEUED: Final = 500
"""Messages that wait to be stored; a handler that sends more waits for them."""
MAX_QUEUED_BYTES: Final = 4 * 1024 * 1024
"""The same, of their text."""
RETRY_SECONDS: Final = 0.5
"""Between two tries to store what waits, while DynamoDB refuses."""
MAX_RETRY_SECONDS: Final = 30.0
"""The same, of an end, at most."""


class OwnedStream:
    """The events of one request's answer, and the response that carries them while its client is there."""

    def __init__(
        self, host: Host, session: Session, request_id: RequestId, protocol_version: str, outbox: Outbox
    ) -> None:
        self.session_id = session.session_id
        self.is_resumable = sse.has_priming(protocol_version)
        """Whether the client knows priming events, and so may be told to come back later."""
        self._host = host
        self._session = session
        self._request_id = request_id
        self._outbox: Outbox | None = outbox
        self._unstored: list[Event] = []
        self._unstored_bytes = 0
        self._owes = False
        """Whether there were messages whose sender does not wait to hear that they are stored."""
        self._storing: asyncio.Task[None] | None = None
        self._sequence = 0
        self._opened = False
        self._finished = False
        self._is_lost = False
        self._term = 0
        """The term of the lease in which others were last seen not to have ended it."""
        self._cancel: Callable[[], None] | None = None
        self._lock = asyncio.Lock()

    @cached_property
    def stream_id(self) -> str:
        """Drawn when it is first needed: most answers are no streams."""
        return schema.time_ordered_id()

    @property
    def lease(self) -> Lease:
        """Who owns it."""
        return Lease(self.session_id, self.stream_id, self._host.worker_id, json.dumps(self._request_id))

    def serve(self, cancel: Callable[[], None]) -> None:
        """Its handler runs; ``cancel`` ends that, should others have ended the stream."""
        self._cancel = cancel

    async def open(self) -> bool:
        """Make the answer an event stream, unless it was given; whether it is one. Raises ``StorageError``."""
        if not self._opened:
            await self._flush()
        return self._opened

    async def emit(self, message: dict[str, Any]) -> None:
        """Store and send one message; messages after the response are dropped.

        Raises ``StorageError``; the message may still be sent, before the next one.
        """
        if self._take(message):
            await self._flush()

    async def queue(self, message: dict[str, Any]) -> None:
        """Have one message stored and sent soon, in its order; messages after the response are dropped.

        Waits only where ``MAX_QUEUED`` wait already, and then raises ``StorageError`` as ``emit``; ``EventTooLarge``
        at once.
        """
        if not self._take(message):
            return
        self._owes = True
        if len(self._unstored) > MAX_QUEUED or self._unstored_bytes > MAX_QUEUED_BYTES:
            await self._flush()
        elif self._storing is None or self._storing.done():
            self._storing = asyncio.create_task(self._store_queued())

    async def finish(self, reply: Reply, body: str) -> None:
        """Answer: as one JSON body if nothing was sent before, else as the stream's end, stored first."""
        async with self._lock:
            if self._is_lost:
                return
            self._finished = True
            if not (self._opened or self._owes):
                self._send(Answer(reply, body))
                return
            try:
                while self._unstored and not self._is_lost:
                    await self._store()
                ended = await self._store_end("error" if isinstance(reply, JSONRPCError) else "response", body)
                frame = sse.message(body, schema.end_id(self.stream_id))
            except StorageError as exc:
                logger.warning("the end of a stream was not stored, and will be: %s", exc)
                if not self._opened:
                    self._send(Answer(reply, body))
                    return
                # A client that is still there gets all of it; one that comes back is told once it is stored.
                for event in self._unstored:
                    self._send(sse.message(event.data))
                ended, frame = True, sse.message(body)
                kept(self._end_later("error" if isinstance(reply, JSONRPCError) else "response", body))
            finally:
                self._host.disown(self)
        self._close(frame if ended else None)
        self._host.wake_followers(self.stream_id)

    def close_response(self) -> None:
        """Send nothing more; where there was no answer, whoever resumes is told so."""
        was_answered, self._finished = self._finished, True
        if self._opened:
            self._host.disown(self)
            if not was_answered:
                kept(self._end_later("error", encode(error_body(INTERNAL_ERROR, UNANSWERED, self._request_id))))
        self._close()

    def lose(self) -> None:
        """Others have ended it: nothing more of it is stored or sent, and its handler works for nobody."""
        if self._is_lost:
            return
        self._is_lost = self._finished = True
        self._host.disown(self)
        self._close()
        if self._cancel is not None:
            self._cancel()

    async def release_client(self) -> None:
        """``ctx.close_sse_stream()``: let the client go, to come back for the rest (SEP-1699)."""
        await self._flush()
        outbox, self._outbox = self._outbox, None
        if outbox is not None:
            outbox.send_away()
        self._host.close_followers(self.stream_id)

    def _take(self, message: dict[str, Any]) -> bool:
        """Give a message its place; whether it has one. Raises ``EventTooLarge`` for this message alone."""
        if self._finished:
            return False
        data = encode(message)
        cut(data)
        self._prime()
        self._number(str(message.get("method", "response")), data)
        return True

    async def _flush(self) -> None:
        """Store and send all that waits. A handler that is cancelled meanwhile cancels none of it."""
        await to_its_end(self._flush_all())

    async def _flush_all(self) -> None:
        # All that came while a batch was being stored is in the next.
        async with self._lock:
            if self._finished or (self._opened and not self._unstored):
                return
            self._prime()
            await self._store()
            while self._unstored and not self._is_lost:
                await self._store()
        self._host.wake_followers(self.stream_id)

    async def _store_queued(self) -> None:
        """Store what was queued, however often that takes, until the answer: then it is stored before that."""
        while self._unstored and not self._finished:
            try:
                await self._flush_all()
            except StorageError as exc:
                logger.warning("messages of a handler are not stored yet: %s", exc)
                await asyncio.sleep(RETRY_SECONDS)
            except Exception:
                # Nobody waits for this task; the answer tries once more.
                logger.exception("messages of a handler could not be stored")
                return

    async def _store(self) -> None:
        """Store the first of what is not stored yet in one request, or the parts of a large one; then send it.

        What fails keeps its place and its sequence: part of it may be stored, so the next attempt repeats it.
        """
        batch = self._unstored[: batches.WRITE_SIZE - (0 if self._opened else 1)]
        if not self._opened:
            # From here on a lease that lapses may have others end the call: nothing of it is to be saved then.
            self._session.stream_id = self.stream_id
            self._term = await self._host.lease.hold()
            await run(self._host.streams.open(self.lease, batch))
            self._opened = True
            self._host.own(self)
        elif not await self._is_owned():
            return
        else:
            await run(self._host.streams.events.append(batch))
        if not await self._is_owned():
            # This process stood still while they were stored: they lie behind the end.
            return
        del self._unstored[: len(batch)]
        self._unstored_bytes -= sum(size_of(event.data) for event in batch)
        for event in batch:
            self._send(sse.message(event.data, event.event_id) if event.data else sse.priming(event.event_id))

    async def _end_later(self, event_type: str, body: str) -> None:
        """Store what is left and the end, however often that takes: whoever follows waits for it, as this worker's
        lease goes on."""
        pause = 0.0
        while True:
            await asyncio.sleep(pause)
            pause = min(MAX_RETRY_SECONDS, 2 * pause or RETRY_SECONDS)
            try:
                async with self._lock:
                    while self._unstored and not self._is_lost:
                        await self._store()
                    await self._store_end(event_type, body)
            except StorageError as exc:
                logger.info("the end of a stream is not stored yet: %s", exc)
            else:
                self._host.wake_followers(self.stream_id)
                return

    async def _is_owned(self) -> bool:
        """Whether nobody has ended it, as others may where this process stood still for longer than its lease."""
        if self._host.lease.is_held and self._term == self._host.lease.term:
            return True
        term = await self._host.lease.hold()
        if await run(self._host.streams.has_ended(self.session_id, self.stream_id)):
            self.lose()
            return False
        self._term = term
        return True

    async def _store_end(self, event_type: str, body: str) -> bool:
        """Whether this ended the stream: not where the lease had lapsed, and whoever resumed has told the client."""
        last = self._sequence - 1
        try:
            end = self._event(schema.END_SEQUENCE, event_type, body)
            return not self._is_lost and await run(self._host.streams.end(end, last))
        except EventTooLarge as exc:
            logger.warning("a response is kept for no client that comes back: %s", exc)
            refusal = encode(error_body(INTERNAL_ERROR, str(exc), self._request_id))
            end = self._event(schema.END_SEQUENCE, "error", refusal)
            return await run(self._host.streams.end(end, last))

    def _prime(self) -> None:
        if self._sequence == 0 and self.is_resumable:
            self._number("priming", "")

    def _number(self, event_type: str, data: str) -> None:
        self._unstored.append(self._event(self._sequence, event_type, data))
        self._unstored_bytes += size_of(data)
        self._sequence += 1

    def _event(self, sequence: int, event_type: str, data: str) -> Event:
        return Event(self.session_id, self.stream_id, sequence, event_type, data, datetime.now(UTC))

    def _send(self, item: bytes | Answer) -> None:
        if self._outbox is not None and not self._outbox.put(item):
            self._outbox = None

    def _close(self, last_frame: bytes | None = None) -> None:
        """End the HTTP response; the handler runs on, and the client may resume."""
        outbox, self._outbox = self._outbox, None
        if outbox is not None:
            outbox.close(last_frame)
