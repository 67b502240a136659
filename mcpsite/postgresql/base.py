"""Django's own engine and pool, which mend themselves at once when the database was restarted."""

from __future__ import annotations

from typing import Any

import psycopg
from django.db.backends.postgresql import base
from django.utils.asyncio import async_unsafe


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection of the pool that is known to work.

    The pool's own look before use (``CONN_HEALTH_CHECKS``) finds one broken connection at a time and sleeps in between:
    after a restart a request on its own would fail for want of time, with a pool full of them.
    """

    @async_unsafe
    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """Raises ``OperationalError`` when there is none within the pool's timeout."""
        connection = super().get_new_connection(conn_params)
        while not self._works(connection):
            self.pool.putconn(connection)
            # Where one is broken the others are too: all that wait in the pool are looked at, and replaced.
            self.pool.check()
            connection = super().get_new_connection(conn_params)
        return connection

    def _works(self, connection: Any) -> bool:
        try:
            self.pool.check_connection(connection)
        except psycopg.Error:
            return False
        return True
