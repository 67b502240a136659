"""Work on the running loop that goes on to its end, whoever waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

T = TypeVar("T")

_kept: Final[set[asyncio.Task[Any]]] = set()
"""The loop itself holds tasks weakly."""


def kept(work: Coroutine[Any, Any, T], *, name: str | None = None) -> asyncio.Task[T]:
    """The task of ``work``, begun. What it raises is for whoever waits for it, which may be nobody."""
    task = asyncio.create_task(work, name=name)
    _kept.add(task)
    task.add_done_callback(_ended)
    return task


async def to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """The result of ``work``; a caller that is cancelled meanwhile leaves it running. Raises what it raises."""
    return await asyncio.shield(kept(work))


def _ended(task: asyncio.Task[Any]) -> None:
    _kept.discard(task)
    if not task.cancelled():
        task.exception()
