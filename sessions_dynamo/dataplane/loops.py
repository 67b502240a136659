"""The data planes of each running loop: found by the loop, driven on it, closed when its owner says so."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import TypeVar

from sessions_dynamo.conf import forget_on_change
from sessions_dynamo.dataplane.connection import KEEP_ALIVE_SECONDS
from sessions_dynamo.dataplane.driver import drive
from sessions_dynamo.dataplane.plane import DataPlane
from sessions_dynamo.operations import Operation
from sessions_dynamo.tasks import kept

T = TypeVar("T")

_planes: dict[asyncio.AbstractEventLoop, dict[str | None, DataPlane]] = {}
_lock = threading.Lock()


async def run(operation: Operation[T], *, region: str | None = None) -> T:
    """The result of an operation, on the running loop, in the service's own region or another. Raises
    ``StorageError``."""
    return await drive(plane_of_this_loop(region), operation)


def plane_of_this_loop(region: str | None = None) -> DataPlane:
    """The running loop's data plane of a region, by default the service's own; made where there is none yet."""
    loop = asyncio.get_running_loop()
    try:
        return _planes[loop][region]
    except KeyError:
        return _made(loop, region)


def start_plane_of_this_loop() -> None:
    """Have the running loop's plane look for its endpoint and credentials, so that no request waits for that.

    Returns at once; what fails, the first request tries again and raises.
    """
    kept(plane_of_this_loop().start(), name="dataplane-start")


def drop_stale_of_this_loop(seconds: float) -> None:
    """Close the running loop's idle connections, if all of them idled for so long that DynamoDB may have closed them.

    For a process that stood still: no timer ran, and what the other end said of its closing may have come to nobody.
    """
    if 0 <= seconds < KEEP_ALIVE_SECONDS:
        return
    for plane in _planes.get(asyncio.get_running_loop(), {}).values():
        plane.drop_idle()


async def close_planes_of_this_loop() -> None:
    """Close what the running loop has opened. Whoever runs a loop calls it before the loop ends."""
    with _lock:
        planes = _planes.pop(asyncio.get_running_loop(), {})
    for plane in planes.values():
        await plane.close()


def _made(loop: asyncio.AbstractEventLoop, region: str | None) -> DataPlane:
    plane = DataPlane(region)
    with _lock:
        # A plane holds its loop: one that ended without a word would stay for ever.
        for ended in [each for each in _planes if each.is_closed()]:
            del _planes[ended]
        _planes.setdefault(loop, {})[region] = plane
    return plane


def _forget() -> None:
    """Have each loop make its planes anew: another endpoint or other credentials are configured."""
    with _lock:
        forgotten = dict(_planes)
        _planes.clear()
    for loop, planes in forgotten.items():
        for plane in planes.values():
            with suppress(RuntimeError):  # The loop has ended.
                loop.call_soon_threadsafe(_close, plane)


def _close(plane: DataPlane) -> None:
    kept(plane.close())


forget_on_change(_forget, "DYNAMODB_", "AWS_")
