"""What the streams of a process need of it. ``worker.Worker`` is that process; nothing else here knows it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from mcpsite.endpoint.peers.bell import Bell
from mcpsite.endpoint.peers.lease import WorkerLease
from mcpsite.endpoint.peers.watch import LeaseWatch
from sessions_dynamo.store.session_operations import SessionOperations
from sessions_dynamo.workers.stream_operations import Lease, StreamOperations

IDLE_FACTOR: Final = 10
"""What stays quiet is read this many times less often."""


class Leased(Protocol):
    """A stream that this process owns."""

    @property
    def stream_id(self) -> str: ...

    @property
    def lease(self) -> Lease: ...

    def lose(self) -> None:
        """Others have ended it."""
        ...


class Host(Protocol):
    """The process, as its parts see it."""

    worker_id: str
    poll_seconds: float
    lease_seconds: float
    lease: WorkerLease
    watch: LeaseWatch
    bell: Bell

    @property
    def sessions(self) -> SessionOperations: ...

    @property
    def streams(self) -> StreamOperations: ...

    def own(self, stream: Leased) -> None:
        """This stream is owned here from now on."""
        ...

    def disown(self, stream: Leased) -> None:
        """The stream has ended, or is given up."""
        ...

    def owns(self, stream_id: str) -> bool:
        """Whether a stream runs here."""
        ...

    def wake_followers(self, stream_id: str) -> None:
        """A stream of this process has something new."""
        ...

    def close_followers(self, stream_id: str) -> None:
        """Let the clients that follow a stream here go, to come back later."""
        ...

    async def attend(self) -> Callable[[], None]:
        """A stream is about to be opened that hears what is published from now on; what to call at its end."""
        ...

    def ring(self, worker_id: str | None) -> None:
        """Something was left for a worker, if for any."""
        ...
