"""The requests that this process serves, each until it has its answer or is cancelled."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import anyio
from mcp.shared.dispatcher import coerce_request_id
from mcp_types import RequestId

from mcpsite.endpoint.peers.traces import Traces
from sessions_dynamo.workers.holdings import Cancellation

Key = tuple[str, str]
"""A session's id and, in it, a request's."""


def request_key(request_id: RequestId) -> str:
    """A request's id as text; "7" and 7 are one, as in the SDK."""
    return str(coerce_request_id(request_id))


@dataclass(frozen=True, slots=True, eq=False)
class _Call:
    scope: anyio.CancelScope
    hang_up: Callable[[], None]
    seen: int

    def end(self, *, hang_up: bool) -> None:
        """Its session has ended."""
        if hang_up:
            self.hang_up()
        self.scope.cancel()

    def on_cancelled(self, cancellation: Cancellation) -> None:
        """It was cancelled, or its session ended, before anybody could know where it runs."""
        if cancellation.hang_up is not None:
            self.end(hang_up=cancellation.hang_up)
        elif self.seen < cancellation.number:
            self.scope.cancel()


class Running:
    """Each request's cancel scope.

    An id may be used again, and may even be in use: claude.ai has several calls of a session in flight under one id
    (against JSON-RPC 2.0 and "Requests" of 2025-11-25). Each is served and answered; a cancellation is for all of them
    that began before it, as nothing tells which.
    """

    def __init__(self, traces: Traces) -> None:
        self._traces = traces
        self._calls: dict[Key, dict[int, _Call]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._calls.values()))

    @property
    def of_sessions(self) -> int:
        """How many of them are sessions': others can stop these."""
        return sum(len(calls) for (session_id, _), calls in self._calls.items() if session_id)

    @contextmanager
    def serving(
        self, session_id: str, request_id: RequestId, hang_up: Callable[[], None], seen: int = 0
    ) -> Iterator[anyio.CancelScope]:
        """A request of a session while it is served; cancelling the scope is what ``notifications/cancelled`` does.

        ``hang_up`` ends its response without an answer, for a client that has ended its session. ``seen`` is how many
        cancellations the session had had when the request came.
        """
        key = (session_id, request_key(request_id))
        with anyio.CancelScope() as scope:
            call = _Call(scope, hang_up, seen)
            # Nobody stops a request of a client without sessions but that client, here.
            trace = self._traces.begin(*key, seen, call.on_cancelled) if session_id else None
            number = trace.holding.number if trace is not None else -id(call)
            self._calls.setdefault(key, {})[number] = call
            try:
                yield scope
            finally:
                calls = self._calls[key]
                del calls[number]
                if not calls:
                    del self._calls[key]
                if trace is not None:
                    self._traces.end(trace)

    def cancel(self, key: Key, numbers: Iterable[int] | None = None) -> None:
        """Cancel what runs here under an id; those of some numbers, where these are given."""
        calls = self._calls.get(key, {})
        for number in list(calls) if numbers is None else numbers:
            if number in calls:
                calls[number].scope.cancel()

    def end_session(self, session_id: str, *, hang_up: bool) -> None:
        """Cancel all that runs here for a session; ``hang_up`` on whoever waits for it, or let it have its error."""
        for (running_in, _), calls in list(self._calls.items()):
            if running_in == session_id:
                for call in list(calls.values()):
                    call.end(hang_up=hang_up)
