"""The database connections that code of others opens in threads, given back when it is done.

Django closes a connection at the end of a request, in the thread that served it. Here no request has a thread.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from contextvars import ContextVar
from typing import Any, Final
from weakref import WeakSet

import anyio
from anyio import to_thread
from anyio.lowlevel import RunVar
from asgiref.sync import sync_to_async
from django.db import close_old_connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

logger = logging.getLogger(__name__)

_HANDLERS_THREADS: Final = "AnyIO worker thread"
"""What AnyIO calls the threads of the SDK's sync handlers."""

_is_watched: Final[ContextVar[bool]] = ContextVar("is_watched", default=False)
_lock: Final = threading.Lock()
_of_handlers: Final[WeakSet[BaseDatabaseWrapper]] = WeakSet()
_of_async_code: Final[WeakSet[BaseDatabaseWrapper]] = WeakSet()
_turns: Final[RunVar[anyio.Lock]] = RunVar("mcpsite.blocking.database")
_closing: Final[RunVar[asyncio.Task[None]]] = RunVar("mcpsite.blocking.database.closing")


# A class, not a generator: each request enters it.
class given_back:
    """What is opened in this context, and in the threads that it calls, is given back at its end, cancelled or not."""

    __slots__ = ()

    async def __aenter__(self) -> None:
        _is_watched.set(True)

    async def __aexit__(self, *_: object) -> None:
        if _of_handlers or _of_async_code:
            # A thread that ends with a connection of a pool takes that place in the pool with it, for good.
            with anyio.CancelScope(shield=True):
                await give_back()


def _note(connection: BaseDatabaseWrapper, **_: Any) -> None:
    if _is_watched.get():
        in_handlers_thread = threading.current_thread().name.startswith(_HANDLERS_THREADS)
        with _lock:
            (_of_handlers if in_handlers_thread else _of_async_code).add(connection)


def _open(connections: WeakSet[BaseDatabaseWrapper]) -> int:
    if not connections:
        return 0
    with _lock:
        return sum(connection.connection is not None for connection in connections)


def _turn() -> anyio.Lock:
    try:
        return _turns.get()
    except LookupError:
        lock = anyio.Lock()
        _turns.set(lock)
        return lock


async def give_back() -> None:
    """Close what is open in threads where nothing runs, as Django does at the end of a request.

    A connection belongs to its thread, and AnyIO gives out first the threads that were used last: as many closers at
    once as there are connections reach those of them that are idle. A busy one is reached when its own call ends.
    """
    if _open(_of_handlers):
        # One after the other: where many connections are busy, many answers would begin as many threads each.
        async with _turn():
            if count := _open(_of_handlers):
                # Not by the handlers' own limiter: all of them may be blocked, and this answer is none of them.
                limiter = anyio.CapacityLimiter(count)
                closers = (to_thread.run_sync(close_old_connections, limiter=limiter) for _ in range(count))
                for failure in await asyncio.gather(*closers, return_exceptions=True):
                    if failure is not None:
                        logger.warning("a database connection could not be given back: %r", failure)
    if _open(_of_async_code) and (_closing.get(None) is None or _closing.get().done()):
        # What async handlers opened by way of Django's own a-methods, all of them in one thread: it may be busy for
        # another of them, and no answer waits for that.
        _closing.set(asyncio.create_task(sync_to_async(close_old_connections)()))


connection_created.connect(_note)
