"""The stores as the pages use them: over a client that gives up soon, so that a page is there within 3 s."""

from __future__ import annotations

from functools import cache

from django.core.signals import setting_changed

from sessions_dynamo.events import EventStore
from sessions_dynamo.session_list import SessionList
from sessions_dynamo.sessions import SessionStore
from sessions_dynamo.streams import StreamStore


@cache
def sessions() -> SessionStore:
    """Sessions, for reading; what changes or deletes goes through ``sessions_dynamo.sessions.default_store``."""
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


def _forget(*, setting: str, **_: object) -> None:
    if setting.startswith(("DYNAMODB_", "AWS_")) or setting.endswith("_TTL_HOURS") or setting.startswith("MAX_EVENTS"):
        for store in (sessions, session_list, events, streams):
            store.cache_clear()


setting_changed.connect(_forget)
