"""The processes of a run: three separate gunicorns over one DynamoDB Local, behind a balancer that is not sticky."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Final

from tests.engines import dynamodb_local, free_port, free_ports
from tests.live.balancer import Balancer

ROOT: Final = Path(__file__).resolve().parents[2]
FIXTURE: Final = "tests.conformance.server:mcp"
START_SECONDS: Final = 60.0


class DidNotStart(Exception):
    """A process that a run needs; the message ends with what it wrote."""


class Children:
    """Every process that a run starts, each in a group of its own and ended by its id."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[str]] = set()
        self._closed = False

    def start(
        self, command: Sequence[str | Path], *, env: Mapping[str, str], log: Path | None = None, cwd: Path = ROOT
    ) -> subprocess.Popen[str]:
        """Start a command, in the repository by default; it writes to the end of ``log``, or to a pipe."""
        with self._lock:
            if self._closed:
                raise RuntimeError("the run is over")
            with log.open("a") if log else nullcontext(subprocess.PIPE) as output:
                process = subprocess.Popen(
                    [str(part) for part in command],
                    cwd=cwd,
                    env=env,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    text=True,
                    start_new_session=True,
                )
            self._running.add(process)
        return process

    def kill(self, process: subprocess.Popen[str]) -> None:
        """SIGKILL to a process and all that it started; no effect on one that has ended."""
        with self._lock:
            self._running.discard(process)
            # Once it has been waited for, its id may be another's.
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            running = list(self._running)
        for process in running:
            self.kill(process)


def base_environment() -> dict[str, str]:
    """What a child needs of this process's environment: none of the developer's settings."""
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}


def site_environment(dynamodb_url: str, directory: Path, threads: int = 64) -> dict[str, str]:
    """A production site's settings: no DEBUG, one secret for every process, the fixture as its server."""
    return base_environment() | {
        "DEBUG": "false",
        "SECRET_KEY": secrets.token_urlsafe(48),
        "ALLOWED_HOSTS": "127.0.0.1,localhost",
        "DATABASE_URL": f"sqlite:///{directory / 'db.sqlite3'}",
        "DYNAMODB_EMBEDDED": "false",
        "DYNAMODB_SESSIONS_TABLE": "conformance-sessions",
        "DYNAMODB_EVENTS_TABLE": "conformance-events",
        "AWS_ENDPOINT_URL": dynamodb_url,
        "AWS_ENDPOINT_URL_DYNAMODB": dynamodb_url,
        "AWS_ACCESS_KEY_ID": "conformance",
        "AWS_SECRET_ACCESS_KEY": "conformance",
        "AWS_REGION": "eu-west-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "MCP_SERVER": FIXTURE,
        "MCP_AUTH": "mcpsite.endpoint.access.auth.public",
        "MCP_ALLOW_PUBLIC": "true",
        "WEB_CONCURRENCY": "1",
        "THREADS": str(threads),
    }


def wait_until_ready(url: str, process: subprocess.Popen[str], log: Path) -> None:
    """Return once a URL answers with success; raise with the log's end when the process ends or takes too long."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(urllib.error.URLError, OSError), urllib.request.urlopen(url, timeout=5):
            return
        time.sleep(0.05)
    raise DidNotStart(f"{url} does not answer:\n{log.read_text()[-4000:]}")


class Site:
    """Gunicorn processes, each with one worker and a port of its own, and the balancer before them."""

    def __init__(
        self,
        children: Children,
        env: Mapping[str, str],
        directory: Path,
        count: int,
        odd: Mapping[str, str] | None = None,
    ) -> None:
        """``odd`` is what the first of the processes has in its environment besides."""
        self._children = children
        self._env = env
        self._directory = directory
        self._odd = odd or {}
        self.ports = free_ports(count)
        self._processes = {port: self._start(port) for port in self.ports}
        for port in self.ports:
            self._wait(port)
        self.balancer = Balancer(self.ports)
        self.url = f"{self.balancer.url}/mcp"

    def close(self) -> None:
        self.balancer.close()

    def pid(self, port: int) -> int:
        """The id of the gunicorn on a port; its worker is its only child."""
        return self._processes[port].pid

    def kill(self, port: int) -> None:
        """SIGKILL to the process on a port, and wait until it is gone; the balancer finds out by being refused."""
        self._children.kill(self._processes[port])
        # Its worker is nobody's child now, and holds the port for as long as it takes to die.
        with suppress(OSError):
            while True:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()

    def replace(self, port: int) -> None:
        """Start a process where one was killed, and send it requests when it is ready."""
        # It listens long before it can answer: until then a balancer's health check fails.
        self.balancer.remove(port)
        self._processes[port] = self._start(port)
        self._wait(port)
        self.balancer.add(port)

    def _start(self, port: int) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "gunicorn", "mcpsite.asgi", "--bind", f"127.0.0.1:{port}"]
        odd = self._odd if port == self.ports[0] else {}
        return self._children.start(command, env={**self._env, **odd}, log=self._log(port))

    def _wait(self, port: int) -> None:
        wait_until_ready(f"http://127.0.0.1:{port}/readyz", self._processes[port], self._log(port))

    def _log(self, port: int) -> Path:
        return self._directory / f"gunicorn-{port}.log"


@contextmanager
def serve_site(
    children: Children,
    directory: Path,
    *,
    count: int,
    threads: int,
    settings: Mapping[str, str] | None = None,
    odd: Mapping[str, str] | None = None,
) -> Iterator[Site]:
    """The site as it is deployed, ready, with further settings, and those of one process alone; its tables are new."""
    with dynamodb_local() as dynamodb_url:
        env = {**site_environment(dynamodb_url, directory, threads), **(settings or {})}
        log = directory / "setup.log"
        setup = children.start([sys.executable, "manage.py", "dynamodb_setup"], env=env, log=log)
        if setup.wait(START_SECONDS):
            raise DidNotStart(f"dynamodb_setup failed:\n{log.read_text()}")
        site = Site(children, env, directory, count, odd)
        try:
            yield site
        finally:
            site.close()


@contextmanager
def serve_reference(
    children: Children,
    directory: Path,
    *,
    module: str = "tests.conformance.reference",
    settings: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """The SDK's own endpoint with a fixture, as a module serves it, in one process; yields its URL."""
    port = free_port()
    log = directory / "reference.log"
    process = children.start(
        [sys.executable, "-m", module, str(port)], env={**base_environment(), **(settings or {})}, log=log
    )
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            break
        time.sleep(0.05)
    else:
        raise DidNotStart(f"The reference server did not start:\n{log.read_text()[-4000:]}")
    yield f"http://127.0.0.1:{port}/mcp"
