"""What handlers get as ``ctx.request_context.request``: Starlette's request, with its principal and its session."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

import anyio
from django.http import HttpRequest
from mcp.server.mcpserver.exceptions import ToolError
from starlette.authentication import AuthCredentials, UnauthenticatedUser
from starlette.requests import Request

from mcpsite.door.request import headers_of
from mcpsite.endpoint.serving.session import Session
from sessions_dynamo import schema
from sessions_dynamo.dataplane.loops import run
from sessions_dynamo.errors import SessionNotFound
from sessions_dynamo.store.session_items import Session as StoredSession
from sessions_dynamo.store.session_operations import SessionOperations


class ServedRequest(Request):
    """One message's surroundings. At most one session takes part in a message, and its user's own; each is one unit.

    To code that was written for the SDK's own app it is the Starlette request of the message's POST; its body has been
    read. ``session`` is ours, and not that of Starlette's middleware.
    """

    def __init__(
        self, http: HttpRequest, principal: str, store: SessionOperations, stored: StoredSession | None = None
    ) -> None:
        super().__init__(_scope(http), _nothing_more)
        self.http = http
        self.principal = principal
        self.stored = stored
        """The client's own session, by ``Mcp-Session-Id``; ``None`` for a client without sessions."""
        self.handle: object = None
        """How the client named its session beside the tool's own arguments, if it did."""
        self._store = store
        self.used_session: Session | None = Session(store, principal, stored) if stored else None
        self._user_session: Session | None = None
        self._is_given_up = False

    @property
    def folded_headers(self) -> Mapping[str, str]:
        """Every header by its name in lower case, one that came twice as one text: what the protocol's checks read."""
        return headers_of(self.http)

    @property
    def lambda_context(self) -> Any | None:
        """AWS Lambda's context object; ``None`` outside Lambda."""
        return self.scope.get("aws.context")

    async def body(self) -> bytes:
        """The message as it came."""
        body: bytes = self.http.body
        return body

    async def session(self, handle: object = None) -> Session:  # type: ignore[override]
        """The session of this message: by handle, else the client's own, else a new one.

        Raises ``SessionNotFound`` for a handle that is not the caller's.
        """
        if handle in (None, ""):
            if self.used_session is None:
                self.used_session = Session(self._store, self.principal)
            return self.used_session
        if (used := self._used(handle)) is None:
            named = await self._named(handle)
            # Another part of the handler may have asked for it meanwhile, and changed it.
            used = self.used_session = self._used(handle) or named
        return used

    async def user_session(self) -> Session:
        """The caller's own session, whatever session the client has or names; a new one until something is written.

        Raises ``ToolError`` where nobody says who calls.
        """
        if not self.principal:
            raise ToolError(
                "This tool keeps its state with the user who calls, and this endpoint is open to the public: it does"
                " not know users. Its operator can set MCP_AUTH, or have the tool take current_session instead."
            )
        if self._user_session is None:
            session_id = schema.user_session_id(self.principal)
            row = await run(self._store.peek(session_id))
            # Another principal's only if two had one digest.
            is_there = row is not None and row.is_live and row.principal == self.principal
            # Another part of the handler may have asked for it meanwhile, and changed it.
            if self._user_session is None:
                self._user_session = Session(self._store, self.principal, row if is_there else None, session_id)
        return self._user_session

    @property
    def _sessions(self) -> Iterator[Session]:
        return filter(None, (self.used_session, self._user_session))

    @property
    def stored_session_id(self) -> str | None:
        """The id of the session that took part, or the user's own; ``None`` where none did, or it was never stored."""
        return next((used.session_id for used in self._sessions if used.is_stored), None)

    @property
    def changed(self) -> bool:
        """Whether there are changes to save."""
        return any(used.stored_state.changes for used in self._sessions)

    async def save(self) -> None:
        """Save what took part, and the client's own activity; raises ``StorageError``."""
        if self._is_given_up:
            return
        for used in self._sessions:
            await used.save()
        if self.stored is not None and not self._is_own(self.used_session):
            await run(self._store.touch(self.stored))

    def discard(self) -> None:
        """Forget the changes of a message that failed; its activity still counts."""
        for used in self._sessions:
            used.discard()

    def give_up(self) -> None:
        """Save nothing of it any more: its client was told that it failed, though its handler may run on."""
        self._is_given_up = True

    def _used(self, handle: object) -> Session | None:
        used = self.used_session
        return used if used is not None and handle == used.session_id else None

    def _is_own(self, used: Session | None) -> bool:
        return used is not None and self.stored is not None and used.session_id == self.stored.session_id

    async def _named(self, handle: object) -> Session:
        if not isinstance(handle, str):
            raise SessionNotFound("session_id must be a string that an earlier call returned.")
        named = await run(self._store.load(handle, self.principal))
        return Session(self._store, self.principal, named)


def _scope(http: HttpRequest) -> dict[str, Any]:
    """The ASGI scope, for this message alone: what a handler puts there is seen by no other."""
    scope: dict[str, Any] = {"path": http.path, "root_path": "", "query_string": b"", **getattr(http, "scope", {})}
    if "headers" not in scope:
        # Made by other than an ASGI server.
        scope |= {
            "scheme": http.scheme,
            "query_string": http.META.get("QUERY_STRING", "").encode("latin1", "replace"),
            "headers": [(name.encode("latin1"), value.encode("latin1")) for name, value in headers_of(http).items()],
        }
    match = http.resolver_match
    scope |= {
        "type": "http",
        "method": http.method or "",
        "state": dict(scope.get("state") or {}),
        "path_params": dict(match.kwargs) if match is not None else {},
    }
    if "user" not in scope:
        user = getattr(http, "user", None)
        # No more than looked at: a lazy one would ask the database.
        scope["user"] = UnauthenticatedUser() if user is None else user
    scope.setdefault("auth", AuthCredentials())
    return scope


async def _nothing_more() -> NoReturn:
    """Starlette's ``receive``: all there was has been read, and a client that leaves cancels what it should."""
    await anyio.sleep_forever()
    raise AssertionError
