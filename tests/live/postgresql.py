"""A PostgreSQL of a test's own: a new cluster on a free loopback port, which can be killed and started again."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, LiteralString

import psycopg

from tests.engines import EngineMissing, free_port

POSTGRESQL: Final = "postgresql"
DEBIAN: Final = Path("/usr/lib/postgresql")
START_SECONDS: Final = 60
ADMIN: Final = "postgres"
SITE: Final = "site"
"""The role of the site, and its database."""


def _programs() -> Path:
    """The directory of ``initdb`` and ``postgres``; Debian has them beside ``PATH``."""
    if initdb := shutil.which("initdb"):
        return Path(initdb).resolve().parent
    found = sorted(DEBIAN.glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    if not found:
        raise EngineMissing("PostgreSQL is not installed: its initdb is neither on PATH nor below /usr/lib/postgresql")
    return found[-1].parent


def _account() -> dict[str, Any]:
    """Whom its processes run as: it refuses to be root."""
    if os.geteuid():
        return {}
    try:
        account = pwd.getpwnam(ADMIN)
    except KeyError:
        raise EngineMissing("PostgreSQL does not run as root, and there is no user postgres") from None
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


@dataclass
class Cluster:
    """PostgreSQL on a port, with a role and a database for the site."""

    programs: Path
    directory: Path
    port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """For ``DATABASE_URL``."""
        return f"postgres://{SITE}:secret@127.0.0.1:{self.port}/{SITE}"

    def create(self) -> None:
        """Make its files, start it, and make the role and the database."""
        account = _account()
        if account:
            os.chown(self.directory, account["user"], account["group"])
        subprocess.run(
            [self.programs / "initdb", "-D", self.directory, "-U", ADMIN, "-A", "trust", "--no-sync", "-E", "UTF8"],
            cwd=self.directory,
            check=True,
            capture_output=True,
            **account,
        )
        self.start()
        self.ask(f"CREATE ROLE {SITE} LOGIN PASSWORD 'secret'")
        self.ask(f"CREATE DATABASE {SITE} OWNER {SITE}")

    def start(self) -> None:
        """Start it, and return when it takes connections."""
        options = ["-p", str(self.port), "-h", "127.0.0.1", "-k", str(self.directory), "-c", "fsync=off"]
        with (self.directory / "server.log").open("ab") as log:
            process: subprocess.Popen[bytes] = subprocess.Popen(
                [str(self.programs / "postgres"), "-D", str(self.directory), *options],
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **_account(),
            )
        self._process = process
        # It listens before it has recovered, and refuses whom it cannot serve yet.
        deadline = time.monotonic() + START_SECONDS
        while not self._serves():
            assert process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.05)

    def _serves(self) -> bool:
        try:
            self.ask("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def stop(self) -> None:
        """Stop it as ``pg_ctl stop -m immediate`` does: every connection is cut, and the next start recovers."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(30)
            self._process = None

    def connect(self, database: str = ADMIN) -> psycopg.Connection:
        """A connection of the administrator's, each statement a transaction."""
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user=ADMIN, dbname=database, autocommit=True, connect_timeout=10
        )

    def ask(self, query: LiteralString) -> list[tuple[Any, ...]]:
        """What a query of the administrator's answers."""
        with self.connect() as connection:
            cursor = connection.execute(query)
            return cursor.fetchall() if cursor.description else []

    @property
    def log(self) -> str:
        return (self.directory / "server.log").read_text()


@contextmanager
def postgresql() -> Iterator[Cluster]:
    """A running cluster; it and its files are gone afterwards."""
    programs = _programs()
    directory = Path(tempfile.mkdtemp(prefix="postgresql-"))
    cluster = Cluster(programs, directory)
    try:
        cluster.create()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(directory, ignore_errors=True)
