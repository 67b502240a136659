"""Django's own engine and pool, which mend themselves at once when the database was restarted."""

from __future__ import annotations

import time
from typing import Any, Final

import psycopg
from django.db.backends.postgresql import base
from django.utils.asyncio import async_unsafe

FIRST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 1.0
"""Seconds between two new connections that are both broken."""


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection of the pool that is known to work.

    The pool's own look before use (``CONN_HEALTH_CHECKS``) finds one broken connection at a time and sleeps in between:
    after a restart a request on its own would fail for want of time, with a pool full of them.
    """

    @async_unsafe
    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """Raises ``OperationalError`` when there is none within the pool's timeout."""
        deadline, pause = time.monotonic() + self.pool.timeout, 0.0
        connection = super().get_new_connection(conn_params)
        while (failure := self._failure(connection)) is not None:
            self.pool.putconn(connection)
            if time.monotonic() + pause > deadline:
                raise failure
            # A proxy takes connections while the database behind it is down: each new one is broken like the last.
            time.sleep(pause)
            pause = min(2 * pause or FIRST_PAUSE, LONGEST_PAUSE)
            # Where one is broken the others are too: all that wait in the pool are looked at, and replaced.
            self.pool.check()
            connection = super().get_new_connection(conn_params)
        return connection

    def _failure(self, connection: Any) -> psycopg.Error | None:
        try:
            self.pool.check_connection(connection)
        except psycopg.Error as exc:
            return exc
        return None
