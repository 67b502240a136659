"""What other workers published on the bus, read every ``EVENT_POLL_SECONDS`` while anything waits here."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Final

from mcpsite.endpoint.peers.poller import Step
from mcpsite.endpoint.streams.host import Host
from sessions_dynamo import schema
from sessions_dynamo.dataplane.loops import run
from sessions_dynamo.workers.bus import BusItem

logger = logging.getLogger(__name__)

OVERLAP_MS: Final = 3000
"""The bus is read again this far back: another host's clock may be behind, and its write may be under way."""


def published_ms(item: BusItem) -> int:
    """When an item was published, by its writer's clock (ms)."""
    return int(item.bus_id.partition("-")[0])


class BusReader:
    """Hands each item of another worker to ``heard``, once."""

    def __init__(self, host: Host, heard: Callable[[BusItem], None]) -> None:
        self._host = host
        self._heard = heard
        self._seen: set[str] = set()
        self._from_ms = 0

    def __len__(self) -> int:
        """Nothing waits for the bus as such."""
        return 0

    def listen(self) -> None:
        """Hear what is published from now on."""
        self._from_ms = schema.now_ms() - OVERLAP_MS

    def due(self, now: float, *, is_beat: bool) -> Iterator[tuple[object, Step]]:
        """A read at every beat."""
        if is_beat:
            yield "bus", self.read

    async def read(self) -> None:
        """Read what is new. Raises ``StorageError``."""
        started = schema.now_ms()
        items = await run(self._host.streams.bus.since(self._from_ms))
        new = [item for item in items if item.bus_id not in self._seen and item.origin != self._host.worker_id]
        self._from_ms = started - OVERLAP_MS
        oldest = f"{self._from_ms:013d}"
        self._seen = {item.bus_id for item in items if item.bus_id >= oldest}
        for item in new:
            try:
                self._heard(item)
            except Exception:
                # Of another version of this code, perhaps; those behind it are heard.
                logger.exception("a notification of another worker was not understood")
