"""The bell: a faster way to tell another worker that there is something to read. It carries nothing.

DynamoDB has what workers tell each other, and every worker looks there now and then. Whoever wrote something rings, and
the other looks at once. A ring may be lost, by whatever breaks: then the next look finds what it was for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from mcpsite.endpoint.conf import conf

EXTRA: Final = "mcp-sessions[bell]"


class Bell(Protocol):
    """What rings for other workers, and hears them ring. Everything happens on one event loop."""

    @property
    def works(self) -> bool:
        """Whether a ring is heard by whoever listens: proven within the last three seconds or so."""
        ...

    def ring(self, channel: str) -> None:
        """Ring soon. Never waits, never raises."""
        ...

    def listen(self, channel: str, on_ring: Callable[[], None]) -> None:
        """Call ``on_ring`` whenever that channel rings, in the place of who listened to it before.

        It is also called once whenever listening has begun, after a reconnect too: what rang before was not heard. So
        who reads at each call, and listens first, misses nothing while the bell works.
        """
        ...

    def forget(self, channel: str) -> None:
        """Listen to that channel no longer. Nothing happens if nobody did."""
        ...

    async def run(self) -> None:
        """Ring and listen until cancelled. What was rung or listened to before is remembered."""
        ...


class NoBell:
    """None: every worker looks as often as it would."""

    works: Final = False

    def ring(self, channel: str) -> None:
        """Nobody hears."""

    def listen(self, channel: str, on_ring: Callable[[], None]) -> None:
        """Nothing rings."""

    def forget(self, channel: str) -> None:
        """Nothing rang."""

    async def run(self) -> None:
        """Wait until cancelled."""
        await asyncio.get_running_loop().create_future()


class CannotRing(Exception):
    """``BUS_URL`` names no bell. The text says why, ``hint`` what to do; neither has anything of the URL."""

    def __init__(self, problem: str, hint: str) -> None:
        super().__init__(problem)
        self.hint = hint


def chosen_bell(on_state: Callable[[bool], None]) -> Bell:
    """The bell of ``BUS_URL``, which ``run`` connects; none where that is not set. Raises ``CannotRing``.

    ``on_state`` is called with ``works`` whenever that changes.
    """
    if not conf.BUS_URL:
        return NoBell()
    try:
        # Who has no BUS_URL need not have redis, nor the time that its import takes.
        from mcpsite.endpoint.peers.redis_bell import RedisBell
    except ModuleNotFoundError as exc:
        if (exc.name or "").partition(".")[0] != "redis":
            raise
        raise CannotRing(
            "BUS_URL cannot be used: redis cannot be imported.", f"Install it, such as by pip install '{EXTRA}'."
        ) from None
    try:
        return RedisBell(conf.BUS_URL, on_state)
    except ValueError as exc:
        raise CannotRing(
            f"BUS_URL cannot be used: {exc}.",
            "Write it as redis://user:password@host:6379, rediss://… for TLS, or unix:///path/to/socket; what is no"
            " letter or digit in a password as %XX, such as %2F for a slash.",
        ) from None
