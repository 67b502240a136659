"""The requests that this process serves, each until it has its answer or is cancelled."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import anyio
from mcp.shared.dispatcher import coerce_request_id
from mcp_types import RequestId

from mcpsite.endpoint.streams.poller import Poller, Step
from sessions_dynamo import schema

Key = tuple[str, str]
"""A session's id and, in it, a request's."""


def request_key(request_id: RequestId) -> str:
    """A request's id as text; "7" and 7 are one, as in the SDK."""
    return str(coerce_request_id(request_id))


class Running:
    """Each request's cancel scope, and when it began: an id may be used again."""

    def __init__(self, poller: Poller) -> None:
        self._poller = poller
        self._scopes: dict[Key, tuple[anyio.CancelScope, int]] = {}

    def __len__(self) -> int:
        return len(self._scopes)

    def due(self, now: float, *, is_beat: bool) -> Iterable[tuple[object, Step]]:
        """Nothing: a cancellation is heard of by the bus."""
        return ()

    @contextmanager
    def serving(self, session_id: str, request_id: RequestId) -> Iterator[anyio.CancelScope]:
        """A request of a session while it is served; cancelling the scope is what ``notifications/cancelled`` does."""
        key = (session_id, request_key(request_id))
        with anyio.CancelScope() as scope:
            self._scopes[key] = scope, schema.now_ms()
            self._poller.stir()
            try:
                yield scope
            finally:
                if self._scopes.get(key, (None,))[0] is scope:
                    del self._scopes[key]

    def cancel(self, key: Key, at_ms: int) -> bool:
        """Cancel a request that runs here; ``False`` where none does, or it began after the cancellation (epoch ms)."""
        scope, started_ms = self._scopes.get(key, (None, 0))
        if scope is None or started_ms > at_ms:
            return False
        scope.cancel()
        return True

    def cancel_session(self, session_id: str) -> None:
        """Cancel all that runs here for a session."""
        for (running_in, _), (scope, _) in list(self._scopes.items()):
            if running_in == session_id:
                scope.cancel()
