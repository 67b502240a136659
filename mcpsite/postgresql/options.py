"""What ``DATABASES`` says of PostgreSQL: the pool's size, and how long anything waits for it. Times are in seconds."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any, Final

from django.core.exceptions import ImproperlyConfigured

DJANGOS_ENGINE: Final = "django.db.backends.postgresql"
ENGINE: Final = "mcpsite.postgresql"
EXTRA: Final = "mcp-sessions[postgresql]"

WAIT_SECONDS: Final = 10
"""What a request waits for a connection, as long as a restart of the database takes; then it fails."""
CONNECT_SECONDS: Final = 5
IDLE_SECONDS: Final = 60
"""A pool that needs fewer connections closes one this often, down to none."""

# What libpq's own defaults leave to the operating system, which waits for a host that is gone for a quarter of an hour.
_PATIENCE: Final = {
    "connect_timeout": CONNECT_SECONDS,
    "tcp_user_timeout": WAIT_SECONDS * 1000,
    "keepalives_idle": WAIT_SECONDS,
    "keepalives_interval": 2,
    "keepalives_count": 3,
}


def with_pool(database: Mapping[str, Any], size: int) -> dict[str, Any]:
    """An entry of ``DATABASES`` with a pool of at most ``size`` connections a process; 0 is for none.

    The options that it has are kept, and one of another engine is as it was. Raises ``ImproperlyConfigured`` where the
    driver is not installed.
    """
    if database["ENGINE"] != DJANGOS_ENGINE:
        return dict(database)
    options: dict[str, Any] = {**_PATIENCE, **database.get("OPTIONS", {})}
    if not options.get("pool", size > 0):
        return {**database, "OPTIONS": options}
    _require("psycopg", "psycopg_pool")
    pool = {
        "min_size": 0,
        "max_size": size,
        "max_idle": IDLE_SECONDS,
        "timeout": WAIT_SECONDS,
        # An attempt waits ever longer for the next. It is given up as soon as whoever waits for it, and the next
        # request begins anew.
        "reconnect_timeout": WAIT_SECONDS,
    }
    return {**database, "ENGINE": ENGINE, "OPTIONS": {"pool": pool, **options}}


def _require(*modules: str) -> None:
    if missing := [module for module in modules if find_spec(module) is None]:
        # Django would name the driver alone, and the pool at the first request.
        raise ImproperlyConfigured(
            f"DATABASE_URL names PostgreSQL, and {' and '.join(missing)} cannot be imported: install"
            f" psycopg[binary,pool], such as by pip install '{EXTRA}'. With a driver that has no pool, set"
            " DATABASE_POOL_SIZE=0."
        )
