"""The session as a tool sees it: ``session: Annotated[Session, Resolve(current_session)]``.

With a client that has sessions it is the client's own. A client without (2026-07-28 removed them) names one by an
argument, or gets a new one, which is stored once something is written to it. A user has one of their own besides.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, MutableMapping
from datetime import UTC, datetime
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from django.core.exceptions import SynchronousOnlyOperation
from mcp.server.mcpserver.exceptions import ToolError

from sessions_dynamo import schema
from sessions_dynamo.dataplane.loops import run
from sessions_dynamo.errors import SessionExists, StateConflict, StorageError
from sessions_dynamo.store import session_items, values
from sessions_dynamo.store.session_items import Session as StoredSession
from sessions_dynamo.store.session_operations import SessionOperations
from sessions_dynamo.store.state import State

P = ParamSpec("P")
T = TypeVar("T")


# A class, not a generator: each access to a state enters it.
class tool_errors:
    """Let the model read why storage refused, as the tool's own error."""

    __slots__ = ()

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, exc: BaseException | None, traceback: object) -> None:
        if isinstance(exc, StorageError):
            raise ToolError(str(exc)) from exc


def wait_for(loop: asyncio.AbstractEventLoop, awaitable: Callable[[], Coroutine[Any, Any, T]], instead: str) -> T:
    """The result of a coroutine on another thread's loop, for sync tools: one pool of connections serves both.

    Raises ``SynchronousOnlyOperation``, which names what to write ``instead``, where this thread runs a loop itself.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run_coroutine_threadsafe(awaitable(), loop).result()
    raise SynchronousOnlyOperation(f"This would hold the event loop: in an async tool it is '{instead}'.")


def blocking(method: Callable[Concatenate[Session, P], Coroutine[Any, Any, T]]) -> Callable[Concatenate[Session, P], T]:
    """A method's form for sync tools."""
    instead = f"await session.{method.__name__}(...)"

    @wraps(method)
    def wait(session: Session, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return wait_for(session.loop, lambda: method(session, *args, **kwargs), instead)

    return wait


class Session:
    """A durable session, for the length of one call.

    ``state`` is a mapping of JSON values; what a call changes in it is saved as one unit when the call succeeds, and
    forgotten when it fails. Counters are written at once. Refusals of storage are tool errors.
    """

    def __init__(
        self, store: SessionOperations, principal: str, row: StoredSession | None = None, new_id: str = ""
    ) -> None:
        """Without a row it is a new one, of the id that is given or a drawn one."""
        self._store = store
        self._principal = principal
        self._stored = row
        self._new_id = new_id or (schema.new_session_id() if row is None else "")
        self._new_state = State()
        self._storing = asyncio.Lock()
        self.loop = asyncio.get_running_loop()
        """What its methods for sync tools wait for."""
        self.state = ToolState(store, lambda: self.stored_state)

    @property
    def session_id(self) -> str:
        """Its id: the client's ``Mcp-Session-Id``, the handle to name it by in later calls, or what staff know a user's
        own by."""
        return self._stored.session_id if self._stored else self._new_id

    @property
    def is_stored(self) -> bool:
        """Whether there is a row for it; a new session has none until something is written."""
        return self._stored is not None

    @property
    def expires_at(self) -> datetime:
        """When it ends unless it is used again; every use that is saved moves it."""
        return datetime.fromtimestamp(int((datetime.now(UTC) + self._store.session_ttl).timestamp()), UTC)

    async def aincr(self, name: str, by: int = 1) -> int:
        """Add to a counter, at once and exactly whatever other workers do; the new value."""
        with tool_errors():
            values.check_key(name)
            values.check_count(by)
            return await run(self._store.incr(await self._ensure_stored(), name, by))

    async def aget(self, key: str, default: Any = None) -> Any:
        """``state.get``, for async tools: a value over 4 KiB costs a read, which must not hold the event loop."""
        return await self.state.aget(key, default)

    async def aset_global_state(self, region: str, value: Any) -> None:
        """Write one region's entry, at once."""
        with tool_errors():
            session_items.check_value_size(f"the entry of {region}", values.dumps(value))
            await run(self._store.set_global_state(await self._ensure_stored(), region, value))

    async def areplica_state(self, region: str) -> ToolState:
        """The state as the replica in a region has it; empty where the session has not arrived there."""
        with tool_errors():
            replica = await run(self._store.peek(self.session_id), region=region)
        reachable = replica is not None and replica.is_live and replica.principal == self._principal
        state = replica.state if replica is not None and reachable else State()
        return ToolState(self._store, lambda: state, region)

    incr = blocking(aincr)
    set_global_state = blocking(aset_global_state)
    replica_state = blocking(areplica_state)

    @property
    def stored_state(self) -> State:
        """The mapping beneath ``state``; its errors are storage's own."""
        return self._stored.state if self._stored else self._new_state

    async def save(self) -> None:
        """Write what changed, and the activity of a stored session; raises ``StorageError``. The kernel's to call."""
        if self._stored is None and self._new_state.changes:
            try:
                create = self._store.create(self._new_id, principal=self._principal, state=self._new_state)
                self._stored = await run(create)
                return
            except SessionExists:
                self._stored = await self._begun_elsewhere()
        if self._stored is not None:
            await run(self._store.save(self._stored))

    def discard(self) -> None:
        """Forget what changed."""
        self.stored_state.discard()

    async def _ensure_stored(self) -> StoredSession:
        """The session's row, made now for what is written at once; its state waits for the call to succeed."""
        async with self._storing:
            if self._stored is None:
                try:
                    new = await run(self._store.create(self._new_id, principal=self._principal))
                    self._new_state.continue_in(new.state)
                    self._stored = new
                except SessionExists:
                    self._stored = await self._begun_elsewhere()
            return self._stored

    async def _begun_elsewhere(self) -> StoredSession:
        """The row of a user's own session that another call began while this one ran, with this one's changes."""
        row = await run(self._store.peek(self._new_id))
        if row is None or not row.is_live or row.principal != self._principal:
            raise StateConflict("Another call began and ended this session meanwhile, so nothing was saved: retry.")
        self._new_state.continue_in(row.state)
        return row


class ToolState(MutableMapping[str, Any]):
    """A session's state, its errors a tool's."""

    def __init__(self, store: SessionOperations, state: Callable[[], State], region: str | None = None) -> None:
        self._store = store
        self._state = state
        self._region = region
        self._loop = asyncio.get_running_loop()

    async def aget(self, key: str, default: Any = None) -> Any:
        """``get``, for async tools: a value over 4 KiB costs a read, which must not hold the event loop."""
        await self._read(key)
        return self.get(key, default)

    async def _read(self, key: str) -> None:
        state = self._state()
        if (spilled := state.spilled(key)) is not None:
            with tool_errors():
                state.supply(spilled, await run(self._store.large_value(spilled), region=self._region))

    def __getitem__(self, key: str) -> Any:
        if self._state().spilled(key) is not None:
            wait_for(self._loop, lambda: self._read(key), "await session.aget(key)")
        with tool_errors():
            return self._state()[key]

    def __setitem__(self, key: str, value: Any) -> None:
        with tool_errors():
            self._state()[key] = value

    def __delitem__(self, key: str) -> None:
        with tool_errors():
            del self._state()[key]

    def __contains__(self, key: object) -> bool:
        return key in self._state()

    def __iter__(self) -> Iterator[str]:
        return iter(self._state())

    def __len__(self) -> int:
        return len(self._state())
