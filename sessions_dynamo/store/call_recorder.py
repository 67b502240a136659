"""Served calls: recorded in batches from a background thread, best effort, never in a response's way."""

from __future__ import annotations

import atexit
import logging
import queue
import threading
import time
from datetime import UTC, datetime
from typing import Final

from sessions_dynamo.store import batches, calls
from sessions_dynamo.store.calls import Call
from sessions_dynamo.store.events import EventStore, default_store
from sessions_dynamo.store.times import seconds

logger = logging.getLogger(__name__)

BATCH: Final = batches.WRITE_SIZE
LINGER_SECONDS: Final = 1.0
"""How long a call waits for others to share its request with."""
MAX_WAITING: Final = 10_000
"""Calls kept while DynamoDB does not answer; further ones are dropped, and the drop is logged."""


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
                self._store.drive(batches.put(self._store.table, [self._item(call) for call in batch]))
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

    def _item(self, call: Call) -> calls.Item:
        return calls.encode(call, seconds(datetime.now(UTC) + self._store.event_ttl))


_recorder: CallRecorder | None = None
_recorder_lock = threading.Lock()


def default_recorder() -> CallRecorder:
    """The process's recorder, made on first use."""
    global _recorder
    with _recorder_lock:
        if _recorder is None or _recorder._store is not default_store():
            _recorder = CallRecorder(default_store())
        return _recorder
