"""A Redis of a test's own on a free loopback port, which can be killed, stalled and started again."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import redis

from tests.engines import EngineMissing, free_port, wait_for_port

PASSWORD: Final = "pa/ss w%rd"
QUOTED: Final = "pa%2Fss%20w%25rd"
"""As it stands in a URL."""


@dataclass
class RedisServer:
    """Redis on a port, with a password."""

    program: str
    directory: Path
    port: int = field(default_factory=free_port)
    options: tuple[str, ...] = ()
    """More of its command line."""
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """For ``BUS_URL``."""
        return f"redis://:{QUOTED}@127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.directory / f"{self.port}.log"

    def start(self) -> None:
        """Start it, and return when it takes connections."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(self.program, "--port", str(self.port), "--bind", "127.0.0.1", "--requirepass", PASSWORD),
                    *("--save", "", "--dir", str(self.directory), *self.options),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        assert wait_for_port(self.port, self._process), self.log.read_text()

    def kill(self) -> None:
        """End it at once, stalled or not."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stall(self) -> None:
        """It takes connections and bytes, as its kernel does, and answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def ask(self, *command: str | int) -> Any:
        """What it answers its administrator."""
        with redis.Redis(port=self.port, password=PASSWORD, socket_timeout=10, protocol=2) as client:
            return client.execute_command(*command)

    def clients(self) -> int:
        """The connections that it has, without the one that asks."""
        return int(self.ask("INFO", "clients")["connected_clients"]) - 1


@contextmanager
def redis_server(directory: Path, *options: str) -> Iterator[RedisServer]:
    """A running Redis, which is gone afterwards."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        raise EngineMissing("Redis is not installed: neither redis-server nor valkey-server is on PATH")
    server = RedisServer(program, directory, options=options)
    try:
        server.start()
        yield server
    finally:
        server.kill()
