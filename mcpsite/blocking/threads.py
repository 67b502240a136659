"""Blocking code of ours and of a project's own, in threads: its limit is not that of the SDK's sync handlers."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Final, ParamSpec, TypeVar

import anyio
from anyio import to_thread
from anyio.lowlevel import RunVar
from django.db import close_old_connections

from sessions_dynamo.tasks import to_its_end

P = ParamSpec("P")
T = TypeVar("T")

MAX_THREADS: Final = 40

_limiter: Final[RunVar[anyio.CapacityLimiter]] = RunVar("mcpsite.blocking.threads")


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call what blocks. Context variables that it sets are set here; database connections are given back.

    Cancelled, it returns at once: a call that has begun runs on and keeps its place among the threads, one that waits
    for a place is not made.
    """
    context = copy_context()
    is_wanted = True

    def call() -> T:
        if not is_wanted:
            raise _Unwanted
        try:
            return context.run(function, *args, **kwargs)
        finally:
            # Nobody else does: the short door sends no request_finished.
            close_old_connections()

    # In a task of its own: AnyIO would give back the place of a call whose caller is cancelled.
    try:
        return await to_its_end(to_thread.run_sync(call, limiter=_our_limiter()))
    finally:
        is_wanted = False
        _adopt(context)


class _Unwanted(Exception):
    """Nobody waits for the call any more."""


def _our_limiter() -> anyio.CapacityLimiter:
    try:
        return _limiter.get()
    except LookupError:
        limiter = anyio.CapacityLimiter(MAX_THREADS)
        _limiter.set(limiter)
        return limiter


def _adopt(context: Context) -> None:
    for variable in context:
        value = context[variable]
        try:
            if variable.get() is value:
                continue
        except LookupError:
            pass
        variable.set(value)
