"""A client that came back for a stream: what it missed, then what follows, until the stream's end.

The stream may run on this worker, on another, or on one that has died.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from mcp_types import INTERNAL_ERROR

from mcpsite.endpoint.streams.host import IDLE_FACTOR, Host
from mcpsite.endpoint.streams.outbox import Outbox
from mcpsite.endpoint.wire import sse
from mcpsite.endpoint.wire.answers import UNANSWERED, encode, error_body
from sessions_dynamo import metrics, schema
from sessions_dynamo.dataplane.loops import run
from sessions_dynamo.store.event_items import Event
from sessions_dynamo.workers.holdings import Cancellation
from sessions_dynamo.workers.stream_operations import Lease

SETTLE_SECONDS: Final = 3.0
"""How long a batch of events may take to be readable as a whole: until then a gap before an event may yet close."""
CLOCK_DIFFERENCE: Final = timedelta(minutes=5)
"""At most, of two machines' clocks."""


class Follower:
    """Reads one stream from a cursor on, and hands it to one response."""

    def __init__(self, host: Host, lease: Lease, cursor: str, outbox: Outbox) -> None:
        self.session_id = lease.session_id
        self.stream_id = lease.stream_id
        self.outbox = outbox
        self.next_poll = 0.0
        self._host = host
        self._cursor = cursor
        self._lease = lease
        self._quiet_polls = 0
        self._gap_since: float | None = None
        self._woken = False

    def begin(self) -> None:
        """Follow: look after the owner's lease from now on."""
        if not self._host.owns(self.stream_id):
            self._host.watch.watch(self, self._lease, self.wake)

    def end(self) -> None:
        """Follow no more."""
        self._host.watch.forget(self, self._lease)

    def on_cancelled(self, cancellation: Cancellation) -> None:
        """Its session ended before anybody could know that it is followed here."""
        if cancellation.hang_up is not None:
            self.outbox.close()

    def wake(self) -> None:
        """Read at the next opportunity."""
        self._woken = True
        self.next_poll = 0.0

    async def poll(self) -> bool:
        """Read once; whether the stream goes on. Raises ``StorageError``."""
        self._woken = False
        events = await run(self._host.streams.events.after(self.session_id, self._cursor))
        for event in self._settled(events):
            self._cursor = event.event_id
            if event.data:
                self.outbox.put(sse.message(event.data, event.event_id))
        if self._cursor == schema.end_id(self.stream_id):
            self.outbox.close()
        elif not events:
            await self._check_owner()
        self._quiet_polls = 0 if events else self._quiet_polls + 1
        self.next_poll = 0.0 if self._woken else time.monotonic() + self._pause()
        return not self.outbox.closed

    def _settled(self, events: Sequence[Event]) -> Iterator[Event]:
        """Events up to the first that another may yet come before: a batch is neither stored nor read as a whole.

        A gap that stays is of events that expired, were trimmed, or were never stored.
        """
        position = schema.parse_event_id(self._cursor)
        expected = position[1] + 1 if position else 0
        for event in events:
            if event.sequence not in (expected, schema.END_SEQUENCE) and self._may_settle(event, events[-1]):
                return
            self._gap_since = None
            expected = event.sequence + 1
            yield event

    def _may_settle(self, event: Event, newest: Event) -> bool:
        now = time.monotonic()
        if self._gap_since is None:
            self._gap_since = now
        if now - self._gap_since >= SETTLE_SECONDS or newest.sequence == schema.END_SEQUENCE:
            return False
        # What comes later was stored later, by the same clock; and no clock is off by more than the difference.
        settles = timedelta(seconds=SETTLE_SECONDS)
        is_old = datetime.now(UTC) - event.timestamp > CLOCK_DIFFERENCE + settles
        return not is_old and newest.timestamp - event.timestamp < settles

    def _pause(self) -> float:
        """Seconds until the next poll."""
        if self._host.owns(self.stream_id) or self._host.bell.works or self._quiet_polls > IDLE_FACTOR:
            # An owner here wakes its followers itself, and one elsewhere rings for them.
            return self._host.poll_seconds * IDLE_FACTOR
        return self._host.poll_seconds

    async def _check_owner(self) -> None:
        """End the stream for a worker that no longer does; the next poll reads the end."""
        if self._host.owns(self.stream_id) or not self._host.watch.is_gone(self._lease):
            return
        # Events that the owner stored just before it died come first: they were read above or will be below,
        # and the end sorts after them.
        request_id = json.loads(self._lease.request_id) if self._lease.request_id else None
        body = encode(error_body(INTERNAL_ERROR, UNANSWERED, request_id))
        if await run(self._host.streams.lapse(self._lease, "error", body)):
            metrics.count("LeaseExpired")
            self._host.ring(self._lease.owner)
        self.wake()
