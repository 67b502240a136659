"""What the data plane's tests share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from sessions_dynamo.dataplane.plane import DataPlane

GET = {"TableName": "table", "Key": {"id": {"S": "one"}}}


@asynccontextmanager
async def plane() -> AsyncIterator[DataPlane]:
    """A data plane of the running loop."""
    made = DataPlane()
    try:
        yield made
    finally:
        await made.close()


class Heart:
    """Counts how often the loop came round."""

    beats = 0


@asynccontextmanager
async def heartbeat() -> AsyncIterator[Heart]:
    """A task beside the block."""
    heart = Heart()

    async def beat() -> None:
        while True:
            await asyncio.sleep(0.001)
            heart.beats += 1

    task = asyncio.create_task(beat())
    try:
        yield heart
    finally:
        task.cancel()


async def until(true: Callable[[], Any], seconds: float = 20) -> None:
    """Wait for something, while the loop goes on."""
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.005)
