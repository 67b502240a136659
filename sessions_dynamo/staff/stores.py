"""The stores as the pages use them: over a client that gives up soon, so that a page is there within 3 s."""

from __future__ import annotations

from functools import cache

from sessions_dynamo.conf import forget_on_change
from sessions_dynamo.reading.session_list import SessionList
from sessions_dynamo.store.events import EventStore
from sessions_dynamo.store.sessions import SessionStore
from sessions_dynamo.workers.streams import StreamStore


@cache
def sessions() -> SessionStore:
    """Sessions, for reading; what changes or deletes goes through ``sessions_dynamo.store.sessions.default_store``."""
    return SessionStore.from_settings(quick=True)


@cache
def session_list() -> SessionList:
    """Sessions by time and by principal."""
    return SessionList(sessions())


@cache
def events() -> EventStore:
    """Events and served calls."""
    return EventStore.from_settings(quick=True)


@cache
def streams() -> StreamStore:
    """Streams with their owners and leases."""
    return StreamStore(events())


for _store in (sessions, session_list, events, streams):
    forget_on_change(_store.cache_clear, "DYNAMODB_", "AWS_", "SESSION_TTL_HOURS", "EVENT_TTL_HOURS", "MAX_EVENTS_")
