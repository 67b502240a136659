"""What workers tell each other about streams, through the events table, as operations.

A POST's stream has an owner, a worker whose beat is its lease (``roster``), and one end, put only if absent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Self

from sessions_dynamo import schema, worker_keys
from sessions_dynamo.conf import conf, forget_on_change
from sessions_dynamo.operations import Operation
from sessions_dynamo.store import batches
from sessions_dynamo.store.event_items import Event, Item
from sessions_dynamo.store.event_operations import EventOperations
from sessions_dynamo.store.event_operations import default_operations as default_events
from sessions_dynamo.store.live_update import count_cancellation, lapse
from sessions_dynamo.store.times import ahead, is_expired, to_ms
from sessions_dynamo.workers.holdings import Cancellation, HoldingOperations
from sessions_dynamo.workers.inboxes import InboxOperations
from sessions_dynamo.workers.news import NewsOperations
from sessions_dynamo.workers.once import item_at, put_if_absent
from sessions_dynamo.workers.replies import ReplyOperations
from sessions_dynamo.workers.roster import RosterOperations
from sessions_dynamo.workers.standalone_operations import StandaloneOperations, worker_of


@dataclass(frozen=True, slots=True)
class Lease:
    """Who serves a stream, and for which request (JSON text of its id)."""

    session_id: str
    stream_id: str
    owner: str
    request_id: str | None = None
    renewed: int | None = None
    """What an owner of the version before moves, for each stream by itself; those of today move their worker's beat."""


class StreamOperations:
    """Leases and ends, and all else that workers ask of the events table. One serves a whole process."""

    def __init__(self, events: EventOperations, sessions_table: str) -> None:
        self.events = events
        self._sessions_table = sessions_table
        self._table = events.table
        self.replies = ReplyOperations(events.table)
        self.inboxes = InboxOperations(events.table)
        self.holdings = HoldingOperations(events.table, events.event_ttl)
        self.news = NewsOperations(events.table)
        self.roster = RosterOperations(events.table)
        self.standalone = StandaloneOperations(events, self.inboxes)

    @classmethod
    def from_settings(cls) -> Self:
        """The operations on the tables that the settings describe."""
        return cls(EventOperations.from_settings(), conf.DYNAMODB_SESSIONS_TABLE)

    # --- Streams of a POST ------------------------------------------------------------------------------------

    def open(self, lease: Lease, events: Sequence[Event]) -> Operation[None]:
        """Begin a stream: its lease and its first events in one batch."""
        encoded = [self.events.encode(event) for event in events]
        items = [self._lease(lease), *(part for _, parts in encoded for part in parts), *(item for item, _ in encoded)]
        yield from batches.put(self._table, items)
        yield from self.events.trim_by_chance(lease.session_id, len(events))

    def keep(self, leases: Iterable[Lease]) -> Operation[None]:
        """Put off the expiry of streams that run for long: one request for 25."""
        yield from batches.put(self._table, [self._lease(lease) for lease in leases])

    def lease(self, session_id: str, stream_id: str) -> Operation[Lease | None]:
        """A stream's lease, by a consistent read; ``None`` where the stream is unknown."""
        item = yield from item_at(self._table, session_id, schema.lease_id(stream_id))
        if item is None or is_expired(item):
            return None
        owner, request_id = item["owner"]["S"], item.get("request_id", {}).get("S")
        renewed = None if worker_keys.is_worker_id(owner) else int(item["lease_expires"]["N"])
        return Lease(session_id, stream_id, owner, request_id, renewed)

    def has_ended(self, session_id: str, stream_id: str) -> Operation[bool]:
        """Whether a stream has its end, by a consistent read."""
        return (yield from item_at(self._table, session_id, schema.end_id(stream_id))) is not None

    def end(self, event: Event, last: int) -> Operation[bool]:
        """Put a stream's end, with the response it carried, if it has none; whether this call ended it.

        ``last`` is the sequence of the event before it, -1 where there is none: what its owner may yet put down has a
        higher one, and lies behind the end. A paused owner that wakes and a resumer that saw its lease lapse cannot
        both end a stream.
        """
        item, parts = self.events.encode(replace(event, sequence=schema.END_SEQUENCE, last=last))
        yield from batches.put(self._table, parts)
        ended = yield from put_if_absent(self._table, item)
        yield from self.events.trim_by_chance(event.session_id, 1)
        return ended

    def lapse(self, lease: Lease, event_type: str, data: str) -> Operation[bool]:
        """End a stream whose owner's lease has lapsed, with an error that its client gets; whether this call did.

        First its session is told, so that its owner, should it wake, saves no state of a call that has failed.
        """
        session_id, stream_id = lease.session_id, lease.stream_id
        yield from lapse(self._sessions_table, session_id, stream_id)
        newest = yield from self.events.newest(session_id, stream_id)
        end = Event(session_id, stream_id, schema.END_SEQUENCE, event_type, data, datetime.now(UTC))
        ended = yield from self.end(end, newest)
        if ended and worker_keys.is_worker_id(lease.owner):
            yield from self.inboxes.send(lease.owner, "lapsed", [stream_id])
        return ended

    # --- What is meant for whoever serves something ----------------------------------------------------------

    def cancel(self, session_id: str, principal: str, request: str, *, but: str) -> Operation[list[str]]:
        """Cancel a request's calls that run on every worker ``but`` one; the workers that were told. Raises
        ``StorageError``.

        A call that leaves word of itself after this finds the cancellation by itself; one that begins after this is
        not meant, under whatever id.
        """
        number = yield from count_cancellation(self._sessions_table, session_id, principal)
        yield from self.holdings.cancel(session_id, request, Cancellation(number))
        found = yield from self.holdings.of_request(session_id, request, number)
        found.pop(but, None)
        for worker_id, numbers in found.items():
            yield from self.inboxes.send(worker_id, "cancel", [session_id, request, numbers])
        return list(found)

    def end_session(
        self, session_id: str, created_at: datetime | None, *, hang_up: bool, but: str = ""
    ) -> Operation[list[str]]:
        """Have every worker ``but`` one close what a session has open that was ended; the workers that were told.

        Raises ``StorageError``.

        ``hang_up`` says that its client has ended it, and waits for no answers.
        """
        yield from self.holdings.cancel(session_id, "", Cancellation(hang_up=hang_up))
        workers = set((yield from self.holdings.of_session(session_id)))
        if created_at is not None:
            holder = yield from self.standalone.holder(session_id, schema.standalone_stream_id(to_ms(created_at)))
            workers.add(worker_of(holder or "") or but)
        told = [worker_id for worker_id in sorted(workers - {but}) if worker_keys.is_worker_id(worker_id)]
        for worker_id in told:
            yield from self.inboxes.send(worker_id, "ended", [session_id, hang_up])
        return told

    # --- Inside -----------------------------------------------------------------------------------------------

    def _lease(self, lease: Lease) -> Item:
        item: Item = {
            "session_id": {"S": lease.session_id},
            "event_id": {"S": schema.lease_id(lease.stream_id)},
            "owner": {"S": lease.owner},
            # The version before reads it, as a time (ms): it must not take a stream for one whose owner is gone.
            "lease_expires": {"N": str(schema.now_ms() + self.events.event_ttl // timedelta(milliseconds=1))},
            schema.TTL_ATTRIBUTE: ahead(self.events.event_ttl),
        }
        if lease.request_id is not None:
            item["request_id"] = {"S": lease.request_id}
        return item


@cache
def default_operations() -> StreamOperations:
    """The process's, made on first use."""
    return StreamOperations(default_events(), conf.DYNAMODB_SESSIONS_TABLE)


forget_on_change(default_operations.cache_clear, "DYNAMODB_", "AWS_", "EVENT_TTL_HOURS", "MAX_EVENTS_")
