"""One connection to Redis, Valkey or ElastiCache, made of ``BUS_URL``: what redis-py is asked for, and what is not.

Nothing here tries again or is patient: it is the bell that knows whether the way works. And nothing here says what the
password is, also not in the text of an error.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final
from urllib.parse import quote

from redis.asyncio.connection import AbstractConnection, Connection, parse_url
from redis.exceptions import ConnectionError as Disconnected
from redis.exceptions import ResponseError

CONNECT_SECONDS: Final = 2.0
LONGEST_REASON: Final = 200

# What the URL says of these does not count. Whole arrays for messages: RESP3 would hand them to callbacks. No timeout
# of a command: redis-py's is asyncio.wait_for, which may lose a cancellation, and who listens waits for long. Its own
# health checks and retries would hide from us that something was not heard.
_OURS: Final[dict[str, Any]] = {
    "protocol": 2,
    "decode_responses": False,
    "socket_connect_timeout": CONNECT_SECONDS,
    "socket_timeout": None,
    "health_check_interval": 0,
    "retry": None,
    "retry_on_timeout": False,
}
_SERVERS: Final = {"redis", "rediss"}


class IsReplica(Exception):
    """What is published there reaches nobody who listens at its primary."""


def connection_of(url: str) -> AbstractConnection:
    """A connection that is still closed, and may be opened again and again.

    Raises ``ValueError`` with a text that has none of the URL.
    """
    try:
        options: dict[str, Any] = dict(parse_url(url))
        kind: Any = options.pop("connection_class", Connection)
        # Channels are of no database, and a cluster has one alone.
        options.pop("db", None)
        connection: AbstractConnection = kind(**options | _OURS)
    except Exception:
        # Their texts quote what they could not read, which is the password where that has a slash.
        raise ValueError("it is no URL that redis-py can parse, or has an option that it does not know") from None
    if not getattr(connection, "path", True):
        raise ValueError("it names no socket")
    return connection


async def connect(connection: AbstractConnection) -> None:
    """Open it, and authenticate. Raises redis-py's errors and ``OSError``."""
    await connection.connect()  # type: ignore[no-untyped-call]


async def send(connection: AbstractConnection, *commands: Iterable[str | bytes]) -> None:
    """Send commands, in one piece. Raises redis-py's errors."""
    if not connection.is_connected:
        # It would connect by itself, and be subscribed to nothing.
        raise Disconnected("the connection was closed")
    if commands:
        await connection.send_packed_command(connection.pack_commands(commands), check_health=False)


async def refuse_replica(connection: AbstractConnection) -> None:
    """Raise ``IsReplica`` where nobody at the primary would hear what is published, as after a failover.

    In a cluster every node passes on what is published, so any of them will do. Where the server does not say what it
    is (before Redis 6.2, or to a user who may not ask), it is believed to be the right one.
    """
    await send(connection, ("HELLO",))
    try:
        answer: Any = await connection.read_response()
    except ResponseError:
        return
    said = dict(zip(answer[::2], answer[1::2], strict=False))
    if said.get(b"mode") == b"standalone" and said.get(b"role") in {b"replica", b"slave"}:
        raise IsReplica("it is a replica, and what is published there is not heard at its primary")


async def close(connection: AbstractConnection) -> None:
    """Close it at once, whatever it was doing. Never raises."""
    with suppress(Exception):
        await connection.disconnect(nowait=True)


def reason(exc: BaseException, connection: AbstractConnection) -> str:
    """What went wrong, for a log, without the connection's password."""
    if isinstance(exc, BaseExceptionGroup):
        return reason(exc.exceptions[0], connection)
    # A server that does not know AUTH repeats what it was given.
    text = str(exc).partition(", with args")[0] or "no answer in time"
    if password := getattr(connection, "password", None):
        for written in (password, quote(password, safe="")):
            text = text.replace(written, "***")
    return f"{type(exc).__name__}: {text[:LONGEST_REASON]}"
