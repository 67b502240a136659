"""What handlers get as ``ctx.request_context.request``: the HTTP request, its principal and its session."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest

from mcpsite.door.request import headers_of
from mcpsite.endpoint.serving.session import Session
from sessions_dynamo.dataplane.loops import run
from sessions_dynamo.errors import SessionNotFound
from sessions_dynamo.store.session_items import Session as StoredSession
from sessions_dynamo.store.session_operations import SessionOperations


class ServedRequest:
    """One message's surroundings. At most one session takes part in a message, saved as one unit."""

    def __init__(
        self, http: HttpRequest, principal: str, store: SessionOperations, stored: StoredSession | None = None
    ) -> None:
        self.http = http
        self.principal = principal
        self.stored = stored
        """The client's own session, by ``Mcp-Session-Id``; ``None`` for a client without sessions."""
        self.headers: Mapping[str, str] = headers_of(http)
        self.handle: object = None
        """How the client named its session beside the tool's own arguments, if it did."""
        self._store = store
        self.used_session: Session | None = Session(store, principal, stored) if stored else None

    @property
    def lambda_context(self) -> Any | None:
        """AWS Lambda's context object; ``None`` outside Lambda."""
        return getattr(self.http, "scope", {}).get("aws.context")

    async def session(self, handle: object = None) -> Session:
        """The session of this message: by handle, else the client's own, else a new one.

        Raises ``SessionNotFound`` for a handle that is not the caller's.
        """
        if handle in (None, ""):
            if self.used_session is None:
                self.used_session = Session(self._store, self.principal)
        elif self.used_session is None or handle != self.used_session.session_id:
            self.used_session = await self._named(handle)
        return self.used_session

    @property
    def stored_session_id(self) -> str | None:
        """The id of the session that took part; ``None`` where none did, or it was never stored."""
        used = self.used_session
        return used.session_id if used is not None and used.is_stored else None

    @property
    def changed(self) -> bool:
        """Whether the session that took part has changes to save."""
        return self.used_session is not None and bool(self.used_session.stored_state.changes)

    async def save(self) -> None:
        """Save the session that took part, if one did, and the client's own activity; raises ``StorageError``."""
        if self.used_session is not None:
            await self.used_session.save()
        if self.stored is not None and self.stored_session_id != self.stored.session_id:
            await run(self._store.touch(self.stored))

    def discard(self) -> None:
        """Forget the changes of a message that failed; its activity still counts."""
        if self.used_session is not None:
            self.used_session.discard()

    async def _named(self, handle: object) -> Session:
        if not isinstance(handle, str):
            raise SessionNotFound("session_id must be a string that an earlier call returned.")
        named = await run(self._store.load(handle, self.principal))
        return Session(self._store, self.principal, named)
