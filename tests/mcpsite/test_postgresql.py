"""What the site makes of a ``DATABASE_URL`` of PostgreSQL; ``tests/live/test_postgresql.py`` has a real one."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db.utils import ConnectionHandler

from mcpsite.postgresql import options
from mcpsite.postgresql.options import with_pool
from tests.conformance.processes import ROOT, site_environment

POSTGRESQL = {"ENGINE": "django.db.backends.postgresql", "NAME": "site", "HOST": "db"}


def test_it_has_a_pool_and_a_limit_to_every_wait() -> None:
    database = with_pool(POSTGRESQL, 7)
    assert database["ENGINE"] == "mcpsite.postgresql"
    assert (database["NAME"], database["HOST"]) == ("site", "db")
    pool = database["OPTIONS"]["pool"]
    assert (pool["min_size"], pool["max_size"]) == (0, 7)
    assert 0 < database["OPTIONS"]["connect_timeout"] <= pool["timeout"] < 30


def test_options_of_the_url_win() -> None:
    database = with_pool({**POSTGRESQL, "OPTIONS": {"sslmode": "require", "connect_timeout": 2}}, 7)
    assert database["OPTIONS"]["sslmode"] == "require"
    assert database["OPTIONS"]["connect_timeout"] == 2


@pytest.mark.parametrize("size", [0, 7])
@pytest.mark.parametrize(
    ("pool", "backend"),
    [({"max_size": 2}, "mcpsite.postgresql"), (True, "mcpsite.postgresql"), (False, POSTGRESQL["ENGINE"])],
    ids=["of its own", "by default", "none"],
)
def test_a_pool_of_the_settings_own_is_kept(pool: object, backend: str, size: int) -> None:
    database = with_pool({**POSTGRESQL, "OPTIONS": {"pool": pool}}, size)
    assert database["OPTIONS"]["pool"] == pool
    assert database["ENGINE"] == backend


def test_a_size_of_zero_is_djangos_own_engine_without_a_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "find_spec", lambda _: None)  # psycopg2, say
    database = with_pool(POSTGRESQL, 0)
    assert database["ENGINE"] == POSTGRESQL["ENGINE"]
    assert "pool" not in database["OPTIONS"]


@pytest.mark.parametrize("engine", ["django.db.backends.sqlite3", "django.db.backends.mysql"])
def test_another_engine_is_left_alone(engine: str) -> None:
    database = {"ENGINE": engine, "NAME": "site"}
    assert with_pool(database, 7) == database


@pytest.mark.parametrize("missing", [["psycopg"], ["psycopg_pool"], ["psycopg", "psycopg_pool"]], ids=" and ".join)
def test_without_the_driver_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, missing: list[str]) -> None:
    monkeypatch.setattr(options, "find_spec", lambda name: None if name in missing else object())
    with pytest.raises(ImproperlyConfigured, match=r"pip install 'mcp-sessions\[postgresql\]'") as raised:
        with_pool(POSTGRESQL, 7)
    assert all(name in str(raised.value) for name in missing)


def _takes_connections_and_nothing_else(listener: socket.socket, taken: list[int]) -> None:
    """A proxy whose database is down: it lets everybody in, and closes at the first query."""
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            connection.recv(8192)
            taken.append(1)
            authenticated, ready = b"R\0\0\0\x08\0\0\0\0", b"Z\0\0\0\x05I"
            settings = b"S\0\0\0\x19client_encoding\0UTF8\0" + b"S\0\0\0\x11TimeZone\0UTC\0"
            connection.sendall(authenticated + settings + ready)
            connection.recv(8192)


def test_a_proxy_whose_database_is_down_is_tried_now_and_then_and_not_for_ever() -> None:
    taken: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_takes_connections_and_nothing_else, args=(listener, taken), daemon=True).start()
        name = {**POSTGRESQL, "HOST": "127.0.0.1", "PORT": listener.getsockname()[1], "USER": "site"}
        options = {"sslmode": "disable", "gssencmode": "disable", "pool": {"min_size": 0, "max_size": 1, "timeout": 1}}
        connection: Any = ConnectionHandler({"default": with_pool({**name, "OPTIONS": options}, 1)})["default"]
        failures: list[BaseException] = []

        def connect() -> None:
            try:
                connection.get_new_connection(connection.get_connection_params())
            except psycopg.OperationalError as exc:
                failures.append(exc)

        connecting = threading.Thread(target=connect, daemon=True)
        connecting.start()
        connecting.join(20)
        listener.shutdown(socket.SHUT_RDWR)
        connection.close_pool()
    assert failures
    assert len(taken) < 20


def _database(tmp_path: Path, **env: str) -> dict[str, Any]:
    """``DATABASES["default"]`` of a process with these variables."""
    code = "import json; from django.db import connection; print(json.dumps(connection.settings_dict))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=site_environment("http://127.0.0.1:9", tmp_path) | {"DJANGO_SETTINGS_MODULE": "mcpsite.settings"} | env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    database: dict[str, Any] = json.loads(done.stdout)
    return database


@pytest.mark.parametrize(
    ("size", "expected"), [({}, 10), ({"DATABASE_POOL_SIZE": ""}, 10), ({"DATABASE_POOL_SIZE": "3"}, 3)]
)
def test_the_settings_read_it_from_the_environment(tmp_path: Path, size: dict[str, str], expected: int) -> None:
    database = _database(tmp_path, DATABASE_URL="postgres://ann:secret@db:5433/site?sslmode=require", **size)
    assert database["OPTIONS"]["pool"]["max_size"] == expected
    assert database["OPTIONS"]["sslmode"] == "require"
    assert (database["USER"], database["PORT"], database["CONN_MAX_AGE"]) == ("ann", 5433, 0)
