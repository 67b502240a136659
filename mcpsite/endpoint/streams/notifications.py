"""Server events (``ctx.notify_resource_updated()`` and its siblings) to clients of both eras on every worker.

The SDK's in-process bus serves the ``subscriptions/listen`` streams of this process; what is published here goes to
the other workers, and what they published comes in. A bus of the server's own, over Redis say, reaches every worker by
itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, Protocol

from mcp.server.subscriptions import InMemorySubscriptionBus, ServerEvent, SubscriptionBus
from mcp.shared.subscriptions import ResourceUpdated, event_from_wire, event_to_notification

from mcpsite.endpoint.streams.standalone import StandaloneStream
from mcpsite.endpoint.wire.answers import encode
from sessions_dynamo import schema
from sessions_dynamo.dataplane.loops import run
from sessions_dynamo.errors import StorageError
from sessions_dynamo.store.session_operations import SessionOperations

logger = logging.getLogger(__name__)


_relaying: ContextVar[bool] = ContextVar("relaying", default=False)
"""Set while an event of another worker is given to this process's bus: it must not go out again."""


class Audience(Protocol):
    """What notifications need of their process: the clients here, and a way to the others."""

    @property
    def sessions(self) -> SessionOperations: ...

    def held_sessions(self) -> Mapping[str, StandaloneStream]:
        """The standalone streams that are open here, by session."""
        ...

    async def publish_notification(self, payload: Any) -> None:
        """Tell every other worker of a server event. Raises ``StorageError``."""
        ...


class Notifications:
    """The bridge between the served server's bus, the other workers, and sessions with subscriptions."""

    def __init__(self, audience: Audience) -> None:
        self._audience = audience
        self._bus: InMemorySubscriptionBus | None = None
        self._unsubscribe: Callable[[], None] = lambda: None
        self._tasks: set[asyncio.Task[None]] = set()

    def attach(self, bus: SubscriptionBus) -> None:
        """Serve the events of a server's bus."""
        self._bus = bus if isinstance(bus, InMemorySubscriptionBus) else None
        self._unsubscribe = bus.subscribe(self._on_local)

    def detach(self) -> None:
        """Serve no more of them."""
        self._unsubscribe()

    @property
    def subscriptions(self) -> int:
        """``subscriptions/listen`` streams that are open here."""
        return 0

    @property
    def is_spreading(self) -> bool:
        """Whether events are on their way to other workers."""
        return bool(self._tasks)

    def _on_local(self, event: ServerEvent) -> None:
        if not _relaying.get():
            task = asyncio.get_running_loop().create_task(self._spread(event))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _spread(self, event: ServerEvent) -> None:
        notification = event_to_notification(event, {}).model_dump(by_alias=True, mode="json", exclude_none=True)
        payload = {"method": notification["method"], "params": notification.get("params") or {}}
        payload["params"].pop("_meta", None)
        # Beside the publishing, not before it: neither waits for the other, nor fails with it.
        sessions = asyncio.create_task(self._to_sessions(event, payload, schema.now_ms()))
        try:
            if self._bus is not None:
                await self._audience.publish_notification(payload)
        except StorageError as exc:
            logger.warning("a server event reached this worker's clients only: %s", exc)
        await sessions

    async def on_remote(self, payload: dict[str, Any], at_ms: int) -> None:
        """An event that another worker published, and when (ms)."""
        event = event_from_wire(payload["method"], payload["params"])
        if event is None:
            return
        if self._bus is not None:
            token = _relaying.set(True)
            try:
                await self._bus.publish(event)
            finally:
                _relaying.reset(token)
        await self._to_sessions(event, payload, at_ms)

    async def _to_sessions(self, event: ServerEvent, payload: dict[str, Any], at_ms: int) -> None:
        held = dict(self._audience.held_sessions())
        if not held:
            return
        wanted = set(held)
        if isinstance(event, ResourceUpdated):
            try:
                wanted = await run(self._audience.sessions.subscribers(event.uri, sorted(held)))
            except StorageError as exc:
                logger.warning("a server event reached no session of this worker: %s", exc)
                return
        message = encode({"jsonrpc": "2.0", "method": payload["method"], "params": payload["params"]})
        await asyncio.gather(*(self._to_session(held[name], payload["method"], message) for name in wanted))

    async def _to_session(self, stream: StandaloneStream, method: str, message: str) -> None:
        try:
            # A session that another worker took over hears of it there.
            await stream.deliver(method, message)
        except StorageError as exc:
            logger.warning("a server event did not reach a session: %s", exc)
