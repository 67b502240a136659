"""What a deployment may run on a schedule: everything here also happens by itself, later."""

from __future__ import annotations

from dataclasses import dataclass

from sessions_dynamo.events import EventStore
from sessions_dynamo.session_list import SessionList


@dataclass(frozen=True, slots=True)
class Maintained:
    """What one run did."""

    sessions_deleted: int
    events_deleted: int


def maintain(sessions: SessionList, events: EventStore, *, limit: int | None = None) -> Maintained:
    """Delete expired sessions with all of their events, and trim the events of the others.

    ``limit`` bounds the sessions that one run deletes; the next run goes on.
    """
    expired = sessions.clear_expired(limit=limit)
    deleted = sum(events.delete(session_id) for session_id in expired)
    trimmed = sum(events.trim(session_id) for session_id in sessions.session_ids())
    return Maintained(sessions_deleted=len(expired), events_deleted=deleted + trimmed)
