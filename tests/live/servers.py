"""The site as it is really run, gunicorn and ``runserver``, for tests that talk to it over sockets."""

from __future__ import annotations

import http.client
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from django.utils.datastructures import CaseInsensitiveMapping

from tests.conformance.processes import (
    Children,
    DidNotStart,
    base_environment,
    site_environment,
    wait_until_ready,
)
from tests.engines import free_ports
from tests.mcpsite.peers import Answer

START_SECONDS = 60
SERVER = "mcpsite.server:mcp"


class OverHttp:
    """Carries requests down one connection that is kept open; not shared between threads."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def __call__(self, method: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        self._connection.request(method, "/mcp", body, dict(headers))
        response = self._connection.getresponse()
        return Answer(response.status, CaseInsensitiveMapping(response.getheaders()), response.read())


@dataclass
class Server:
    """A server on a port; it can be killed and started again there."""

    port: int
    command: list[str]
    env: Mapping[str, str]
    log: Path
    children: Children
    process: subprocess.Popen[str] = field(init=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp"

    def start(self) -> None:
        self.process = self.children.start(self.command, env=self.env, log=self.log)
        wait_until_ready(f"http://127.0.0.1:{self.port}/readyz", self.process, self.log)

    def kill(self) -> None:
        """SIGKILL to it and all that it started."""
        self.children.kill(self.process)

    def connect(self) -> OverHttp:
        return OverHttp(self.port)


def gunicorn(port: int) -> list[str]:
    return [sys.executable, "-m", "gunicorn", "mcpsite.asgi", "--bind", f"127.0.0.1:{port}"]


@contextmanager
def gunicorns(dynamodb_url: str, directory: Path, count: int, **env: str) -> Iterator[list[Server]]:
    """Separate gunicorns, each with one worker, over new tables; further settings by their variables' names."""
    children = Children()
    settings = site_environment(dynamodb_url, directory) | {"MCP_SERVER": SERVER, **env}
    try:
        setup = children.start(
            [sys.executable, "manage.py", "dynamodb_setup"], env=settings, log=directory / "setup.log"
        )
        if setup.wait(START_SECONDS):
            raise DidNotStart((directory / "setup.log").read_text())
        servers = [
            Server(port, gunicorn(port), settings, directory / f"gunicorn-{port}.log", children)
            for port in free_ports(count)
        ]
        for server in servers:
            server.start()
        yield servers
    finally:
        children.close()


@contextmanager
def runserver(directory: Path, *options: str, **env: str) -> Iterator[Server]:
    """``manage.py runserver`` as ``make run`` starts it, with its embedded DynamoDB, of which it keeps nothing."""
    children = Children()
    port, embedded = free_ports(2)
    settings = base_environment() | {
        "DEBUG": "true",
        "DYNAMODB_EMBEDDED": "true",
        "DYNAMODB_EMBEDDED_DATA": "off",
        "DYNAMODB_EMBEDDED_PORT": str(embedded),
        "DATABASE_URL": f"sqlite:///{directory / 'db.sqlite3'}",
        "MCP_SERVER": SERVER,
        **env,
    }
    command = [sys.executable, "manage.py", "runserver", *options, f"127.0.0.1:{port}"]
    server = Server(port, command, settings, directory / "runserver.log", children)
    try:
        server.start()
        yield server
    finally:
        children.close()
