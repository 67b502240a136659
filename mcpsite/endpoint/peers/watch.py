"""The leases of other workers whose streams clients follow here, each judged by this process's own clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, Protocol

from mcpsite.endpoint.peers.lease import BEATS_A_LEASE, awake_seconds
from mcpsite.endpoint.peers.poller import Poller, Step
from sessions_dynamo.dataplane.loops import run
from sessions_dynamo.workers.roster import Beat
from sessions_dynamo.workers.stream_operations import Lease, StreamOperations

LEEWAY: Final = 1.02
"""Of a lease: two machines' clocks may go at slightly different rates."""


class Watching(Protocol):
    """What the watch needs of its process."""

    lease_seconds: float

    @property
    def streams(self) -> StreamOperations: ...


@dataclass(slots=True)
class _Watched:
    lease: Lease
    lease_seconds: float
    seen: int | None = None
    since: float = 0.0
    is_gone: bool = False
    listeners: dict[object, Callable[[], None]] = field(default_factory=dict)


class LeaseWatch:
    """Looks thrice a lease at the beat of each worker that is watched, all in one request.

    A worker is gone once its beat stood still for a whole lease between two looks, or its item is not there.
    """

    def __init__(self, host: Watching, poller: Poller) -> None:
        self._host = host
        self._poller = poller
        self._watched: dict[object, _Watched] = {}
        self._next_look = 0.0
        self._is_new = False

    def __len__(self) -> int:
        """Nothing waits for it as such: those who watch do."""
        return 0

    def due(self, now: float, *, is_beat: bool) -> Iterator[tuple[object, Step]]:
        """A look at all, thrice a lease."""
        if self._watched and (self._is_new or now >= self._next_look):
            self._is_new = False
            yield "leases of others", self.look

    def watch(self, watcher: object, lease: Lease, on_gone: Callable[[], None]) -> None:
        """Watch a stream's owner; ``on_gone`` is called when it is found to be gone."""
        key = _key(lease)
        if key not in self._watched:
            self._watched[key] = _Watched(lease, self._host.lease_seconds)
            self._is_new = True
            self._poller.poke()
        self._watched[key].listeners[watcher] = on_gone

    def forget(self, watcher: object, lease: Lease) -> None:
        """Watch it no more, on behalf of this watcher."""
        watched = self._watched.get(_key(lease))
        if watched is not None:
            watched.listeners.pop(watcher, None)
            if not watched.listeners:
                del self._watched[_key(lease)]

    def is_gone(self, lease: Lease) -> bool:
        """Whether a watched owner was found to be gone at the last look."""
        watched = self._watched.get(_key(lease))
        return watched is not None and watched.is_gone

    async def look(self) -> None:
        """Look at every watched worker's beat. Raises ``StorageError``."""
        began, watched = awake_seconds(), dict(self._watched)
        streams = self._host.streams
        by_worker = {key: one.lease.owner for key, one in watched.items() if one.lease.renewed is None}
        beats = await run(streams.roster.beats(by_worker.values())) if by_worker else {}
        now: dict[object, Beat | None] = {key: beats.get(owner) for key, owner in by_worker.items()}
        for key, one in watched.items():
            if one.lease.renewed is not None:
                # An owner of the version before: each of its streams has a lease of its own.
                lease = await run(streams.lease(one.lease.session_id, one.lease.stream_id))
                moved = None if lease is None else lease.renewed
                now[key] = None if moved is None else Beat(moved, self._host.lease_seconds)
        ended = awake_seconds()
        for key, beat in now.items():
            self._judge(watched[key], beat, began, ended)
        shortest = min((one.lease_seconds for one in watched.values()), default=self._host.lease_seconds)
        self._next_look = time.monotonic() + shortest / BEATS_A_LEASE

    def _judge(self, one: _Watched, beat: Beat | None, began: float, ended: float) -> None:
        if beat is None:
            one.is_gone = True
        elif beat.number != one.seen:
            one.seen, one.since, one.is_gone, one.lease_seconds = beat.number, ended, False, beat.lease_seconds
        else:
            one.is_gone = began - one.since >= beat.lease_seconds * LEEWAY
        if one.is_gone:
            for on_gone in list(one.listeners.values()):
                on_gone()
            # Not at the next beat: who reads just now has asked whether it is gone, perhaps, and been told no.
            self._poller.poke()


def _key(lease: Lease) -> object:
    """Workers of today have one lease for all of their streams."""
    return lease.owner if lease.renewed is None else (lease.session_id, lease.stream_id)
