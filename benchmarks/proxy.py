"""Proxies before DynamoDB: one that delays each answer and counts the requests, one that asks what writes cost."""

from __future__ import annotations

import asyncio
import json
import re
import selectors
import threading
from collections import Counter
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlsplit

from benchmarks.connections import Connection, ConnectionGone, Message, read_message

_TARGET: Final = re.compile(rb"X-Amz-Target: DynamoDB_\d+\.(\w+)", re.IGNORECASE)
_WRITES: Final = {"BatchWriteItem", "DeleteItem", "PutItem", "TransactWriteItems", "UpdateItem"}
_WAITING: Final = 1024


class _Thread:
    """An event loop on a thread of its own, and the server that it runs until it is closed."""

    def __init__(self) -> None:
        # epoll rounds a delay up to whole milliseconds; select does not, and has enough for 1,024 connections.
        self.loop = asyncio.SelectorEventLoop(selectors.SelectSelector())
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    def serve(self, starting: Coroutine[Any, Any, asyncio.Server]) -> str:
        """The URL where it listens now."""
        self._server = self.loop.run_until_complete(starting)
        self._thread.start()
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self.loop).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    async def _end(self) -> None:
        self._server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Proxy:
    """Passes bytes on; those of an answer ``delay_ms`` later."""

    def __init__(self, engine_url: str, *, delay_ms: float = 0.0) -> None:
        parts = urlsplit(engine_url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._thread = _Thread()
        self.delay = delay_ms / 1000
        self.engine = parts.hostname, parts.port
        self.operations: Counter[str] = Counter()
        listening = self._thread.loop.create_server(lambda: _Asker(self), "127.0.0.1", 0, backlog=_WAITING)
        self.url = self._thread.serve(listening)

    def close(self) -> None:
        self._thread.close()


class _End(asyncio.Protocol):
    """One side's connection; ``other`` is the side that gets what comes here."""

    transport: asyncio.Transport
    other: _End | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self.other is not None:
            self.other.transport.close()


class _Asker(_End):
    """The server under measurement."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._tail = b""
        self._early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._connecting = asyncio.ensure_future(self._connect())

    def data_received(self, data: bytes) -> None:
        # A header may be cut by the end of a read; what was counted is not looked at again.
        seen, end = self._tail + data, 0
        for match in _TARGET.finditer(seen):
            self._proxy.operations[match[1].decode()] += 1
            end = match.end()
        self._tail = seen[max(end, len(seen) - 80) :]
        if self.other is None:
            self._early.append(data)
        else:
            self.other.transport.write(data)

    async def _connect(self) -> None:
        host, port = self._proxy.engine
        _, self.other = await asyncio.get_running_loop().create_connection(
            lambda: _Engine(self, self._proxy.delay), host, port
        )
        self.other.transport.write(b"".join(self._early))


class _Engine(_End):
    """DynamoDB."""

    def __init__(self, asker: _Asker, delay: float) -> None:
        self._delay = delay
        self._asker = asker
        self.other = asker

    def data_received(self, data: bytes) -> None:
        asyncio.get_running_loop().call_later(self._delay, self._asker.transport.write, data)


class Meter:
    """Reads each request and answer whole, and counts; a write is asked for its capacity.

    For an engine that checks no signature.
    """

    def __init__(self, engine_url: str) -> None:
        self._thread = _Thread()
        self._engine_url = engine_url
        self.operations: Counter[str] = Counter()
        self.units = 0.0
        """Write units so far."""
        self.url = self._thread.serve(asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=_WAITING))

    def close(self) -> None:
        self._thread.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        engine = Connection(self._engine_url)
        with suppress(ConnectionGone, OSError, asyncio.CancelledError):
            answers, requests = await engine.open()
            while True:
                request = await read_message(reader)
                operation = request.headers.get("x-amz-target", "").rpartition(".")[2]
                self.operations[operation] += 1
                counted = operation in _WRITES
                requests.write((_asking(request) if counted else request).encode())
                answer = await read_message(answers)
                if counted:
                    self.units += _units(answer)
                writer.write(answer.encode())
        engine.close()
        writer.close()


def _asking(request: Message) -> Message:
    return replace(request, body=json.dumps(json.loads(request.body) | {"ReturnConsumedCapacity": "TOTAL"}).encode())


def _units(answer: Message) -> float:
    consumed = json.loads(answer.body).get("ConsumedCapacity", [])
    return sum(float(each["CapacityUnits"]) for each in (consumed if isinstance(consumed, list) else [consumed]))
