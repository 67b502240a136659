"""Answers of clients that handlers of this process wait for; any other worker that they land on sends them here."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from mcpsite.endpoint.peers.poller import Poller, Step
from mcpsite.endpoint.streams.host import IDLE_FACTOR, Host
from mcpsite.endpoint.streams.running import Key
from sessions_dynamo.dataplane.loops import run


class AwaitedReplies:
    """One future for each request of ours that is out."""

    def __init__(self, host: Host, poller: Poller) -> None:
        self._host = host
        self._poller = poller
        self._futures: dict[Key, asyncio.Future[dict[str, Any]]] = {}
        self._next_look = 0.0

    def __len__(self) -> int:
        return len(self._futures)

    def __contains__(self, key: object) -> bool:
        return key in self._futures

    def due(self, now: float, *, is_beat: bool) -> Iterator[tuple[object, Step]]:
        """A look at all of them, seldom: a worker of the version before stores an answer that lands on it."""
        if self._futures and now >= self._next_look:
            self._next_look = now + self._host.poll_seconds * IDLE_FACTOR
            yield "replies", partial(self.fetch, list(self._futures))

    @contextmanager
    def expect(self, session_id: str, request_id: str) -> Iterator[asyncio.Future[dict[str, Any]]]:
        """The client's answer to a request that is about to be sent."""
        key = (session_id, request_id)
        reply: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._futures[key] = reply
        self._poller.stir()
        try:
            yield reply
        finally:
            self._futures.pop(key, None)

    def resolve(self, key: Key, text: str) -> bool:
        """Hand an answer (JSON text) to whoever waits for it here; whether anybody does."""
        reply = self._futures.get(key)
        if reply is None:
            return False
        if not reply.done():
            reply.set_result(json.loads(text))
        return True

    async def fetch(self, keys: Iterable[Key]) -> None:
        """Read the answers that have come. Raises ``StorageError``."""
        for key, text in (await run(self._host.streams.replies.get(keys))).items():
            self.resolve(key, text)
