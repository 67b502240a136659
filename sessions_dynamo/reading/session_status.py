"""What staff call a session: active, idle, terminated or expired."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum

from sessions_dynamo.conf import conf
from sessions_dynamo.store.session_items import Session


class SessionStatus(StrEnum):
    """A session's status at one moment."""

    ACTIVE = "active"
    IDLE = "idle"
    TERMINATED = "terminated"
    EXPIRED = "expired"


def status_of(session: Session, now: datetime | None = None) -> SessionStatus:
    """Idle is live without activity for ``SESSION_IDLE_MINUTES``; activity is stored to the minute."""
    now = now or datetime.now(UTC)
    if session.terminated_at is not None:
        return SessionStatus.TERMINATED
    if session.expires_at <= now:
        return SessionStatus.EXPIRED
    idle_after = timedelta(minutes=conf.SESSION_IDLE_MINUTES)
    return SessionStatus.IDLE if now - session.last_activity > idle_after else SessionStatus.ACTIVE
