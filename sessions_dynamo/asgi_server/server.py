"""uvicorn's server with our connections, and a stop in which nothing is waited for that need not be."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Coroutine, Generator, Sequence
from typing import Any, Final

import uvicorn

from sessions_dynamo.asgi_server.forwarded import Proxies
from sessions_dynamo.asgi_server.lifespan import RELEASE_CLIENTS, STOP_AT, Lifespan
from sessions_dynamo.asgi_server.limits import Limits
from sessions_dynamo.asgi_server.protocol import Protocol
from sessions_dynamo.asgi_server.state import State
from sessions_dynamo.asgi_server.watch import LoopWatch

logger = logging.getLogger("sessions_dynamo.asgi_server")

ACCEPT_BATCH: Final = 8
"""Connections that are accepted in one turn of the loop. Each is a file some turns before it can be refused."""
LOOK_SECONDS: Final = 0.05
CLOSE_SECONDS: Final = 0.5
CANCEL_SECONDS: Final = 1.0
"""For what is cancelled to clean up."""
DRAIN_SHARE, STOP_SHARE = 0.7, 0.9
"""Of the graceful time: for requests under way, and until the lifespan's shutdown is over. The rest is the process's
own, before it is killed."""


class Config(uvicorn.Config):
    """What does not differ between gunicorn and ``runserver``. ``backlog`` is of the sockets that it is given."""

    def __init__(self, app: Callable[..., Any], **options: Any) -> None:
        self.listen_backlog: int = options.pop("backlog", 2048)
        super().__init__(
            app,
            http=Protocol,
            ws="none",
            interface="asgi3",
            log_config=None,
            backlog=ACCEPT_BATCH,
            # ``Proxies`` reads them, in the protocol.
            proxy_headers=False,
            # A task that asyncio starts from the last request's task would see that one's variables.
            reset_contextvars=True,
            **options,
        )

    def load(self) -> None:
        """Load, with a lifespan of ours."""
        super().load()
        self.lifespan_class: Any = Lifespan


class Server(uvicorn.Server):
    """Serves one application on sockets that it is given. Signals are its owner's, who calls ``stop``."""

    def __init__(self, config: Config, *, limits: Limits, proxies: Proxies, graceful_seconds: float) -> None:
        super().__init__(config)
        self.server_state: State = State(limits, proxies)
        self._graceful_seconds = graceful_seconds
        self._listen_backlog = config.listen_backlog

    def stop(self, *, quick: bool = False) -> None:
        """Stop soon; from any thread or signal handler. ``quick`` waits for no request under way."""
        self.should_exit = True
        self.force_exit |= quick

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Capture none: uvicorn would raise them again at its end, and no exit handler would run."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Enter the lifespan and listen. Raises ``SystemExit`` if the application does not start."""
        await super().startup(sockets)
        for one in sockets or ():
            one.listen(self._listen_backlog)
        logger.info("Serving up to %d connections.", self.server_state.limits.max_connections)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Release clients, let requests under way end, then leave the lifespan: each in its share of the time."""
        state, now = self.server_state, asyncio.get_running_loop().time()
        drained_at, stop_at = now + DRAIN_SHARE * self._graceful_seconds, now + STOP_SHARE * self._graceful_seconds
        state.stopping = True
        self._release_clients(stop_at)
        for server in self.servers:
            server.close()
        for one in sockets or ():
            one.close()
        for connection in list(state.connections):
            connection.shutdown()
        if not await self._drained(drained_at):
            await self._cut_off()
        elif state.connections:
            # Over TLS both sides say that they close; who does not answer is not waited for.
            await asyncio.sleep(CLOSE_SECONDS)
        for transport in [*state.parting, *(connection.transport for connection in state.connections)]:
            transport.abort()
        try:
            async with asyncio.timeout_at(stop_at):
                await self.lifespan.shutdown()
        except TimeoutError:
            logger.error("The application's shutdown took too long and was cut off.")

    def _release_clients(self, stop_at: float) -> None:
        shared = self.lifespan.state
        shared[STOP_AT] = stop_at
        release = shared.get(RELEASE_CLIENTS)
        if release is not None:
            try:
                release()
            except Exception:
                logger.exception("Clients could not be released.")

    async def _drained(self, until: float) -> bool:
        """Whether every request under way has ended, and its answer was sent."""
        state, loop = self.server_state, asyncio.get_running_loop()

        def is_sending(transport: asyncio.Transport) -> bool:
            return not transport.is_closing() or transport.get_write_buffer_size() > 0

        # One more step of the loop for those that end by being released.
        await asyncio.sleep(LOOK_SECONDS)
        while state.tasks or any(is_sending(connection.transport) for connection in state.connections):
            if self.force_exit or loop.time() >= until:
                return False
            await asyncio.sleep(LOOK_SECONDS)
        return True

    async def _cut_off(self) -> None:
        """End what is still under way: as if its client had left, then by cancelling it; and let it clean up."""
        state = self.server_state
        logger.warning("%d requests and %d connections are cut off.", len(state.tasks), len(state.connections))
        for connection in list(state.connections):
            connection.transport.abort()
        await asyncio.sleep(LOOK_SECONDS)
        await cancelled(state.tasks)


async def cancelled(tasks: set[asyncio.Task[Any]] | set[asyncio.Task[None]]) -> None:
    """Cancel, and wait for their cleanup ``CANCEL_SECONDS`` at most."""
    pending = set(tasks)
    for task in pending:
        task.cancel()
    if pending:
        await asyncio.wait(pending, timeout=CANCEL_SECONDS)


def run(server: Server, sockets: Sequence[Any]) -> None:
    """Serve on a loop of this thread until the server stops. Raises ``SystemExit`` if the application does not start.

    Unlike ``asyncio.run`` it waits for nothing without end: neither for a task that swallows its cancellation, nor for
    a thread of the default executor.
    """
    loop = asyncio.SelectorEventLoop()
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(_serve(server, list(sockets)))
    finally:
        try:
            loop.run_until_complete(_end(loop))
        finally:
            asyncio.set_event_loop(None)
            loop.close()


async def _serve(server: Server, sockets: list[Any]) -> None:
    watch = LoopWatch(asyncio.get_running_loop())
    try:
        await server.serve(sockets)
    finally:
        watch.end()


def _end(loop: asyncio.AbstractEventLoop) -> Coroutine[Any, Any, None]:
    async def end() -> None:
        await cancelled(asyncio.all_tasks(loop) - {asyncio.current_task(loop)})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CANCEL_SECONDS):
                await loop.shutdown_asyncgens()

    return end()
