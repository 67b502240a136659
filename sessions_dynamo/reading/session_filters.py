"""Which sessions a list shows: what the indexes answer by themselves, and what is told from the items."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from sessions_dynamo import schema
from sessions_dynamo.conf import conf
from sessions_dynamo.reading import index_pages
from sessions_dynamo.reading.session_status import SessionStatus, status_of
from sessions_dynamo.store.session_items import Session
from sessions_dynamo.store.times import to_ms

Order = Literal["last_activity", "created_at"]

MINUTE: Final = 60_000
"""In milliseconds."""


@dataclass(frozen=True, slots=True)
class SessionFilter:
    """Sessions for which every given part holds. ``client`` is part of the client's name, in any case.

    ``since`` and ``until`` are of the time that the list is ordered by; the minute of ``until`` is included.
    """

    status: SessionStatus | None = None
    client: str = ""
    protocol_version: str = ""
    principal: str = ""
    since: datetime | None = None
    until: datetime | None = None

    @property
    def reads_items(self) -> bool:
        """Whether sessions must be read to tell which match; an index alone answers the rest."""
        return self.status is not None or bool(self.client or self.protocol_version)

    def order(self, wanted: Order) -> Order:
        """The order of the list: the index of a principal's sessions is by creation."""
        return "created_at" if self.principal else wanted

    def span(self, wanted: Order, *, newest_first: bool, now: datetime, session_ttl: timedelta) -> index_pages.Span:
        """What of which index to read."""
        order = self.order(wanted)
        since, until = self._times(order, now, session_ttl)
        partitions = index_pages.SHARDS
        if self.principal:
            index, partitions = schema.PRINCIPAL_INDEX, (self.principal,)
        elif order == "last_activity":
            index = schema.LAST_ACTIVITY_INDEX
        else:
            index = schema.CREATED_AT_INDEX
        return index_pages.Span(index, partitions, newest_first, since, until)

    def matches(self, session: Session, now: datetime) -> bool:
        """Whether a session that the index offers is one of the list's."""
        return (
            (self.status is None or status_of(session, now) is self.status)
            and (not self.protocol_version or session.protocol_version == self.protocol_version)
            and (not self.client or self.client.casefold() in (session.client_name or "").casefold())
        )

    def _times(self, order: Order, now: datetime, session_ttl: timedelta) -> tuple[int | None, int | None]:
        """The first and the last time (ms), both included, that a match can have in the index."""
        since = None if self.since is None else to_ms(self.since)
        until = None if self.until is None else to_ms(self.until) // MINUTE * MINUTE + MINUTE - 1
        idle_after = timedelta(minutes=conf.SESSION_IDLE_MINUTES)
        match self.status:
            case SessionStatus.ACTIVE if order == "last_activity":
                active_since = to_ms(now - idle_after)
                since = active_since if since is None else max(active_since, since)
            # No session was created after its last activity, so these hold in either order.
            case SessionStatus.IDLE:
                until = _earlier(to_ms(now - idle_after), until)
            case SessionStatus.EXPIRED:
                # A ttl is stored in whole seconds.
                until = _earlier(to_ms(now - session_ttl + timedelta(seconds=1)), until)
        return since, until


EVERY_SESSION = SessionFilter()


def _earlier(bound: int, until: int | None) -> int:
    return bound if until is None else min(bound, until)
