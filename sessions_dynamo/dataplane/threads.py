"""Blocking work beside the loop, on a thread that nothing waits for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")


async def beside(work: Callable[[], T]) -> T:
    """The result of ``work``, run in a daemon thread of its own; raises what it raises.

    The loop's executor resolves host names and holds up the end of the process: a provider of credentials that stalls
    for a minute must do neither.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(set_outcome: Callable[[Any], None], outcome: Any) -> None:
        if not done.done():
            set_outcome(outcome)

    def tell(set_outcome: Callable[[Any], None], outcome: Any) -> None:
        with suppress(RuntimeError):  # The loop ended meanwhile.
            loop.call_soon_threadsafe(settle, set_outcome, outcome)

    def run() -> None:
        try:
            result = work()
        except BaseException as exc:
            tell(done.set_exception, exc)
        else:
            tell(done.set_result, result)

    threading.Thread(target=run, name="dataplane", daemon=True).start()
    return await done
