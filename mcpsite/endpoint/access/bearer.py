"""django-mcpz's bearer tokens, whose good answers are remembered: the check is two requests to the database.

Each for ``AUTH_RECHECK_SECONDS``, and never past its token's expiry. What this process revokes, it forgets at once;
what another did is heard of at the next check. ``last_used_at`` has a resolution of a minute, and stays true in it.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from collections import OrderedDict
from copy import copy
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.db import OperationalError
from django.db.models.signals import post_delete, post_save
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django_mcpz.bearer_tokens import auth
from django_mcpz.bearer_tokens.models import Token

from mcpsite.blocking.threads import in_thread
from mcpsite.endpoint.conf import conf

MAX_REMEMBERED: Final = 10_000
"""Tokens; at more, the one that was checked longest ago is asked for again."""

CHECK_SECONDS: Final = 15
"""What a check may take, with the wait for one of the threads: where the database hangs, all of them are taken."""


class Remembered:
    """Tokens that were good when they were checked, by the hash of their value. Thread-safe."""

    def __init__(self) -> None:
        self._tokens: OrderedDict[bytes, tuple[Token, float]] = OrderedDict()
        self._lock = threading.Lock()
        self.forgotten = 0
        """How often anything was forgotten: a check that began before may have seen what no longer holds."""

    def __len__(self) -> int:
        return len(self._tokens)

    def get(self, digest: bytes) -> Token | None:
        """The token of a hash, if it need not be checked yet."""
        token, until = self._tokens.get(digest, (None, 0.0))
        return token if time.monotonic() < until else None

    def put(self, digest: bytes, token: Token, forgotten: int) -> None:
        """Remember a token that was good, unless something was forgotten since ``forgotten`` was read."""
        seconds: float = conf.AUTH_RECHECK_SECONDS
        if token.expires_at is not None:
            seconds = min(seconds, (token.expires_at - timezone.now()).total_seconds())
        if seconds <= 0:
            return
        with self._lock:
            if self.forgotten != forgotten:
                return
            self._tokens[digest] = token, time.monotonic() + seconds
            self._tokens.move_to_end(digest)
            if len(self._tokens) > MAX_REMEMBERED:
                self._tokens.popitem(last=False)

    def forget(self) -> None:
        """Have every token checked again."""
        with self._lock:
            self.forgotten += 1
            self._tokens.clear()


remembered: Final = Remembered()
"""The process's."""


async def token_auth(request: HttpRequest) -> HttpResponse | None:
    """As ``django_mcpz.bearer_tokens.auth.token_auth``, seldom asking the database."""
    digest = _digest(request)
    token = remembered.get(digest) if digest is not None else None
    if token is not None:
        request.mcp_token = token  # type: ignore[attr-defined]
        # A copy: a user remembers the permissions that were asked of it.
        request.user = copy(token.user)
        return None
    forgotten = remembered.forgotten
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            rejection = await in_thread(auth.token_auth, request)
    except TimeoutError as exc:
        raise OperationalError(f"a token could not be checked in {CHECK_SECONDS} s") from exc
    if rejection is None and digest is not None:
        remembered.put(digest, request.mcp_token, forgotten)  # type: ignore[attr-defined]
    return rejection


def _digest(request: HttpRequest) -> bytes | None:
    """The hash of the whole header: what differs in it is checked by itself."""
    header = request.headers.get("Authorization")
    return hashlib.sha256(header.encode(errors="surrogateescape")).digest() if header else None


def _changed(**_: Any) -> None:
    remembered.forget()


for _signal in (post_save, post_delete):
    # Tokens are changed by people, and seldom: all are checked again rather than one looked for.
    _signal.connect(_changed, sender=Token)
    _signal.connect(_changed, sender=get_user_model())
