"""Three gunicorn processes over one DynamoDB Local, for tests that stop, pause and kill them, or choose among them."""

from __future__ import annotations

import os
import random
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import cycle
from pathlib import Path
from typing import Final

from tests.conformance.processes import (
    ROOT,
    START_SECONDS,
    Children,
    DidNotStart,
    site_environment,
    wait_until_ready,
)
from tests.engines import free_ports
from tests.live.balancer import Balancer

SERVER: Final = "tests.live.servers_for_streams:mcp"
POLL_SECONDS: Final = 0.2
THREADS: Final = 64


class StreamSite:
    """The processes by their ports, and a balancer before them that is not sticky."""

    def __init__(self, children: Children, env: Mapping[str, str], directory: Path, count: int) -> None:
        self.env = env
        self.directory = directory
        self._children = children
        self._processes: dict[int, subprocess.Popen[str]] = {}
        for port in free_ports(count):
            self._launch(port)
        for port in self.ports:
            self._wait(port)
        self._turns = cycle(self.ports)
        self.balancer = Balancer(self.ports)

    @property
    def ports(self) -> list[int]:
        return list(self._processes)

    @property
    def url(self) -> str:
        return f"{self.balancer.url}/mcp"

    def turn(self) -> int:
        """The next process's port, as a balancer without stickiness would choose."""
        return next(self._turns)

    def any(self) -> int:
        """A random process's port."""
        return random.choice(self.ports)

    def signal(self, port: int, number: signal.Signals) -> None:
        """A signal to a gunicorn and its worker alike."""
        os.killpg(self._processes[port].pid, number)

    def stop(self, port: int) -> subprocess.Popen[str]:
        """SIGTERM to a gunicorn, as whatever runs it would send; its process, to wait for."""
        process = self._processes[port]
        process.terminate()
        return process

    def kill(self, port: int) -> None:
        """SIGKILL to a gunicorn and its worker, and wait until nothing listens there."""
        self._children.kill(self._processes[port])
        # Its worker is nobody's child now, and holds the port for as long as it takes to die.
        with suppress(OSError):
            while True:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()

    def start(self, port: int, **env: str) -> None:
        """A new process where one was killed or stopped, with other settings perhaps."""
        self._launch(port, **env)
        self._wait(port)

    def start_checkout(self, port: int, checkout: Path) -> None:
        """The same, of another checkout of the repository."""
        self._launch(port, checkout)
        self._wait(port)

    def worker_pid(self, port: int) -> int:
        """The process that serves."""
        arbiter = self._processes[port].pid
        (child,) = Path(f"/proc/{arbiter}/task/{arbiter}/children").read_text().split()
        return int(child)

    def log(self, port: int) -> str:
        """What a process wrote."""
        return self._log(port).read_text()

    def _launch(self, port: int, cwd: Path = ROOT, /, **env: str) -> None:
        command = [sys.executable, "-m", "gunicorn", "mcpsite.asgi", "--bind", f"127.0.0.1:{port}"]
        self._processes[port] = self._children.start(command, env={**self.env, **env}, log=self._log(port), cwd=cwd)

    def _wait(self, port: int) -> None:
        wait_until_ready(f"http://127.0.0.1:{port}/readyz", self._processes[port], self._log(port))

    def _log(self, port: int) -> Path:
        return self.directory / f"gunicorn-{port}.log"


def prepare(children: Children, dynamodb_url: str, directory: Path, **env: str) -> dict[str, str]:
    """Make a site's tables and its database, both new; its settings, with further ones by their variables' names."""
    unique = secrets.token_hex(4)
    settings = site_environment(dynamodb_url, directory, THREADS) | {
        "MCP_SERVER": SERVER,
        "DYNAMODB_SESSIONS_TABLE": f"sessions-{unique}",
        "DYNAMODB_EVENTS_TABLE": f"events-{unique}",
        "EVENT_POLL_SECONDS": str(POLL_SECONDS),
        **env,
    }
    for command in ("dynamodb_setup", "migrate"):
        log = directory / f"{command}.log"
        process = children.start([sys.executable, "manage.py", command], env=settings, log=log)
        if process.wait(START_SECONDS):
            raise DidNotStart(f"{command} failed:\n{log.read_text()}")
    return settings


@contextmanager
def stream_site(dynamodb_url: str, directory: Path, *, count: int = 3, **env: str) -> Iterator[StreamSite]:
    """The site, ready, its tables and its database new; further settings by the names of their variables."""
    children = Children()
    try:
        site = StreamSite(children, prepare(children, dynamodb_url, directory, **env), directory, count)
        try:
            yield site
        finally:
            site.balancer.close()
    finally:
        children.close()
