"""Server events (``ctx.notify_resource_updated()`` and its siblings) to clients of both eras on every worker.

The SDK's in-process bus serves the ``subscriptions/listen`` streams of this process; what is published here goes to
the other workers, and what they published comes in: of each topic, a resource or a list, at most ten times a second,
and the last of it always. A bus of the server's own, over Redis say, reaches every worker by itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Protocol

import anyio.lowlevel
from mcp.server.subscriptions import InMemorySubscriptionBus, ServerEvent, SubscriptionBus
from mcp.shared.subscriptions import ResourceUpdated, event_from_wire, event_to_notification

from mcpsite.endpoint.peers.coalescing import Coalescer
from mcpsite.endpoint.peers.news import NewsReader
from mcpsite.endpoint.peers.telling import Teller
from mcpsite.endpoint.streams.standalone import StandaloneStream
from mcpsite.endpoint.streams.tapped import Publish, tap
from mcpsite.endpoint.wire.answers import encode
from sessions_dynamo.dataplane.loops import run
from sessions_dynamo.errors import StorageError
from sessions_dynamo.store.session_operations import SessionOperations

logger = logging.getLogger(__name__)


class Audience(Protocol):
    """What notifications need of their process: the clients here, and what goes to the others and comes from them."""

    teller: Teller
    news: NewsReader

    @property
    def sessions(self) -> SessionOperations: ...

    def held_sessions(self) -> Mapping[str, StandaloneStream]:
        """The standalone streams that are open here, by session."""
        ...


class Notifications:
    """The bridge between the served server's bus, the other workers, and sessions with subscriptions."""

    def __init__(self, audience: Audience) -> None:
        self._audience = audience
        self._to_bus: Publish | None = None
        """To the listeners of an in-process bus; ``None`` for a bus that reaches every worker by itself."""
        self._unsubscribe: Callable[[], None] = lambda: None
        self._events = Coalescer[ServerEvent](self._later)
        self._own: set[str] = set()
        """The topics of which something was published here that others have not been told."""
        self._tasks: set[asyncio.Task[None]] = set()
        self.listening = 0
        """Streams that are open here to hear what is published."""

    # --- The server's bus -------------------------------------------------------------------------------------

    def attach(self, bus: SubscriptionBus) -> None:
        """Serve the events of a server's bus, which publishes on the running loop."""
        if isinstance(bus, InMemorySubscriptionBus):
            self._to_bus, self._unsubscribe = tap(bus, self._on_published)
        else:
            self._unsubscribe = bus.subscribe(self._on_heard)

    def detach(self) -> None:
        """Serve no more of them."""
        self._unsubscribe()
        self._events.close()

    @property
    def is_spreading(self) -> bool:
        """Whether events are on their way to other workers, or to clients of this one."""
        return bool(self._tasks) or self._events.is_waiting or self._audience.teller.is_spreading

    # --- Who listens ------------------------------------------------------------------------------------------

    async def attend(self) -> Callable[[], None]:
        """A stream is about to be opened that is to hear what is published from now on; what to call at its end.

        Raises ``StorageError``.
        """
        hears_others = self._to_bus is not None
        if hears_others:
            await self._audience.news.attend()
        self.listening += 1

        def leave() -> None:
            self.listening -= 1
            if hears_others:
                self._audience.news.leave()

        return leave

    # --- Events -----------------------------------------------------------------------------------------------

    async def _on_published(self, event: ServerEvent) -> None:
        """In place of the bus's own ``publish``, which gives each event to every listener at once."""
        topic = _topic_of(event)
        self._own.add(topic)
        if self._events.admits(topic, event):
            await self._spread(topic, event)
        else:
            # As the bus has it: a burst lets others run between its events.
            await anyio.lowlevel.checkpoint()

    def _on_heard(self, event: ServerEvent) -> None:
        """What a bus that reaches every worker gave to its listeners here."""
        topic = _topic_of(event)
        if self._events.admits(topic, event):
            self._later(topic, event)

    def on_remote(self, payload: Any) -> None:
        """An event that another worker told; one that this version does not know is let be."""
        event = event_from_wire(payload["method"], payload["params"])
        if event is not None:
            self._on_heard(event)

    def _later(self, topic: str, event: ServerEvent) -> None:
        self._begin(self._spread(topic, event))

    async def _spread(self, topic: str, event: ServerEvent) -> None:
        """Tell sessions, the other workers and the bus's listeners: none waits for another, nor fails with it."""
        payload = _payload_of(event)
        self._begin(self._to_sessions(event, payload))
        is_own = topic in self._own
        self._own.discard(topic)
        if self._to_bus is None:
            return
        if is_own:
            try:
                self._audience.teller.tell(payload, topic)
            except StorageError as exc:
                logger.warning("a server event reached this worker's clients only: %s", exc)
        await self._to_bus(event)

    async def _to_sessions(self, event: ServerEvent, payload: dict[str, Any]) -> None:
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

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _payload_of(event: ServerEvent) -> dict[str, Any]:
    notification = event_to_notification(event, {}).model_dump(by_alias=True, mode="json", exclude_none=True)
    params = notification.get("params") or {}
    params.pop("_meta", None)
    return {"method": notification["method"], "params": params}


def _topic_of(event: ServerEvent) -> str:
    return f"{type(event).__name__} {event.uri}" if isinstance(event, ResourceUpdated) else type(event).__name__
