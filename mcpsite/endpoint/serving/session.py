"""The session as a tool sees it: ``session: Annotated[Session, Resolve(current_session)]``.

With a client that has sessions it is the client's own. A client without (2026-07-28 removed them) names one by the
tool's optional ``session_id`` argument, or gets a new one, which is stored once something is written to it.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from datetime import UTC, datetime
from threading import Lock
from typing import Any

from anyio import to_thread
from django.utils.asyncio import async_unsafe
from mcp.server.mcpserver.exceptions import ToolError

from sessions_dynamo import schema
from sessions_dynamo.errors import StorageError
from sessions_dynamo.store import session_items, values
from sessions_dynamo.store.session_items import Session as StoredSession
from sessions_dynamo.store.sessions import SessionStore, default_store
from sessions_dynamo.store.state import State


@contextmanager
def tool_errors() -> Iterator[None]:
    """Let the model read why storage refused, as the tool's own error."""
    try:
        yield
    except StorageError as exc:
        raise ToolError(str(exc)) from exc


class Session:
    """A durable session, for the length of one call.

    ``state`` is a mapping of JSON values; what a call changes in it is saved as one unit when the call succeeds, and
    forgotten when it fails. Counters are written at once. Refusals of storage are tool errors.
    """

    def __init__(self, store: SessionStore, principal: str, stored: StoredSession | None = None) -> None:
        self._store = store
        self._principal = principal
        self._stored = stored
        self._new_id = schema.new_session_id() if stored is None else ""
        self._new_state = State()
        self._storing = Lock()
        self.state: MutableMapping[str, Any] = _ToolState(self)

    @property
    def session_id(self) -> str:
        """Its id: the client's ``Mcp-Session-Id``, or the handle to name it by in later calls."""
        return self._stored.session_id if self._stored else self._new_id

    @property
    def is_stored(self) -> bool:
        """Whether there is a row for it; a new session has none until something is written."""
        return self._stored is not None

    @property
    def expires_at(self) -> datetime:
        """When it ends unless it is used again; every use that is saved moves it."""
        return datetime.fromtimestamp(int((datetime.now(UTC) + self._store.session_ttl).timestamp()), UTC)

    @async_unsafe("Use 'await session.aincr(...)' in an async tool.")
    def incr(self, name: str, by: int = 1) -> int:
        """Add to a counter, at once and exactly whatever other workers do; the new value."""
        with tool_errors():
            values.check_key(name)
            return self._store.incr(self._ensure_stored(), name, by)

    async def aincr(self, name: str, by: int = 1) -> int:
        """``incr``, for async tools."""
        return await to_thread.run_sync(self.incr, name, by)

    async def aget(self, key: str, default: Any = None) -> Any:
        """``state.get``, for async tools: a value over 4 KiB costs a read, which must not hold the event loop."""
        if self.stored_state.needs_read(key):
            return await to_thread.run_sync(self.state.get, key, default)
        return self.state.get(key, default)

    @async_unsafe("Call it through 'anyio.to_thread.run_sync' in an async tool.")
    def set_global_state(self, region: str, value: Any) -> None:
        """Write one region's entry, at once."""
        with tool_errors():
            session_items.check_value_size(f"the entry of {region}", values.dumps(value))
            self._store.set_global_state(self._ensure_stored(), region, value)

    @async_unsafe("Call it through 'anyio.to_thread.run_sync' in an async tool.")
    def replica_state(self, region: str) -> MutableMapping[str, Any]:
        """The state as the replica in a region has it; empty where the session has not arrived there."""
        with tool_errors():
            replica = default_store(region).peek(self.session_id)
        if replica is None or not replica.is_live or replica.principal != self._principal:
            return {}
        return replica.state

    @property
    def stored_state(self) -> State:
        """The mapping beneath ``state``; its errors are storage's own."""
        return self._stored.state if self._stored else self._new_state

    def save(self) -> None:
        """Write what changed, and the activity of a stored session; raises ``StorageError``. The kernel's to call."""
        if self._stored:
            self._store.save(self._stored)
        elif self._new_state.changes:
            self._stored = self._store.create(self._new_id, principal=self._principal, state=self._new_state)

    def discard(self) -> None:
        """Forget what changed."""
        self.stored_state.discard()

    def _ensure_stored(self) -> StoredSession:
        """The session's row, made now for what is written at once; its state waits for the call to succeed."""
        with self._storing:
            if self._stored is None:
                stored = self._store.create(self._new_id, principal=self._principal)
                stored.state.update(self._new_state)
                self._stored = stored
            return self._stored


class _ToolState(MutableMapping[str, Any]):
    """A session's state, its errors a tool's."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def __getitem__(self, key: str) -> Any:
        with tool_errors():
            return self._session.stored_state[key]

    def __setitem__(self, key: str, value: Any) -> None:
        with tool_errors():
            self._session.stored_state[key] = value

    def __delitem__(self, key: str) -> None:
        with tool_errors():
            del self._session.stored_state[key]

    def __contains__(self, key: object) -> bool:
        return key in self._session.stored_state

    def __iter__(self) -> Iterator[str]:
        return iter(self._session.stored_state)

    def __len__(self) -> int:
        return len(self._session.stored_state)
