"""The bell over pub/sub of Redis, Valkey or ElastiCache: one connection that publishes, and one that is subscribed.

Messages are empty, and delivered at most once; what each is for stands in DynamoDB. In cluster mode any node will do,
since it passes plain pub/sub on to all others. Whether all of that works is proven and not believed: the bell listens
to a channel of its own, rings it every second, and hears itself.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections.abc import Callable
from typing import Any, Final

from redis.asyncio.connection import AbstractConnection

from mcpsite.endpoint.peers.bell_channels import prefix
from mcpsite.endpoint.peers.redis_connection import close, connect, connection_of, reason, refuse_replica, send

logger = logging.getLogger(__name__)

OPEN_SECONDS: Final = 4.0
"""What both connections have together, with TLS and authentication."""
PROOF_EVERY: Final = 1.0
PROOF_SECONDS: Final = 2.0
"""The bell works no longer when it has not heard itself for so long after it rang."""
LATE_SECONDS: Final = 0.5
"""A timeout that is noticed so much later was the event loop's, which stood still."""
PAUSE_SECONDS: Final = 2.0
"""Between two attempts, which are two connections each; and more, at random, of this many seconds at most."""
MOST_JITTER: Final = 8.0
MOST_PENDING: Final = 1000
"""Channels that are still to be rung. Each is rung once, however often that was asked for."""


class RedisBell:
    """A ``Bell``. It begins to connect, and to be anything of its own, with ``run``."""

    def __init__(self, url: str, on_state: Callable[[bool], None]) -> None:
        """``on_state`` is called with ``works`` whenever that changes. Raises ``ValueError``, without the URL."""
        connection_of(url)
        self._url = url
        self._on_state = on_state
        self._works = False
        self._listeners: dict[str, Callable[[], None]] = {}
        self._to_subscribe: set[str] = set()
        self._to_unsubscribe: set[str] = set()
        self._is_open = False
        self._has_changed = asyncio.Event()
        self._pending: dict[str, None] = {}
        self._is_proof_due = False
        self._has_rung = asyncio.Event()
        self._proof_channel = ""
        self._is_subscribed = asyncio.Event()
        self._is_proven = asyncio.Event()
        self._is_outage_told = False
        self._is_loss_told = False

    @property
    def works(self) -> bool:
        """Whether it heard itself within the last three seconds or so."""
        return self._works

    # --- What its process asks of it --------------------------------------------------------------------------

    def ring(self, channel: str) -> None:
        """Ring soon: once for all that is asked for until then. Never waits, never raises."""
        if len(self._pending) >= MOST_PENDING and channel not in self._pending:
            # They are old: who was to hear them has looked for itself meanwhile.
            self._pending.clear()
            if not self._is_loss_told:
                self._is_loss_told = True
                logger.warning(
                    "Redis is behind: %d rings are dropped, and other workers look by themselves.", MOST_PENDING
                )
        self._pending[channel] = None
        self._has_rung.set()

    def listen(self, channel: str, on_ring: Callable[[], None]) -> None:
        """Call ``on_ring`` when listening has begun, each time, and at each ring."""
        self._listeners[channel] = on_ring
        self._to_unsubscribe.discard(channel)
        # Also where it is subscribed to already: the confirmation tells whoever listens now.
        self._to_subscribe.add(channel)
        self._has_changed.set()

    def forget(self, channel: str) -> None:
        """Listen to that channel no longer."""
        if self._listeners.pop(channel, None) is not None:
            self._to_subscribe.discard(channel)
            if self._is_open:
                self._to_unsubscribe.add(channel)
                self._has_changed.set()

    # --- Its life ---------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Connect, and again after each failure, until cancelled; then nothing is open. Once at a time."""
        subscribed, publishing = connection_of(self._url), connection_of(self._url)
        jitter = 1.0
        try:
            while True:
                self._is_subscribed.clear()
                try:
                    await self._serve(subscribed, publishing)
                except Exception as exc:
                    # Whatever it was: a bell that is silent costs time, one that ends its process costs all.
                    self._tell_outage(reason(exc, publishing))
                finally:
                    self._is_open = False
                    await close(subscribed)
                    await close(publishing)
                jitter = 1.0 if self._works else min(jitter * 2, MOST_JITTER)
                self._change(False)
                await asyncio.sleep(PAUSE_SECONDS + random.uniform(0, jitter))  # noqa: S311 (no secret)
        finally:
            self._change(False)

    async def _serve(self, subscribed: AbstractConnection, publishing: AbstractConnection) -> None:
        """Ring and listen until something fails, which it raises."""
        # A name that was never used: what an earlier connection had under way proves nothing of this one.
        self._proof_channel = f"{prefix()}:proof:{secrets.token_hex(8)}"
        async with asyncio.timeout(OPEN_SECONDS):
            await connect(subscribed)
            await connect(publishing)
            await refuse_replica(publishing)
        self._to_subscribe = set(self._listeners)
        self._to_unsubscribe.clear()
        self._is_open = True
        self._is_proof_due = False
        self._has_changed.set()
        self._has_rung.set()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._hear(subscribed))
            tasks.create_task(self._subscribe(subscribed))
            tasks.create_task(self._publish(publishing))
            tasks.create_task(self._prove())

    async def _subscribe(self, connection: AbstractConnection) -> None:
        # Last of the first: once it is confirmed, so are the others.
        last = [self._proof_channel]
        while True:
            await self._has_changed.wait()
            self._has_changed.clear()
            commands = [("SUBSCRIBE", *self._to_subscribe, *last), ("UNSUBSCRIBE", *self._to_unsubscribe)]
            self._to_subscribe.clear()
            self._to_unsubscribe.clear()
            last = []
            await send(connection, *(command for command in commands if len(command) > 1))

    async def _hear(self, connection: AbstractConnection) -> None:
        while True:
            message: Any = await connection.read_response()
            match message:
                case [b"message" | b"subscribe" as kind, bytes(name), _]:
                    channel = name.decode()
                    if channel == self._proof_channel:
                        (self._is_proven if kind == b"message" else self._is_subscribed).set()
                    elif (on_ring := self._listeners.get(channel)) is not None:
                        _call(on_ring)

    async def _publish(self, connection: AbstractConnection) -> None:
        while True:
            await self._has_rung.wait()
            self._has_rung.clear()
            channels, self._pending = self._pending, {}
            is_proof, self._is_proof_due = self._is_proof_due, False
            rung = [*channels, self._proof_channel] if is_proof else [*channels]
            try:
                await send(connection, *(("PUBLISH", channel, b"") for channel in rung))
                for _ in rung:
                    await connection.read_response()
            except BaseException:
                # Rung again once there is a way: a ring too many costs a look.
                for channel in channels:
                    self.ring(channel)
                raise
            if is_proof:
                await refuse_replica(connection)

    async def _prove(self) -> None:
        await _comes(self._is_subscribed)
        while True:
            self._is_proven.clear()
            self._is_proof_due = True
            self._has_rung.set()
            await _comes(self._is_proven)
            self._change(True)
            await asyncio.sleep(PROOF_EVERY)

    # --- What it says of itself -------------------------------------------------------------------------------

    def _change(self, works: bool) -> None:
        if works == self._works:
            return
        self._works = works
        if works:
            self._is_outage_told = self._is_loss_told = False
            logger.info("The bell of BUS_URL works: workers look rarely, and at once when it rings.")
        _call(self._on_state, works)

    def _tell_outage(self, text: str) -> None:
        if not self._is_outage_told:
            self._is_outage_told = True
            logger.warning("The bell of BUS_URL does not work, and workers look as often as without it: %s.", text)


async def _comes(event: asyncio.Event) -> None:
    """Wait for what Redis is to send. Raises ``TimeoutError``."""
    now = asyncio.get_running_loop().time
    for is_last in (False, True):
        deadline = now() + PROOF_SECONDS
        try:
            async with asyncio.timeout_at(deadline):
                await event.wait()
            return
        except TimeoutError:
            # Where this loop stood still, what came meanwhile is still to be read.
            if is_last or now() < deadline + LATE_SECONDS:
                raise


def _call(told: Callable[..., None], *arguments: Any) -> None:
    try:
        told(*arguments)
    except Exception:
        logger.exception("what the bell was rung for failed")
