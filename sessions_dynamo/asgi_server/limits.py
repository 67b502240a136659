"""What one process takes: how long a client may keep it waiting, and how many connections the open files allow."""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass
from typing import Final, Self

from sessions_dynamo.conf import conf

logger = logging.getLogger("sessions_dynamo.asgi_server")

RESERVED_FILES: Final = 512
"""Kept for what is no client's connection: DynamoDB, the database, logs, and connections that are being refused."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Times are in seconds."""

    read_seconds: float = 30.0
    """For a request's head, and again for its body."""
    send_seconds: float = 30.0
    """A client that takes nothing of its answer for so long is left."""
    max_connections: int = 12_000

    @classmethod
    def of_settings(cls) -> Self:
        """What the project's settings say, and no more connections than the open files allow."""
        return cls(
            conf.REQUEST_READ_SECONDS, conf.SEND_SECONDS, max(1, min(conf.MAX_CONNECTIONS, connections_allowed()))
        )


def raise_open_files() -> int:
    """Raise the soft limit of open files to the hard one, and say so; returns what holds now."""
    if sys.platform == "win32":
        return RESERVED_FILES + Limits.max_connections
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return sys.maxsize
    wanted = sys.maxsize if hard == resource.RLIM_INFINITY else hard
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError) as exc:
            # macOS has a limit of its own below an unlimited hard one.
            logger.warning("The limit of open files stays at %d: %s", soft, exc)
            return soft
        logger.info("The limit of open files was raised from %d to %d.", soft, hard)
    return wanted


def connections_allowed() -> int:
    """How many clients' connections fit among the open files that the process may have now."""
    if sys.platform == "win32":
        return Limits.max_connections
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return sys.maxsize
    return max(1, soft - min(RESERVED_FILES, soft // 2))
