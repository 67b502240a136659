"""The store of streams: the operations on them, each driven to its end while the caller waits."""

from __future__ import annotations

from functools import cache

from sessions_dynamo.conf import conf, forget_on_change
from sessions_dynamo.operations import Driver, blocking
from sessions_dynamo.store.events import EventStore
from sessions_dynamo.store.events import default_store as default_events
from sessions_dynamo.workers.holdings import Holdings
from sessions_dynamo.workers.inboxes import Inboxes
from sessions_dynamo.workers.news import News
from sessions_dynamo.workers.replies import Replies
from sessions_dynamo.workers.roster import Roster
from sessions_dynamo.workers.standalone_operations import MAX_DELIVERY, MAX_DELIVERY_BYTES, Claim, Standalone, Waiting
from sessions_dynamo.workers.stream_operations import Lease, StreamOperations

__all__ = ["MAX_DELIVERY", "MAX_DELIVERY_BYTES", "Claim", "Lease", "StreamStore", "Waiting", "default_store"]


class StreamStore:
    """Leases and ends, and all else that workers ask of the events table. Thread-safe: one serves a whole process."""

    def __init__(self, events: EventStore, sessions_table: str | None = None, *, driver: Driver | None = None) -> None:
        """``driver`` drives every operation; by default the one that drives ``events``. The sessions' table is by
        default the settings'."""
        self.events = events
        self.drive = driver or events.drive
        self.operations = StreamOperations(events.operations, sessions_table or conf.DYNAMODB_SESSIONS_TABLE)
        self.standalone = Standalone(self.operations.standalone, self.drive)
        self.replies = Replies(self.operations.replies, self.drive)
        self.inboxes = Inboxes(self.operations.inboxes, self.drive)
        self.holdings = Holdings(self.operations.holdings, self.drive)
        self.news = News(self.operations.news, self.drive)
        self.roster = Roster(self.operations.roster, self.drive)

    open = blocking(StreamOperations.open)
    keep = blocking(StreamOperations.keep)
    lease = blocking(StreamOperations.lease)
    has_ended = blocking(StreamOperations.has_ended)
    end = blocking(StreamOperations.end)
    lapse = blocking(StreamOperations.lapse)
    cancel = blocking(StreamOperations.cancel)
    end_session = blocking(StreamOperations.end_session)


@cache
def default_store() -> StreamStore:
    """The process's store, made on first use."""
    return StreamStore(default_events())


forget_on_change(default_store.cache_clear, "DYNAMODB_", "AWS_", "EVENT_TTL_HOURS", "MAX_EVENTS_")
