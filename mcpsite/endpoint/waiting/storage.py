"""The store, driven on the running loop."""

from __future__ import annotations

from typing import TypeVar

from sessions_dynamo.dataplane.driver import drive
from sessions_dynamo.dataplane.loops import plane_of_this_loop
from sessions_dynamo.operations import Operation

T = TypeVar("T")


async def run(operation: Operation[T], *, region: str | None = None) -> T:
    """The result of an operation, in the service's own region or another. Raises ``StorageError``."""
    return await drive(plane_of_this_loop(region), operation)
