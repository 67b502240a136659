"""What waits for a client: bounded, and watched for whether any of it is taken."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import Final

KERNEL_BYTES: Final = 64 * 1024
"""The kernel's part of it; by itself it grows to megabytes."""
USER_TIMEOUT: Final[int | None] = getattr(socket, "TCP_USER_TIMEOUT", None)


class Sending:
    """The sending side of one connection."""

    __slots__ = ("_seconds", "_timer", "_transport")

    def __init__(self, transport: asyncio.Transport, seconds: float) -> None:
        """``seconds`` without anything taken, and the connection is aborted; by the kernel, too, where it can."""
        self._transport = transport
        self._seconds = seconds
        self._timer: asyncio.TimerHandle | None = None
        connection = transport.get_extra_info("socket")
        with suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BYTES)
            if USER_TIMEOUT is not None and connection.family in (socket.AF_INET, socket.AF_INET6):
                connection.setsockopt(socket.IPPROTO_TCP, USER_TIMEOUT, int(seconds * 1000))

    def watch(self) -> None:
        """Abort unless something of what waits now is taken in time, and of the rest, and so on."""
        self.look_away()
        if waiting := self._transport.get_write_buffer_size():
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self._look, waiting)

    def look_away(self) -> None:
        """It is taken, or the connection is lost."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self, waiting: int) -> None:
        if self._transport.get_write_buffer_size() >= waiting:
            self._transport.abort()
        else:
            self.watch()
