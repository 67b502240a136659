"""The servers that are compared, each started as its users would start it, with one process that serves."""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import boto3

from benchmarks.peers import environments
from tests.conformance.processes import (
    ROOT,
    Children,
    DidNotStart,
    site_environment,
    wait_until_ready,
)
from tests.engines import free_port, wait_for_port

THREADS = 64
"""Of a server that works by threads."""


@dataclass(frozen=True, slots=True)
class Running:
    """A server that answers. ``pid`` is its first process; others descend from it."""

    name: str
    url: str
    pid: int
    log: Path

    @property
    def port(self) -> int:
        return int(self.origin.rpartition(":")[2])

    @property
    def origin(self) -> str:
        return self.url[: self.url.index("/mcp")]


@dataclass(frozen=True, slots=True)
class Bench:
    """Where servers are started: one DynamoDB, and one folder for what they write."""

    children: Children
    directory: Path
    dynamodb_url: str
    sources: Mapping[str, Path] = field(default_factory=dict)
    """Directories of sites by name."""
    cache: Path = environments.CACHE
    settings: Mapping[str, str] = field(default_factory=dict)
    """Environment of the site called ``ours``."""

    def site(self, name: str, source: Path, **environment: str) -> Running:
        """The site of a directory, as its image would run it there; its tables begin with ``name``."""
        port = free_port()
        env = self._environment(name) | {"MCP_SERVER": "benchmarks.server:mcp", "PORT": str(port)} | environment
        env |= self.settings if name == "ours" else {}
        self._setup(source, env)
        command = ["env", "-C", str(source), *image_command(source), "--bind", f"127.0.0.1:{port}"]
        log = self.directory / f"{name}.log"
        process = self.children.start(command, env=env, log=log)
        wait_until_ready(f"http://127.0.0.1:{port}/readyz", process, log)
        return Running(name, f"http://127.0.0.1:{port}/mcp", process.pid, log)

    def start(self, name: str) -> Running:
        """A server by its name in ``NAMES``, or a site of ``sources``; raises ``DidNotStart``."""
        if source := self.sources.get(name):
            return self.site(name, source)
        try:
            if name == "bare view":
                # The site's own table, with its indexes.
                self._setup(self.sources.get("ours", ROOT), self._environment("ours"))
                return self._gunicorn(name, "bare_view", sys.executable, table="ours")
            if name == "fastmcp":
                return self._module(name, "fastmcp_server", self._python("fastmcp"))
            if name == "awslabs":
                self._sessions_table("awslabs")
                return self._gunicorn(name, "awslabs_server", self._python("awslabs"))
            if name == "mcp-persist":
                python = self._python("mcp_persist")
                return self._module(name, "mcp_persist_server", python, self._redis(), path="/mcp/")
            return self._module("sdk", "sdk_server", sys.executable)
        except (subprocess.CalledProcessError, OSError) as exc:
            raise DidNotStart(f"{name}: {exc}") from exc

    def _setup(self, source: Path, env: Mapping[str, str]) -> None:
        command = ["env", "-C", str(source), sys.executable, "manage.py", "dynamodb_setup"]
        subprocess.run(command, env=env, check=True, capture_output=True)  # noqa: S603 (our own)

    def _environment(self, table: str) -> dict[str, str]:
        return site_environment(self.dynamodb_url, self.directory, THREADS) | {
            "RECORD_CALLS": "false",
            "AWS_DEFAULT_REGION": "eu-west-1",
            "DYNAMODB_SESSIONS_TABLE": f"{table}-sessions",
            "DYNAMODB_EVENTS_TABLE": f"{table}-events",
            "DATABASE_URL": f"sqlite:///{self.directory / table}.sqlite3",
        }

    def _python(self, name: str) -> str:
        return str(environments.python(name, self.cache))

    def _gunicorn(self, name: str, module: str, python: str, table: str = "") -> Running:
        workers = ["--workers", "1", "--worker-class", "gthread", "--threads", str(THREADS), "--keep-alive", "75"]
        # The site's gunicorn.conf.py is in the directory: another instead, that sets nothing.
        config = ["--config", "python:benchmarks.peers"]
        command = [python, "-m", "gunicorn", f"benchmarks.peers.{module}", *config, *workers]
        return self._listening(name, [*command, "--bind", "127.0.0.1:{port}"], table=table)

    def _module(self, name: str, module: str, python: str, *arguments: str, path: str = "/mcp") -> Running:
        command = [python, "-m", f"benchmarks.peers.{module}", "{port}", *arguments]
        return self._listening(name, command, path=path)

    def _listening(self, name: str, command: list[str], path: str = "/mcp", table: str = "") -> Running:
        port = free_port()
        log = self.directory / f"{name.replace(' ', '_')}.log"
        whole = [part.replace("{port}", str(port)) for part in command]
        process = self.children.start(whole, env=self._environment(table or name), log=log)
        if not wait_for_port(port, process):
            raise DidNotStart(f"{name} did not start:\n{log.read_text()[-4000:]}")
        return Running(name, f"http://127.0.0.1:{port}{path}", process.pid, log)

    def _redis(self) -> str:
        redis = ["redis-server", "--port", "{port}", "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        return self._listening("redis", redis).origin.replace("http", "redis")

    def _sessions_table(self, name: str) -> None:
        """What awslabs' handler expects to find."""
        boto3.client(
            "dynamodb",
            endpoint_url=self.dynamodb_url,
            region_name="eu-west-1",
            aws_access_key_id="conformance",
            aws_secret_access_key="conformance",
        ).create_table(
            TableName=name,
            KeySchema=[{"AttributeName": "session_id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "session_id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )


NAMES = ("ours", "before", "bare view", "fastmcp", "awslabs", "mcp-persist")


def add_site(parser: argparse.ArgumentParser) -> None:
    """The options ``directory`` and ``settings`` of the site under measurement."""
    parser.add_argument("--directory", type=_directory, default=ROOT, help="of the site; default: this one")
    parser.add_argument(
        "--set",
        dest="settings",
        type=_setting,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="in the site's environment; may be repeated",
    )


def _directory(text: str) -> Path:
    return Path(text).resolve()


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text}: NAME=VALUE is expected")
    return name, value


def image_command(source: Path) -> list[str]:
    """What the image of a directory runs (the last ``CMD`` of its Dockerfile), by this Python."""
    lines = (source / "Dockerfile").read_text().splitlines()
    last = [line for line in lines if line.startswith("CMD [")][-1]
    program, *arguments = json.loads(last.removeprefix("CMD "))
    return [sys.executable, "-m", program, *arguments]


@contextmanager
def worktree(commit: str) -> Iterator[Path]:
    """A git worktree of a commit, removed afterwards; a directory is itself."""
    if Path(commit).is_dir():
        yield Path(commit).resolve()
        return
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "before"
        _git("worktree", "add", "--quiet", "--detach", str(path), commit)
        try:
            yield path
        finally:
            _git("worktree", "remove", "--force", str(path))


def _git(*arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=ROOT, check=True)  # noqa: S603, S607 (our own)


@contextmanager
def bench(
    dynamodb_url: str,
    sources: Mapping[str, Path],
    settings: Mapping[str, str],
    cache: Path = environments.CACHE,
) -> Iterator[Bench]:
    """Ends every server that it started, on SIGTERM too."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    children = Children()
    with tempfile.TemporaryDirectory() as name:
        try:
            yield Bench(children, Path(name), dynamodb_url, sources, cache, settings)
        finally:
            children.close()
