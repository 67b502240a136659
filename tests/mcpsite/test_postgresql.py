"""What the site makes of a ``DATABASE_URL`` of PostgreSQL; ``tests/live/test_postgresql.py`` has a real one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

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
