"""A container of a replayed image: its root read-only, its own user, what an engine mounts, and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.engines import free_port
from tests.image.bubble import enter
from tests.image.dockerfile import Image, network_environment

START_SECONDS: Final = 90


@dataclass(frozen=True, slots=True)
class Container:
    """What would be ``docker run --read-only IMAGE``: its environment, and what is mounted at which path.

    ``volumes`` are mounted read-only, ``writable`` ones not, and a tmpfs is empty at every start.
    """

    image: Image
    environment: Mapping[str, str]
    tmpfs: Sequence[str] = ("/tmp",)
    volumes: Mapping[str, Path] = field(default_factory=dict)
    writable: Mapping[str, Path] = field(default_factory=dict)
    command: Sequence[str] = ()
    port: int = field(default_factory=free_port)

    def run(self, *command: str, entrypoint: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; without the image's entry point it is as ``docker exec`` has it."""
        words = [*(self.image.entrypoint if entrypoint else ()), *command]
        return subprocess.run(
            self._enter(words, environment), capture_output=True, text=True, timeout=START_SECONDS, check=False
        )

    def health(self) -> int:
        """What the image's HEALTHCHECK returns."""
        return self.run(*self.image.healthcheck, entrypoint=False).returncode

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp"

    def status(self, path: str) -> int:
        """The HTTP status of a path; 0 where nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    @contextmanager
    def serving(self, log: Path) -> Iterator[None]:
        """Start what the image starts, wait until it is ready, and end it as an engine would."""
        words = [*self.image.entrypoint, *(self.command or self.image.command)]
        with log.open("w") as output:
            process = subprocess.Popen(
                self._enter(words, {}), stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        try:
            deadline = time.monotonic() + START_SECONDS
            while self.status("/readyz") != 200:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.2)
            yield
        finally:
            _end(process)

    def _enter(self, words: Sequence[str], environment: Mapping[str, str]) -> list[str]:
        mounts: list[str] = []
        for path in self.tmpfs:
            mounts += ["--perms", "1777", "--tmpfs", path]
        for path, source in self.volumes.items():
            mounts += ["--ro-bind", str(source), path]
        for path, source in self.writable.items():
            mounts += ["--bind", str(source), path]
        for path in (*self.tmpfs, *self.volumes, *self.writable):
            # An engine makes the places of its mounts before the root becomes read-only.
            (self.image.root / path.lstrip("/")).mkdir(parents=True, exist_ok=True)
        uid, _, gid = self.image.user.partition(":")
        return enter(
            self.image.root,
            words,
            writable=False,
            user=(int(uid), int(gid)),
            environment={
                **network_environment(),
                **self.image.environment,
                **self.environment,
                "PORT": str(self.port),
                **environment,
            },
            directory=self.image.directory,
            mounts=mounts,
        )


def _end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM to the container's first process, which is bwrap's only child; at last SIGKILL to all."""
    for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        os.kill(int(child), signal.SIGTERM)
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise
