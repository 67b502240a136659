"""The store of streams: the operations on them, each driven to its end while the caller waits."""

from __future__ import annotations

from functools import cache

from sessions_dynamo.conf import forget_on_change
from sessions_dynamo.operations import Driver, blocking
from sessions_dynamo.store.events import EventStore
from sessions_dynamo.store.events import default_store as default_events
from sessions_dynamo.workers.bus import Bus
from sessions_dynamo.workers.replies import Replies
from sessions_dynamo.workers.roster import Roster
from sessions_dynamo.workers.stream_operations import (
    MAX_DELIVERY,
    MAX_DELIVERY_BYTES,
    Lease,
    StreamOperations,
    Waiting,
)

__all__ = ["MAX_DELIVERY", "MAX_DELIVERY_BYTES", "Lease", "StreamStore", "Waiting", "default_store"]


class StreamStore:
    """Leases, ends, holders and inboxes, with ``replies`` and the ``bus``. Thread-safe: one serves a whole process."""

    def __init__(self, events: EventStore, *, driver: Driver | None = None) -> None:
        """``driver`` drives every operation; by default the one that drives ``events``."""
        self.events = events
        self.drive = driver or events.drive
        self.operations = StreamOperations(events.operations)
        self.replies = Replies(self.operations.replies, self.drive)
        self.bus = Bus(self.operations.bus, self.drive)
        self.roster = Roster(self.operations.roster, self.drive)

    open = blocking(StreamOperations.open)
    renew = blocking(StreamOperations.renew)
    lease = blocking(StreamOperations.lease)
    end = blocking(StreamOperations.end)

    claim = blocking(StreamOperations.claim)
    send = blocking(StreamOperations.send)
    inbox = blocking(StreamOperations.inbox)
    deliver = blocking(StreamOperations.deliver)


@cache
def default_store() -> StreamStore:
    """The process's store, made on first use."""
    return StreamStore(default_events())


forget_on_change(default_store.cache_clear, "DYNAMODB_", "AWS_", "EVENT_TTL_HOURS", "MAX_EVENTS_")
