"""The requests that this process serves, each until it has its answer or is cancelled."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import anyio
from mcp.shared.dispatcher import coerce_request_id
from mcp_types import RequestId

from mcpsite.endpoint.peers.poller import Poller, Step
from sessions_dynamo import schema

Key = tuple[str, str]
"""A session's id and, in it, a request's."""


def request_key(request_id: RequestId) -> str:
    """A request's id as text; "7" and 7 are one, as in the SDK."""
    return str(coerce_request_id(request_id))


@dataclass(frozen=True, slots=True, eq=False)
class _Call:
    scope: anyio.CancelScope
    began_ms: int
    hang_up: Callable[[], None]


class Running:
    """Each request's cancel scope, and when it began: an id may be used again.

    It may even be in use: claude.ai has several calls of a session in flight under one id (against JSON-RPC 2.0 and
    "Requests" of 2025-11-25). Each is served and answered; a cancellation is for all of them, as nothing tells which.
    """

    def __init__(self, poller: Poller) -> None:
        self._poller = poller
        self._calls: dict[Key, list[_Call]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._calls.values()))

    def due(self, now: float, *, is_beat: bool) -> Iterable[tuple[object, Step]]:
        """Nothing: a cancellation is heard of by the bus."""
        return ()

    @contextmanager
    def serving(
        self, session_id: str, request_id: RequestId, hang_up: Callable[[], None]
    ) -> Iterator[anyio.CancelScope]:
        """A request of a session while it is served; cancelling the scope is what ``notifications/cancelled`` does.

        ``hang_up`` ends its response without an answer, for a client that has ended its session.
        """
        key = (session_id, request_key(request_id))
        with anyio.CancelScope() as scope:
            call = _Call(scope, schema.now_ms(), hang_up)
            self._calls.setdefault(key, []).append(call)
            self._poller.stir()
            try:
                yield scope
            finally:
                calls = self._calls[key]
                calls.remove(call)
                if not calls:
                    del self._calls[key]

    def cancel(self, key: Key, at_ms: int) -> bool:
        """Cancel what runs here under an id, but for what began after the cancellation (epoch ms); whether any did."""
        calls = [call for call in self._calls.get(key, ()) if call.began_ms <= at_ms]
        for call in calls:
            call.scope.cancel()
        return bool(calls)

    def end_session(self, session_id: str, *, hang_up: bool) -> None:
        """Cancel all that runs here for a session; ``hang_up`` on whoever waits for it, or let it have its error."""
        for (running_in, _), calls in list(self._calls.items()):
            if running_in == session_id:
                for call in calls:
                    if hang_up:
                        call.hang_up()
                    call.scope.cancel()
