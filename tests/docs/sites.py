"""A running site for the commands of a page: a clone in a folder of its own, and a second terminal beside it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.docs.fences import ROOT
from tests.engines import free_port

START_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Site:
    """A running site, its directory, and the environment that a second terminal beside it would have."""

    port: int
    root: Path
    env: dict[str, str]
    log: Path

    def shell(self, script: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a script as if it were pasted: in one shell, without stopping at an error."""
        return subprocess.run(
            ["bash"],
            input=adapt(script, self.port),
            env={**self.env, **env},
            cwd=self.root,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def status(self, path: str, host: str | None = None) -> int:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers={"Host": host} if host else {})
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            return error.code


def adapt(script: str, port: int) -> str:
    """A script of the documentation with this test's port, and the interpreter that is first on its PATH."""
    script = script.replace("127.0.0.1:8062", f"127.0.0.1:{port}").replace(".venv/bin/python", "python")
    return re.sub(r"^make install$", ":", script, flags=re.MULTILINE)


def documented_variables() -> set[str]:
    """The variables in the first column of the tables of ``docs/settings.md``."""
    return set(re.findall(r"^\| `([A-Z_0-9]+)` \|", (ROOT / "docs" / "settings.md").read_text(), re.MULTILINE))


def clone(directory: Path) -> Path:
    """What a clone of the repository holds, without this machine's ``.env``, database and installed packages.

    One that is there already keeps what its site wrote.
    """
    kept = [line.strip("/") for line in (ROOT / ".gitignore").read_text().split()]
    ignored = shutil.ignore_patterns(".git", *kept)
    return Path(shutil.copytree(ROOT, directory / "clone", ignore=ignored, dirs_exist_ok=True))


@contextmanager
def running(start: str, directory: Path, files: dict[str, str] | None = None, **extra: str) -> Iterator[Site]:
    """Run a ``start`` block in a clone and a shell of its own, and end it with all of its processes."""
    port, root = free_port(), clone(directory)
    for name, text in (files or {}).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    known = {*documented_variables(), "DJANGO_SETTINGS_MODULE"}
    env = {
        **{name: value for name, value in os.environ.items() if name not in known},
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "DYNAMODB_EMBEDDED_PORT": str(free_port()),
        "PORT": str(port),
        **extra,
    }
    site = Site(port, root, env, directory / "site.log")
    script = (
        adapt(start, port)
        .replace("make run", f"exec {sys.executable} manage.py runserver --noreload 127.0.0.1:{port}")
        .replace(".venv/bin/gunicorn", f"exec {sys.executable} -m gunicorn")
    )
    with site.log.open("w") as log:
        process = subprocess.Popen(
            ["bash", "-euc", script], env=env, cwd=root, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _listens(port):
            assert process.poll() is None, site.log.read_text()
            assert time.monotonic() < deadline, site.log.read_text()
            time.sleep(0.1)
        yield site
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
