"""Changes that people make to one key of a session's state, refused where it no longer holds what they saw."""

from __future__ import annotations

import hashlib
from typing import Any, Final

from sessions_dynamo.errors import SessionNotFound, StateConflict
from sessions_dynamo.store.session_items import Session
from sessions_dynamo.store.sessions import SessionStore
from sessions_dynamo.store.state import Entry, Spilled

ABSENT: Final = ""
"""The mark of a key that the state does not hold."""


def mark(entry: Entry | None) -> str:
    """What stands for a key's text as somebody saw it; no large value is read for it, whose item is never reused."""
    if entry is None:
        return ABSENT
    kind, text = ("item", entry.item_id) if isinstance(entry, Spilled) else ("text", entry)
    return hashlib.sha256(f"{kind}:{text}".encode()).hexdigest()


def set_key(store: SessionStore, session_id: str, key: str, value: Any, *, seen: str) -> None:
    """Store a value under a key that still is as ``seen`` (a ``mark``).

    Raises ``StateConflict`` where it is not, ``SessionNotFound`` for an ended session, and what a save raises; then
    nothing is changed.
    """
    session = _read(store, session_id, key, seen)
    session.state[key] = value
    store.save(session)


def delete_key(store: SessionStore, session_id: str, key: str, *, seen: str) -> None:
    """Delete a key that still is as ``seen``; raises as ``set_key`` does."""
    session = _read(store, session_id, key, seen)
    if key in session.state:
        del session.state[key]
        store.save(session)


def _read(store: SessionStore, session_id: str, key: str, seen: str) -> Session:
    session = store.peek(session_id)
    if session is None or not session.is_live:
        raise SessionNotFound(f"Session {session_id[:128]!r} has ended: its state can be read, and no longer changed.")
    if mark(session.state.entries.get(key)) != seen:
        raise StateConflict(f"The key {key!r} was changed meanwhile, so nothing was saved.")
    # Asking for the key makes the save conditional on what it holds, in DynamoDB too.
    _ = key in session.state
    return session
