"""Credentials of every provider that botocore has, as a snapshot to sign from, renewed beside the loop.

It knows neither how a request is signed nor how it travels.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Final

from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import CredentialRetrievalError, NoCredentialsError

from sessions_dynamo.dataplane.threads import beside

if TYPE_CHECKING:
    from botocore.credentials import Credentials

logger = logging.getLogger(__name__)

EARLY: Final = 890.0
"""Seconds before their end at which credentials are renewed: botocore renews them when asked from 900 on."""
LONGEST_PAUSE: Final = 20.0
"""Seconds between two looks that bring nothing new."""


class CredentialKeeper:
    """The credentials of one loop. What blocks runs in a thread; nobody waits for it while the snapshot is valid."""

    def __init__(self, look_up: Callable[[], Credentials | None], look_up_anew: Callable[[], Credentials | None]):
        """``look_up`` finds the credentials; ``look_up_anew`` does without what was found before."""
        self.keys: ReadOnlyCredentials | None = None
        """The snapshot; none until the first ``valid``."""
        self.check_at = -inf
        """Until this time, in seconds since 1970, ``keys`` may be signed with unasked; then ask ``valid``."""
        self._expires = -inf
        self._look_up, self._look_up_anew = look_up, look_up_anew
        self._found: Credentials | None = None
        self._next_try = self._next_look_anew = -inf
        self._failures = 0
        self._error: Exception | None = None
        self._renewal: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def valid(self) -> ReadOnlyCredentials:
        """Keys that have not expired: at once, or, where there are none, after one look that all callers share.

        Raises what botocore's providers raise, ``NoCredentialsError`` where there are none; for some seconds after a
        look that failed, that error at once.
        """
        now = time.time()
        if self.keys is not None and now < self._expires:
            if now >= self._next_try:
                self._renew()
            return self.keys
        if self._error is None or now >= self._next_try:
            renewal = self._renew()
            await asyncio.wait([renewal])
            if renewal.cancelled():
                raise RuntimeError("The data plane is closed")
        if self.keys is not None and time.time() < self._expires:
            return self.keys
        raise (self._error or NoCredentialsError()).with_traceback(None)

    async def replaced(self, refused: ReadOnlyCredentials) -> bool:
        """Whether there are now other keys than those that the service has called expired; looks them up anew."""
        if self._renewal is not None:
            await asyncio.wait([self._renewal])
        if self.keys is refused and time.time() >= self._next_look_anew:
            renewal = self._renew(anew=True)
            self._next_look_anew = time.time() + LONGEST_PAUSE
            await asyncio.wait([renewal])
        return self.keys is not None and self.keys != refused

    async def close(self) -> None:
        """Renew no more. A thread that still looks is left to itself."""
        if self._timer is not None:
            self._timer.cancel()
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.wait([self._renewal])

    def _renew(self, *, anew: bool = False) -> asyncio.Task[None]:
        """The renewal that is under way, or a new one."""
        if self._renewal is None:
            if self._timer is not None:
                self._timer.cancel()
            self._renewal = asyncio.create_task(self._look(anew), name="credentials")
        return self._renewal

    async def _look(self, anew: bool) -> None:
        try:
            found, keys, expires = await beside(partial(self._blocking_look, anew))
        except Exception as exc:
            self._failed(exc)
        else:
            renewed = keys != self.keys or expires > self._expires
            self._found, self._error = found, None
            if renewed:
                self._next_look_anew = -inf
                # The same object as long as they are the same: the signer keeps its key by it.
                self.keys, self._expires = keys, expires
            self._later(renewed)
        finally:
            self._renewal = None

    def _failed(self, exc: Exception) -> None:
        self._error = exc
        self._later(renewed=False)
        left = self._expires - time.time()
        if left > 0:
            logger.warning("AWS credentials were not renewed; the old ones hold for %.0f s more: %s", left, exc)
        else:
            logger.warning("No usable AWS credentials: %s", exc)

    def _later(self, renewed: bool) -> None:
        """Set the time of the next look: before the end, with growing pauses while it brings nothing new."""
        now = time.time()
        left = self._expires - now
        if left == inf:
            self._next_try = self.check_at = inf
            return
        if renewed:
            self._failures = 0
            # Credentials that live for minutes are renewed at half of their life.
            pause = max(left - EARLY, left / 2)
        else:
            self._failures += 1
            pause = min(2.0 ** min(self._failures - 1, 6), LONGEST_PAUSE) * random.uniform(0.5, 1)  # noqa: S311
            if left > 0:
                pause = min(pause, max(left / 2, 0.5))
        self._next_try = now + pause
        self.check_at = min(self._next_try, self._expires)
        if left > 0:
            self._timer = asyncio.get_running_loop().call_later(pause, self._renew)

    def _blocking_look(self, anew: bool) -> tuple[Credentials, ReadOnlyCredentials, float]:
        """The credentials, a snapshot of them and its end, in seconds since 1970; renews them if it is time."""
        found = self._found
        if anew:
            found = self._look_up_anew()
        elif found is None:
            found = self._look_up()
        if found is None:
            raise NoCredentialsError()
        try:
            keys = found.get_frozen_credentials()
        except RuntimeError as exc:  # The provider handed out credentials that had expired.
            raise CredentialRetrievalError(provider=found.method, error_msg=str(exc)) from exc
        # botocore has no public name for it; only credentials that are renewed have an end.
        end = getattr(found, "_expiry_time", None)
        return found, keys, inf if end is None else end.timestamp()
