"""Workers on one event loop over one store, and the clients at the other end of their outboxes."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Callable, Sized
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mcp_types import JSONRPCError, JSONRPCResponse

from mcpsite.endpoint.streams.outbox import Answer, Begin, Failure, Outbox
from mcpsite.endpoint.streams.owned import OwnedStream
from mcpsite.endpoint.streams.worker import Worker
from mcpsite.endpoint.wire import sse
from mcpsite.endpoint.wire.answers import Reply, encode, reply_body
from sessions_dynamo.store.session_items import Session
from sessions_dynamo.store.sessions import default_store
from sessions_dynamo.workers.roster import WorkerItem
from sessions_dynamo.workers.streams import StreamStore

LATEST, OLDER = "2025-11-25", "2025-06-18"
POLL_SECONDS = 0.02
RETRY_MS = 300
PATIENCE_SECONDS = 30.0


# --- What a client reads --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Received:
    """One event as a browser would dispatch it, or a comment or a lone ``retry``."""

    event_id: str | None = None
    event: str | None = None
    data: str | None = None
    retry: int | None = None

    @property
    def message(self) -> Any:
        assert self.data is not None
        return json.loads(self.data)


def parse(raw: bytes) -> list[Received]:
    """An event stream read as the HTML standard says, independently of how it was written."""
    received = []
    for block in re.split(r"\n\n", re.sub(r"\r\n|\r", "\n", raw.decode())):
        fields: dict[str, str] = {}
        for line in block.split("\n"):
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "data" and "data" in fields:
                value = f"{fields['data']}\n{value}"
            if name:
                fields[name] = value
        if fields:
            retry = int(fields["retry"]) if "retry" in fields else None
            received.append(Received(fields.get("id"), fields.get("event"), fields.get("data"), retry))
    return received


class Peer:
    """The client of one response, or what reads for it: everything that was put, without waiting."""

    def __init__(self) -> None:
        self.outbox = Outbox(farewell=sse.farewell(LATEST, RETRY_MS))
        self.received: list[Received] = []
        self.answer: Answer | Failure | None = None
        self.is_closed = False

    def read(self, most: int | None = None) -> list[Received]:
        """What has come since the last look, or the first frames of it."""
        new: list[Received] = []
        while not self.is_closed and most != len(new) and self.outbox.waiting:
            item = self.outbox.take()
            if isinstance(item, Begin):
                break
            if isinstance(item, bytes):
                new += parse(item)
            elif item is None:
                self.is_closed = True
            else:
                self.answer = item
        self.received += new
        return new

    def leave(self) -> None:
        """Close the connection, as the task that writes does when it is closed."""
        self.outbox.gone()

    @property
    def messages(self) -> list[Any]:
        """Every message so far."""
        self.read()
        return [one.message for one in self.received if one.data]

    @property
    def texts(self) -> list[Any]:
        """The ``data`` of every log message so far, and ``result`` or ``error`` for a response."""
        return [text_of(message) for message in self.messages]

    @property
    def has_ended(self) -> bool:
        """Whether the response has, and everything of it was read."""
        self.read()
        return self.is_closed

    @property
    def cursor(self) -> str:
        """The id of the last event that had one."""
        self.read()
        return [one.event_id for one in self.received if one.event_id][-1]


def text_of(message: dict[str, Any]) -> Any:
    if "method" in message:
        return (message.get("params") or {}).get("data", message["method"])
    return "error" if "error" in message else "result"


# --- What a handler sends -------------------------------------------------------------------------------------


def log(data: Any) -> dict[str, Any]:
    """A log message."""
    return {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": data}}


def result(request_id: Any = 1, **members: Any) -> JSONRPCResponse:
    return JSONRPCResponse(jsonrpc="2.0", id=request_id, result=members)


async def finish(stream: OwnedStream, reply: Reply | None = None) -> None:
    """Answer, as the endpoint does."""
    reply = reply or result()
    assert isinstance(reply, (JSONRPCResponse, JSONRPCError))
    await stream.finish(reply, encode(reply_body(reply)))


def owned(worker: Worker, session: Session, *, request_id: Any = 1, version: str = LATEST) -> tuple[OwnedStream, Peer]:
    """The stream of a request, and its client."""
    peer = Peer()
    return OwnedStream(worker, session, request_id, version, peer.outbox), peer


# --- Other processes ------------------------------------------------------------------------------------------


def beats(store: StreamStore, worker_id: str, number: int = 1, *, lease_seconds: float = 15.0) -> None:
    """The beat of a worker that we do not see."""
    now = datetime.now(UTC)
    store.roster.keep(WorkerItem(worker_id, number, lease_seconds, lease_seconds / 3, "elsewhere", 1, now, now))


def put(store: StreamStore, item: dict[str, str | int]) -> None:
    """Put an item as another version of the service would."""
    typed: Any = {name: {"S": value} if isinstance(value, str) else {"N": str(value)} for name, value in item.items()}
    store.events.dynamodb.put_item(TableName=store.events.table, Item=typed)


# --- Workers --------------------------------------------------------------------------------------------------


def new_session(**fields: Any) -> Session:
    """A session in the store, of a client that knows priming events."""
    return default_store().create(protocol_version=LATEST, **fields)


@asynccontextmanager
async def running(worker: Worker) -> AsyncIterator[Worker]:
    """A worker with its poller."""
    polling = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        polling.cancel()
        await asyncio.gather(polling, return_exceptions=True)


@asynccontextmanager
async def workers(count: int, *, poll: float = POLL_SECONDS, lease: float = 15.0) -> AsyncIterator[list[Worker]]:
    """Some workers with their pollers, as processes would be."""
    async with AsyncExitStack() as stack:
        made = []
        for _ in range(count):
            worker = Worker()
            worker.poll_seconds, worker.lease_seconds = poll, lease
            made.append(await stack.enter_async_context(running(worker)))
        yield made


async def until(condition: Callable[[], Any], seconds: float = PATIENCE_SECONDS) -> None:
    """Wait for a condition; fails after ``seconds``."""
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "it did not come about"
        await asyncio.sleep(0.005)


def leftovers(worker: Worker) -> dict[str, int]:
    """What a worker still keeps, where it is not nothing."""
    kept: dict[str, Sized] = {
        "running": worker._running,
        "replies": worker._replies,
        "standalone": worker._held._standalone,
        "followers": worker._held._followers,
        "owned": worker._held.owned,
        "traces": worker._traces,
        "clients": worker.clients,
        # But for what is named: a look at the bus may always be under way.
        "under way": [step for step in worker._poller._under_way if not isinstance(step, str)],
    }
    return {name: len(things) for name, things in kept.items() if things}
