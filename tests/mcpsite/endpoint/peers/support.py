"""Processes that have nothing but what is tested, over one store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from mcpsite.endpoint.peers.news import NewsReader
from mcpsite.endpoint.peers.poller import Poller
from mcpsite.endpoint.peers.telling import Teller
from sessions_dynamo import worker_keys
from sessions_dynamo.workers.news import encoded
from sessions_dynamo.workers.stream_operations import StreamOperations, default_operations
from sessions_dynamo.workers.streams import default_store

POLL_SECONDS = 0.02


class Host:
    """A process that tells and hears."""

    def __init__(self, poll_seconds: float = POLL_SECONDS) -> None:
        self.worker_id = worker_keys.new_worker_id()
        self.poll_seconds = poll_seconds
        self.heard: list[tuple[str, Any]] = []
        self.poller = Poller(self)
        self.reader = NewsReader(self, self.poller, self._hear)
        self.teller = Teller(self, self.reader.talking)
        self.poller.attend(self.reader)
        self.newest = 0

    @property
    def streams(self) -> StreamOperations:
        return default_operations()

    @property
    def payloads(self) -> list[Any]:
        """What was heard, of whomever."""
        return [payload for _, payload in self.heard]

    def publish(self, *payloads: Any) -> None:
        """One item, at once."""
        texts = [encoded(payload) for payload in payloads]
        self.newest = default_store().news.publish(self.worker_id, self.newest + 1, texts)

    async def look(self) -> None:
        """A reading that the poller would begin."""
        await self.reader._look()

    def _hear(self, worker: str, payload: Any) -> None:
        if payload == "what nobody understands":
            raise ValueError(payload)
        self.heard.append((worker, payload))


@asynccontextmanager
async def polling(*hosts: Host) -> AsyncIterator[None]:
    """The hosts' pollers, at work."""
    tasks = [asyncio.create_task(host.poller.run()) for host in hosts]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
