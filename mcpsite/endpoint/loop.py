"""One asyncio loop a process, in a background thread, with the served server's lifespan entered once.

The kernel and every async handler run on it, as they would under an ASGI server, while views stay synchronous.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from anyio import to_thread
from mcp.server.lowlevel import Server

from mcpsite.endpoint.conf import conf
from mcpsite.endpoint.serving.served import served_server, subscription_bus
from mcpsite.endpoint.streams.worker import Worker

T = TypeVar("T")

LIFESPAN_EXIT_SECONDS = 5.0


class LoopThread:
    """The loop's thread. Made on first use: a thread started before a fork is dead in the child."""

    def __init__(self, server: Server[Any]) -> None:
        self.server = server
        self.pid = os.getpid()
        self.lifespan_state: Any = None
        self.worker: Worker
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        started: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(started,), name="mcp-loop", daemon=True)
        self._thread.start()
        started.result()

    def serves(self, server: Server[Any]) -> bool:
        """Whether it can take work for a server: a fork leaves it behind, and so does a lifespan that crashes."""
        return self.server is server and self.pid == os.getpid() and self._thread.is_alive()

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine on the loop, in a copy of the caller's context variables."""
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def release_clients(self) -> None:
        """Send the clients of open streams elsewhere: this process is about to stop. Safe in a signal handler."""
        if self._loop is not None and self._loop.is_running() and self.pid == os.getpid():
            self._loop.call_soon_threadsafe(self.worker.clients.close_all)

    def close(self) -> None:
        """Let running handlers finish, leave the lifespan, end the thread; bounded by ``SHUTDOWN_GRACE_SECONDS``."""
        if self._loop is not None and self._stop is not None and self.pid == os.getpid() and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(conf.SHUTDOWN_GRACE_SECONDS + LIFESPAN_EXIT_SECONDS)

    def _run(self, started: Future[None]) -> None:
        async def main() -> None:
            self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
            # A sync tool holds one of AnyIO's threads, and each request may be for one.
            limiter = to_thread.current_default_thread_limiter()
            limiter.total_tokens = max(limiter.total_tokens, conf.THREADS)
            self.worker = Worker()
            if (bus := subscription_bus(self.server)) is not None:
                self.worker.notifications.attach(bus)
            async with self.server.lifespan(self.server) as self.lifespan_state:
                polling = asyncio.create_task(self.worker.run())
                started.set_result(None)
                await self._stop.wait()
                await self.worker.drain(conf.SHUTDOWN_GRACE_SECONDS)
                polling.cancel()

        try:
            asyncio.run(main())
        except BaseException as exc:
            # A lifespan that fails to start fails the request that asked for it; the next request tries again.
            if started.done():
                raise
            started.set_exception(exc)


_current: LoopThread | None = None
_lock = threading.Lock()


def current_loop() -> LoopThread:
    """The process's loop, started if it is not running; raises what the server's lifespan raised."""
    global _current
    server = served_server()
    if _current is None or not _current.serves(server):
        with _lock:
            if _current is None or not _current.serves(server):
                if _current is not None:
                    _current.close()
                _current = LoopThread(server)
                atexit.register(_current.close)
    return _current


def running_loop() -> LoopThread | None:
    """The process's loop if it has been started."""
    return _current if _current is not None and _current.pid == os.getpid() else None
