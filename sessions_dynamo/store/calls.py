"""Served calls: recorded in batches from a background thread, best effort, never in a response's way."""

from __future__ import annotations

import atexit
import logging
import queue
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final

from sessions_dynamo import schema
from sessions_dynamo.errors import InvalidState
from sessions_dynamo.store import batches, queries, values
from sessions_dynamo.store.events import EventStore, default_store

logger = logging.getLogger(__name__)

BATCH: Final = batches.WRITE_SIZE
LINGER_SECONDS: Final = 1.0
"""How long a call waits for others to share its request with."""
MAX_WAITING: Final = 10_000
"""Calls kept while DynamoDB does not answer; further ones are dropped, and the drop is logged."""
MAX_BODY_BYTES: Final = 64 * 1024
"""Of any text of a call: one item too large would cost its whole batch."""


@dataclass(frozen=True, slots=True)
class Call:
    """One served call. Sizes are bytes of JSON; bodies are kept only where ``RECORD_BODIES`` is on."""

    session_id: str
    at: datetime
    method: str
    outcome: str
    """``ok``, ``tool_error``, or the JSON-RPC error code."""
    duration_ms: float
    tool: str | None = None
    request_bytes: int = 0
    response_bytes: int = 0
    request_body: str | None = None
    response_body: str | None = None


class CallRecorder:
    """Takes calls from any thread and writes them 25 to a request. Starts its thread on first use, after a fork."""

    def __init__(self, store: EventStore) -> None:
        self._store = store
        self._waiting: queue.Queue[Call | None] = queue.Queue(MAX_WAITING)
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._dropped = 0

    def record(self, call: Call) -> None:
        """Queue a call; never blocks, never raises."""
        try:
            self._waiting.put_nowait(call)
        except queue.Full:
            self._dropped += 1
            return
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="call-recorder", daemon=True)
                    self._thread.start()
                    atexit.register(self.close)

    def close(self, timeout: float = 5.0) -> None:
        """Write what waits and end the thread; at most ``timeout`` seconds."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        deadline = time.monotonic() + timeout
        try:
            self._waiting.put(None, timeout=timeout)
        except queue.Full:
            return
        thread.join(max(0.0, deadline - time.monotonic()))

    def _run(self) -> None:
        open_ = True
        while open_:
            batch, open_ = self._next_batch()
            if not batch:
                continue
            try:
                batches.put(self._store.dynamodb, self._store.table, [self._item(call) for call in batch])
            except Exception as exc:  # Whatever it was, the calls after these are recorded.
                logger.warning("%d served calls were not recorded: %s", len(batch), exc)
            if self._dropped:
                dropped, self._dropped = self._dropped, 0
                logger.warning("%d served calls were not recorded: too many waited", dropped)

    def _next_batch(self) -> tuple[list[Call], bool]:
        first = self._waiting.get()
        if first is None:
            return [], False
        batch, deadline = [first], time.monotonic() + LINGER_SECONDS
        while len(batch) < BATCH:
            try:
                call = self._waiting.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                break
            if call is None:
                return batch, False
            batch.append(call)
        return batch, True

    def _item(self, call: Call) -> dict[str, Any]:
        at_ms = round(call.at.timestamp() * 1000)
        item: dict[str, Any] = {
            "session_id": {"S": call.session_id},
            "event_id": {"S": schema.call_id(at_ms)},
            "timestamp": {"N": str(at_ms)},
            "shard": {"S": schema.shard(call.session_id)},
            "method": {"S": _cut(call.method)},
            "outcome": {"S": call.outcome},
            "duration_ms": {"N": f"{call.duration_ms:.3f}"},
            "request_bytes": {"N": str(call.request_bytes)},
            "response_bytes": {"N": str(call.response_bytes)},
            schema.TTL_ATTRIBUTE: {"N": str(int((datetime.now(UTC) + self._store.event_ttl).timestamp()))},
        }
        optional = {"tool": call.tool, "request_body": call.request_body, "response_body": call.response_body}
        return item | {name: {"S": _cut(text)} for name, text in optional.items() if text}


def recent_calls(store: EventStore, session_id: str, limit: int = 50) -> list[Call]:
    """The session's newest served calls, at most ``limit``, newest first."""
    items = queries.query_all(
        store.dynamodb,
        TableName=store.table,
        KeyConditionExpression="session_id = :session AND begins_with(event_id, :call)",
        ExpressionAttributeValues={":session": {"S": session_id}, ":call": {"S": schema.CALL_PREFIX}},
        ScanIndexForward=False,
        Limit=limit,
    )
    return [decode(item) for item in islice(items, limit)]


def decode(item: dict[str, Any]) -> Call:
    """The call of an item."""

    def text(name: str) -> str | None:
        return item[name]["S"] if name in item else None

    return Call(
        session_id=item["session_id"]["S"],
        at=datetime.fromtimestamp(int(item["timestamp"]["N"]) / 1000, UTC),
        method=item["method"]["S"],
        outcome=item["outcome"]["S"],
        duration_ms=float(item["duration_ms"]["N"]),
        tool=text("tool"),
        request_bytes=int(item["request_bytes"]["N"]),
        response_bytes=int(item["response_bytes"]["N"]),
        request_body=text("request_body"),
        response_body=text("response_body"),
    )


_recorder: CallRecorder | None = None
_recorder_lock = threading.Lock()


def default_recorder() -> CallRecorder:
    """The process's recorder, made on first use."""
    global _recorder
    with _recorder_lock:
        if _recorder is None or _recorder._store is not default_store():
            _recorder = CallRecorder(default_store())
        return _recorder


def body_for_record(body: Any) -> str | None:
    """A message's JSON text for the record, cut at ``MAX_BODY_BYTES``; ``None`` for what has none."""
    try:
        return _cut(values.dumps(body))
    except InvalidState:
        return None


def _cut(text: str) -> str:
    # A client's name for a method or a tool may hold a lone surrogate, which no item can.
    return text.encode(errors="replace")[:MAX_BODY_BYTES].decode(errors="ignore")
