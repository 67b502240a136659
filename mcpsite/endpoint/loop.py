"""What belongs to one event loop: the served server's lifespan, entered once, and this worker among the others.

A process serves on one; Try it, tests and Lambda run others, so it is found by the loop that runs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from anyio import to_thread
from mcp.server.lowlevel import Server

from mcpsite.endpoint.conf import conf
from mcpsite.endpoint.server_object.http_app import routes_are_served, served_app
from mcpsite.endpoint.serving.served import served_server, subscription_bus
from mcpsite.endpoint.streams.worker import Worker
from mcpsite.endpoint.wire.answers import UNANSWERED
from sessions_dynamo.dataplane.loops import close_planes_of_this_loop
from sessions_dynamo.recorder import CallRecorder
from sessions_dynamo.tasks import kept

logger = logging.getLogger(__name__)

T = TypeVar("T")
CutOff = Callable[[str], Coroutine[Any, Any, bool]]
"""Answers for a handler that is about to be cancelled, with an error of this text; whether it had not answered yet."""

EXIT_SECONDS: Final = 2.0
"""Beyond the grace: to leave the lifespan, to clean up what is cancelled, and to write the last records."""


class ServingLoop:
    """A server's lifespan and its worker, on the loop that runs."""

    def __init__(self, server: Server[Any]) -> None:
        self.server = server
        self.lifespan_state: Any = None
        self.worker: Worker
        self.recorder = CallRecorder()
        self._started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._stop = asyncio.Event()
        self._grace = 0.0
        self._handlers: dict[asyncio.Task[Any], CutOff | None] = {}
        self._unheeded: set[asyncio.Task[Any]] = set()
        """Handlers that took too long: they go on, and no answer waits for them."""
        # Entered and left by one task: a task group in the lifespan is that task's.
        self._lifespan = asyncio.create_task(self._run(), name="mcp-lifespan")
        self._lifespan.add_done_callback(self._ended)

    @property
    def is_started(self) -> bool:
        """Whether the lifespan has been entered."""
        return self._started.done() and not self._started.cancelled() and self._started.exception() is None

    async def start(self) -> None:
        """Wait until the lifespan is entered; raises what it raised."""
        await asyncio.shield(self._started)

    def serves(self, server: Server[Any]) -> bool:
        """Whether it can take work for a server: a lifespan that crashed cannot."""
        return self.server is server and not self._lifespan.done()

    def begin(self, handler: Coroutine[Any, Any, T], *, cut_off: CutOff | None = None) -> asyncio.Task[T]:
        """Run a handler in a task of its own: it outlives the request that asked for it."""
        task = asyncio.create_task(handler)
        # The loop itself holds tasks weakly.
        self._handlers[task] = cut_off
        task.add_done_callback(self._handler_ended)
        return task

    def release_clients(self) -> None:
        """Send the clients of open streams elsewhere: this process is about to stop."""
        if self._started.done():
            self.worker.clients.close_all()

    async def idle(self, seconds: float) -> bool:
        """Wait for handlers whose clients were answered or left, at most so long; whether all have ended."""
        if self._handlers:
            await asyncio.wait(list(self._handlers), timeout=seconds)
        return not self._handlers

    async def settle(self, seconds: float) -> None:
        """Wait for handlers whose clients were answered or left, and for what they have yet to tell and to write.

        For a process that is frozen after each answer; at most ``seconds`` for each of these. A handler that takes
        longer goes on when the process does, and no later answer waits for it.
        """
        if not await self.idle(seconds):
            self._leave()
        await self.worker.spread(seconds)
        await self.recorder.flush(seconds)

    async def give_up(self, reason: str, seconds: float) -> bool:
        """End what runs here: what has no answer yet gets an error with this text, then handlers are cancelled, and
        clients of streams that stay open are sent away. Whether any request was ended so.

        At most ``seconds``. A handler that has not ended by then goes on, and nobody waits for it any more.
        """
        was_cut_off = await self._cut_off(reason, seconds)
        if not await self.idle(0):
            logger.warning(
                "%d handlers did not end when they were cancelled: they go on beside later calls", len(self._handlers)
            )
            self._leave()
        self.worker.clients.send_away()
        return was_cut_off

    async def close(self, by: float | None = None) -> None:
        """Let running handlers finish, leave the lifespan, and cancel what is left of either: a request without an
        answer gets an error, so that nobody who comes back for its stream waits for a lease to lapse.

        Bounded by ``SHUTDOWN_GRACE_SECONDS`` and, if that is sooner, by the loop's time ``by``.
        """
        now = asyncio.get_running_loop().time()
        grace = conf.SHUTDOWN_GRACE_SECONDS if by is None else min(conf.SHUTDOWN_GRACE_SECONDS, by - now - EXIT_SECONDS)
        self._grace = max(0.0, grace)
        self._stop.set()
        await asyncio.wait([self._lifespan], timeout=self._grace + EXIT_SECONDS / 2)
        ends = asyncio.get_running_loop().time() + EXIT_SECONDS / 4
        left = [task for task in (*self._unheeded, self._lifespan) if not task.done()]
        for task in left:
            task.cancel()
        await self._cut_off(UNANSWERED, EXIT_SECONDS / 4)
        if left:
            await asyncio.wait(left, timeout=max(0.0, ends - asyncio.get_running_loop().time()))
        await self.recorder.close(EXIT_SECONDS / 4)

    async def _cut_off(self, reason: str, seconds: float) -> bool:
        """Answer what has no answer yet with an error, then cancel each handler, in at most so many seconds; whether
        any request was answered so."""
        left = self._handlers.copy()
        ends = asyncio.get_running_loop().time() + seconds
        # Kept: what takes longer to store is stored all the same, if the process goes on.
        answers = [kept(cut_off(reason)) for cut_off in left.values() if cut_off is not None]
        if answers:
            await asyncio.wait(answers, timeout=seconds / 2)
        for handler in left:
            handler.cancel()
        if left:
            await asyncio.wait(left, timeout=max(0.0, ends - asyncio.get_running_loop().time()))
        return any(answer.done() and answer.result() for answer in answers)

    async def _run(self) -> None:
        # A sync tool holds one of AnyIO's threads, and each call may be for one.
        to_thread.current_default_thread_limiter().total_tokens = conf.THREADS
        self.worker = Worker()
        if (bus := subscription_bus(self.server)) is not None:
            self.worker.notifications.attach(bus)
        if served_app().routes and not routes_are_served.is_set():
            logger.warning(
                "the server object's own routes, such as those of its authentication, are not served: wrap the"
                " application in mcpsite.endpoint.own_routes.OwnRoutes in asgi.py"
            )
        async with self.server.lifespan(self.server) as self.lifespan_state:
            polling = asyncio.create_task(self.worker.run())
            # A poller that fails holds no lease any more: the lifespan ends with it, and another is begun.
            polling.add_done_callback(lambda _: self._stop.set())
            self._started.set_result(None)
            try:
                await self._stop.wait()
                await self.worker.drain(self._grace)
            finally:
                polling.cancel()
                await asyncio.wait([polling])
            if not polling.cancelled():
                polling.result()

    def _leave(self) -> None:
        self._unheeded |= self._handlers.keys()
        self._handlers.clear()

    def _handler_ended(self, handler: asyncio.Task[Any]) -> None:
        self._handlers.pop(handler, None)
        self._unheeded.discard(handler)

    def _ended(self, lifespan: asyncio.Task[None]) -> None:
        """A lifespan that fails to start fails the request that asked for it; the next request tries again."""
        failure = asyncio.CancelledError() if lifespan.cancelled() else lifespan.exception()
        if self._started.done():
            if failure is not None and not lifespan.cancelled():
                lifespan.get_loop().call_exception_handler(
                    {"message": "the served server's lifespan failed", "exception": failure, "task": lifespan}
                )
        elif failure is not None:
            self._started.set_exception(failure)
            self._started.exception()  # Whoever waits for it raises it; it may be nobody.


_loops: Final[dict[asyncio.AbstractEventLoop, ServingLoop]] = {}


async def current_loop() -> ServingLoop:
    """What belongs to the running loop, begun on first use; raises what the server's lifespan raised."""
    running, server = asyncio.get_running_loop(), served_server()
    serving = _loops.get(running)
    if serving is None or not serving.serves(server):
        if serving is not None:
            await serving.close()
        elif closed := [loop for loop in _loops if loop.is_closed()]:
            for loop in closed:
                del _loops[loop]
        # Another request may have begun it meanwhile.
        serving = _loops.get(running)
        if serving is None or not serving.serves(server):
            serving = _loops[running] = ServingLoop(server)
    if not serving.is_started:
        await serving.start()
    return serving


def begun_loop() -> ServingLoop | None:
    """What belongs to the running loop, if it was begun."""
    return _loops.get(asyncio.get_running_loop())


async def close_loop(by: float | None = None) -> None:
    """End what belongs to the running loop, if it was begun, before the loop's time ``by`` if that is given."""
    if (serving := begun_loop()) is not None:
        await serving.close(by)
        _loops.pop(asyncio.get_running_loop(), None)
    await close_planes_of_this_loop()
