"""Ending and deleting a session from outside its own requests: by staff, whichever worker serves its streams."""

from __future__ import annotations

from sessions_dynamo import schema
from sessions_dynamo.errors import SessionNotFound, StorageError, StorageUnavailable
from sessions_dynamo.store import sessions
from sessions_dynamo.workers import streams


def terminate(session_id: str) -> bool:
    """End a session, whoever's, and close what it has open on every worker; whether it was live.

    Workers hear of it in their inboxes, within ``EVENT_POLL_SECONDS``. Raises ``StorageUnavailable``; it is safe to
    repeat, and tells the workers again.
    """
    if not schema.is_session_id(session_id):
        return False
    try:
        created_at = sessions.default_store().terminate(session_id)
    except SessionNotFound:
        was_live = False
        ended = sessions.default_store().peek(session_id)
        created_at = None if ended is None else ended.created_at
    else:
        was_live = True
    try:
        # Its clients may be waiting, and learn of it by an error.
        streams.default_store().end_session(session_id, created_at, hang_up=False)
    except StorageError as exc:
        raise StorageUnavailable(
            f"Session {session_id!r} has ended, but the workers could not be told to close its streams: terminate"
            f" it again. {exc}"
        ) from exc
    return was_live


def delete(session_id: str) -> bool:
    """End a session and delete it with its large values, its events and its calls; whether there was one.

    The session's own item goes last: it stays listed, to be deleted again, if DynamoDB fails halfway. Entries of
    ``global_state`` are left to their ``ttl``. Raises ``StorageUnavailable``.
    """
    if not schema.is_session_id(session_id):
        return False
    terminate(session_id)
    streams.default_store().events.delete(session_id)
    return sessions.default_store().delete(session_id)
