"""The site over PostgreSQL: no more connections than the pool has, and a database that goes away and comes back."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import cycle
from typing import Final

import pytest

from tests.conformance.processes import ROOT
from tests.conftest import start_or_skip
from tests.engines import MOTO
from tests.live.postgresql import POSTGRESQL, SITE, Cluster, postgresql
from tests.live.servers import Server, gunicorns
from tests.mcpsite.peers import ENVELOPE, JSON_HEADERS, MODERN

POOL: Final = 5
WAIT_SECONDS: Final = 10
"""What a request waits for a connection: ``mcpsite.postgresql.options``."""
TOO_LONG_SECONDS: Final = 30
"""No request may hang for so long."""
PAGES: Final = ("/admin/", "/admin/auth/user/", "/admin/django_mcpz_bearer_tokens/token/")
ACCOUNT: Final = """
from django.contrib.auth.models import User
from django.test import Client
from django_mcpz.bearer_tokens.models import Token

user = User.objects.create_superuser("staff")
client = Client()
client.force_login(user)
print(Token.create(name="robot", user=user)[1], client.cookies["sessionid"].value)
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, its kind of caller (``"bearer"`` or ``"staff"``), and when its request was sent, in seconds."""

    kind: str
    sent: float
    status: int
    retry_after: str | None
    content: bytes


@dataclass(frozen=True, slots=True)
class Site:
    """The site over a cluster, with a token and a staff login."""

    cluster: Cluster
    server: Server
    token: str
    login: str

    def bearer(self) -> Answer:
        """A request of the protocol, whose token is looked up."""
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": ENVELOPE}}
        headers = {**JSON_HEADERS, "MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/list"}
        return self._send("bearer", "POST", "/mcp", json.dumps(message), headers | self._token)

    def staff(self, page: str = PAGES[0]) -> Answer:
        """A page of the admin's."""
        return self._send("staff", "GET", page, None, self._login)

    def leave(self, page: str = PAGES[0]) -> None:
        """Ask for a page, and be gone before it comes."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=TOO_LONG_SECONDS)
        connection.request("GET", page, headers=self._login)
        connection.close()

    def open(self) -> int:
        """The site's connections that PostgreSQL has."""
        ((number,),) = self.cluster.ask("SELECT count(*) FROM pg_stat_activity WHERE usename = 'site'")
        return int(number)

    @property
    def _token(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    @property
    def _login(self) -> dict[str, str]:
        return {"Cookie": f"sessionid={self.login}"}

    def _send(self, kind: str, method: str, path: str, body: str | None, headers: dict[str, str]) -> Answer:
        sent = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=TOO_LONG_SECONDS)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return Answer(kind, sent, response.status, response.getheader("Retry-After"), response.read())
        finally:
            connection.close()


def _manage(site: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments], cwd=ROOT, env=site, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with ExitStack() as running:
        started: list[Cluster] = []

        def start(_: str) -> str:
            started.append(running.enter_context(postgresql()))
            return started[0].url

        start_or_skip(POSTGRESQL, start)
        yield started[0]


@pytest.fixture(scope="module")
def site(
    cluster: Cluster, start_engine: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """One process whose pool has five connections, and which asks the database at every request."""
    settings = {
        "DJANGO_SETTINGS_MODULE": "tests.live.unbuilt_static",
        "SECRET_KEY": "long and random" * 4,
        "DATABASE_URL": cluster.url,
        "DATABASE_POOL_SIZE": str(POOL),
        "MCP_AUTH": "django_mcpz.bearer_tokens.auth.token_auth",
        "AUTH_RECHECK_SECONDS": "0",
    }
    with gunicorns(start_engine(MOTO), tmp_path_factory.mktemp("postgresql"), 1, **settings) as (server,):
        environment = dict(server.env)
        _manage(environment, "migrate", "--verbosity", "0")
        token, login = _manage(environment, "shell", "--verbosity", "0", "-c", ACCOUNT).split()
        yield Site(cluster, server, token, login)


def _is_clear(answer: Answer) -> bool:
    """Whether it says in its caller's own form that the database is away."""
    assert answer.status == 503, answer
    assert answer.retry_after is not None
    assert b"Traceback" not in answer.content
    if answer.kind == "bearer":
        error = json.loads(answer.content)["error"]
        return "database" in error["message"] and error["code"] == -32603
    return b"The database is not available" in answer.content


# --- The pool -------------------------------------------------------------------------------------------------


@contextmanager
def _watched(cluster: Cluster) -> Iterator[list[int]]:
    """How many connections the site has, seen again and again."""
    seen: list[int] = []
    over = threading.Event()

    def look() -> None:
        with cluster.connect() as connection:
            while not over.wait(0.01):
                row = connection.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = 'site'").fetchone()
                assert row is not None
                seen.append(row[0])

    with ThreadPoolExecutor(1) as watching:
        looking = watching.submit(look)
        try:
            yield seen
        finally:
            over.set()
            looking.result()


def _begun(cluster: Cluster) -> int:
    """Connections that the site's database has ever had."""
    ((number,),) = cluster.ask("SELECT sessions FROM pg_stat_database WHERE datname = 'site'")
    return int(number)


def test_a_thousand_bearer_and_two_hundred_staff_requests_have_the_pool_s_connections(site: Site) -> None:
    before = _begun(site.cluster)
    pages = cycle(PAGES)
    with _watched(site.cluster) as seen, ThreadPoolExecutor(40) as callers, ThreadPoolExecutor(10) as staff:
        sent = [callers.submit(site.bearer) for _ in range(1000)]
        sent += [staff.submit(site.staff, next(pages)) for _ in range(200)]
        answers = [each.result() for each in sent]
    assert {answer.status for answer in answers} == {200}
    assert len(seen) > 100
    assert 1 < max(seen) <= POOL
    # They are kept: were each request to open one, there would have been a thousand.
    assert _begun(site.cluster) - before <= 3 * POOL
    print(f"{len(answers)} requests, {len(seen)} looks, at most {max(seen)} connections of {POOL}")


def test_staff_who_leave_take_no_connection_with_them(site: Site) -> None:
    with _watched(site.cluster) as seen:
        for page in PAGES * 10:
            site.leave(page)
        with ThreadPoolExecutor(10) as staff:
            answers = list(staff.map(site.staff, PAGES * 10))
    assert {answer.status for answer in answers} == {200}
    assert max(seen) <= POOL


# --- A database that goes away --------------------------------------------------------------------------------


def test_after_a_restart_that_nobody_noticed_the_next_request_succeeds(site: Site) -> None:
    """Every connection of the pool is broken, and no other request is there to find out."""
    with ThreadPoolExecutor(4 * POOL) as callers:
        list(callers.map(lambda _: site.bearer(), range(20 * POOL)))
    assert site.open() > 1
    for kind in (site.bearer, site.staff):
        site.cluster.stop()
        site.cluster.start()
        assert kind().status == 200


def test_a_restart_under_traffic_heals_by_itself(site: Site) -> None:
    answers: list[Answer] = []
    over = threading.Event()

    def call(kind: Callable[[], Answer]) -> None:
        while not over.is_set():
            answers.append(kind())

    with ThreadPoolExecutor(30) as callers:
        calling = [callers.submit(call, kind) for kind in [site.bearer] * 20 + [site.staff] * 10]
        try:
            time.sleep(2)
            site.cluster.stop()
            # Longer than a request waits, so that some fail.
            time.sleep(WAIT_SECONDS + 3)
            site.cluster.start()
            again = time.monotonic()
            time.sleep(5)
        finally:
            over.set()
            for each in calling:
                each.result()
    failed = [answer for answer in answers if answer.status != 200]
    assert {answer.kind for answer in failed} == {"bearer", "staff"}
    assert all(map(_is_clear, failed))
    after = [answer for answer in answers if answer.sent >= again]
    assert {answer.kind for answer in after} == {"bearer", "staff"}
    assert {answer.status for answer in after} == {200}
    assert site.open() <= POOL
    assert site.server.process.poll() is None
    print(f"{len(answers)} requests, {len(failed)} failed, all of the {len(after)} sent afterwards succeeded")


def test_a_database_that_hangs_is_a_clear_error_too(site: Site) -> None:
    """A table that is locked, as by a migration: more requests than there are connections and threads."""
    with site.cluster.connect(SITE) as connection, connection.transaction():
        connection.execute("LOCK TABLE django_mcpz_bearer_tokens_token IN ACCESS EXCLUSIVE MODE")
        with ThreadPoolExecutor(60) as callers:
            answers = list(callers.map(lambda _: site.bearer(), range(60)))
            # They have all of the pool.
            answers.append(site.staff())
    assert all(map(_is_clear, answers))
    assert {site.bearer().status, site.staff().status} == {200}
