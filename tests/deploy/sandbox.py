"""A container as a task definition declares it, without an engine: the repository at /app, in a read-only root."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.deploy.stacks import ROOT
from tests.engines import EngineMissing

APP: Final = "/app"


def bubblewrap() -> str:
    """The program; raises ``EngineMissing`` without it."""
    found = shutil.which("bwrap")
    if not found:
        raise EngineMissing("bubblewrap is not on PATH: apt-get install bubblewrap")
    return found


@dataclass(frozen=True, slots=True)
class Container:
    """What runs by a container definition of ECS: its user, root, mounts, environment and commands."""

    definition: Mapping[str, Any]
    given: Mapping[str, str]
    """The values of its secrets, and what ECS and this machine add to its environment."""
    writable: Path
    """In place of the tmpfs: a directory that all commands of a container see."""

    @property
    def environment(self) -> dict[str, str]:
        declared = {each["name"]: each["value"] for each in self.definition.get("environment", ())}
        secrets = {each["name"] for each in self.definition.get("secrets", ())}
        assert secrets <= self.given.keys(), secrets
        return declared | dict(self.given)

    def command(self, command: Sequence[str]) -> list[str]:
        """How ``command`` is run in it."""
        user, group = self.definition["user"].split(":")
        linux = self.definition["linuxParameters"]
        (tmpfs,) = linux["tmpfs"]
        assert self.definition["readonlyRootFilesystem"] is True
        assert linux["capabilities"] == {"drop": ["ALL"]}
        options = ["--unshare-user", "--uid", user, "--gid", group, "--cap-drop", "ALL", "--die-with-parent"]
        mounts = [*_root(), "--dev", "/dev", "--proc", "/proc", "--bind", str(self.writable), tmpfs["containerPath"]]
        # This machine's Python may lie below the directory that was just covered.
        for prefix in _pythons():
            mounts += ["--ro-bind", prefix, prefix]
        mounts += ["--ro-bind", str(ROOT), APP]
        if (ROOT / ".env").exists():
            mounts += ["--ro-bind", os.devnull, f"{APP}/.env"]
        variables = [part for name, value in self.environment.items() for part in ("--setenv", name, value)]
        ending = ["--remount-ro", "/", "--chdir", APP, "--clearenv", *variables, "--", *command]
        return [bubblewrap(), *options, *mounts, *ending]

    def run(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run a command in it to its end."""
        return subprocess.run(
            self.command(command), capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=120
        )

    def check(self) -> subprocess.CompletedProcess[str]:
        """Run its health check once."""
        kind, *command = self.definition["healthCheck"]["command"]
        assert kind == "CMD"
        return self.run(command)


@dataclass
class Running:
    """A container's main process."""

    process: subprocess.Popen[bytes]
    log: Path

    def wait_until_healthy(self, container: Container, seconds: float = 60) -> None:
        """Until its health check succeeds."""
        deadline = time.monotonic() + seconds
        while (checked := container.check()).returncode:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text() + checked.stderr
            time.sleep(0.3)

    def stop(self, seconds: float) -> int:
        """SIGTERM as ECS sends it, to the first process of the container; its exit status within ``seconds``."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGTERM)
        return self.process.wait(seconds)

    def kill(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def start(container: Container, command: Sequence[str], log: Path) -> Running:
    """Start a container's main process."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            container.command(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Running(process, log)


def _root() -> list[str]:
    """This machine's root, read-only, but for what a container has of its own."""
    found = ["--tmpfs", "/"]
    for path in sorted(Path("/").iterdir()):
        if path.is_symlink():
            found += ["--symlink", str(path.readlink()), str(path)]
        elif path.name not in {"dev", "proc", "tmp", APP.strip("/")}:
            found += ["--ro-bind", str(path), str(path)]
    return found


def _pythons() -> set[str]:
    """Where this Python lies, by each of its names: the scripts of an environment that was moved have its old one."""
    shebang = (Path(sys.prefix) / "bin" / "gunicorn").read_text().splitlines()[0].removeprefix("#!")
    named = str(Path(shebang).parents[1])
    return {sys.prefix, sys.base_prefix, str(Path(sys.prefix).resolve()), named}
