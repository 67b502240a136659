"""Word of what this worker serves of sessions, left once it has run for half a beat: so that others know where it is.

What is over by then, as nearly all is, leaves none. Whoever leaves word looks at once whether it was cancelled by one
who found none.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import inf
from typing import Final, Protocol

from mcpsite.endpoint.peers.lease import WorkerLease
from mcpsite.endpoint.peers.poller import Poller, Step
from sessions_dynamo.dataplane.loops import run
from sessions_dynamo.workers.holdings import Cancellation, Holding
from sessions_dynamo.workers.stream_operations import StreamOperations

_SPACING: Final = 0.1
"""At least, in beats, between two times at which word is left: what comes meanwhile is left together."""
_REFRESHES: Final = 2
"""How often word is left again in the time after which it expires."""


class Tracing(Protocol):
    """What traces need of their process."""

    worker_id: str
    poll_seconds: float
    lease: WorkerLease

    @property
    def streams(self) -> StreamOperations: ...


@dataclass(eq=False, slots=True)
class Trace:
    """Something that is served of a session."""

    holding: Holding
    on_cancelled: Callable[[Cancellation], None]
    due: float
    """When word of it is to be left (monotonic s), or left again."""
    is_left: bool = False
    has_looked: bool = False
    """Whether it has seen what was cancelled before word of it was left."""


class Traces:
    """Leaves word, looks what was cancelled, and takes it back."""

    def __init__(self, host: Tracing, poller: Poller) -> None:
        self._host = host
        self._poller = poller
        self._numbers = itertools.count(1)
        self._traces: set[Trace] = set()
        self._fresh: dict[Trace, None] = {}
        """Those of which no word was left yet, in the order in which it is due."""
        self._not_before = 0.0
        self._over: list[Holding] = []

    def __len__(self) -> int:
        return len(self._traces) + len(self._over)

    @property
    def has_left_what_is_over(self) -> bool:
        """Whether word of something that is over has yet to be taken back."""
        return bool(self._over)

    def due(self, now: float, *, is_beat: bool) -> Iterator[tuple[object, Step]]:
        """Word of what has run for half a beat; at a beat also of what is over, or runs for long."""
        next_due = self._next_due()
        if now < next_due:
            self._poller.look_at(next_due)
        if now >= next_due or (is_beat and (self._over or any(now >= trace.due for trace in self._traces))):
            yield "traces", self.write

    def begin(self, session_id: str, request: str, seen: int, on_cancelled: Callable[[Cancellation], None]) -> Trace:
        """Something of a session is served from now on, which had seen so many cancellations."""
        holding = Holding(session_id, request, self._host.worker_id, next(self._numbers), seen)
        # Not at once: most are over soon. Nor at the beat after that: who cancels it waits for as long.
        trace = Trace(holding, on_cancelled, time.monotonic() + self._host.poll_seconds / 2)
        self._traces.add(trace)
        self._fresh[trace] = None
        self._poller.stir()
        self._poller.look_at(trace.due)
        return trace

    def end(self, trace: Trace) -> None:
        """It is over."""
        self._traces.discard(trace)
        self._fresh.pop(trace, None)
        if trace.is_left:
            self._over.append(trace.holding)

    async def write(self) -> None:
        """Leave word, and take back what is over. Raises ``StorageError``."""
        self._not_before = time.monotonic() + self._host.poll_seconds * _SPACING
        try:
            await self._write()
        finally:
            # For what has become due meanwhile.
            self._poller.look_at(self._next_due())

    async def _write(self) -> None:
        now, holdings = time.monotonic(), self._host.streams.holdings
        fresh = {trace.holding: trace for trace in self._traces if now >= trace.due}
        for trace in fresh.values():
            # What is not left for a failure is left at a beat.
            self._fresh.pop(trace, None)
        if fresh:
            self._host.lease.hurry()
            # Before it is left, so that what ends meanwhile takes it back; if it fails it is tried again.
            for trace in fresh.values():
                trace.is_left = True
            await run(holdings.leave(fresh))
            unseen = [holding for holding, trace in fresh.items() if not trace.has_looked]
            found = await run(holdings.cancellations(unseen))
            for trace in fresh.values():
                trace.has_looked = True
                trace.due = now + self._host.streams.events.event_ttl.total_seconds() / _REFRESHES
            self._tell(fresh, found)
        if over := self._over.copy():
            await run(holdings.remove(over))
            del self._over[: len(over)]

    def _next_due(self) -> float:
        """When word of something is to be left for the first time (monotonic s)."""
        first = next(iter(self._fresh), None)
        return inf if first is None else max(first.due, self._not_before)

    def _tell(self, traces: Mapping[Holding, Trace], found: Mapping[Holding, list[Cancellation]]) -> None:
        for holding, cancellations in found.items():
            trace = traces[holding]
            if trace in self._traces:
                for cancellation in cancellations:
                    trace.on_cancelled(cancellation)
