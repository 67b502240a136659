"""The pages that are followed step by step: their blocks, and a clone with the site that they start."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.conformance.processes import ROOT, base_environment, wait_until_ready
from tests.engines import free_port


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block that a test runs, or holds against what was printed; ``title`` is the file that it is."""

    language: str
    title: str
    text: str


def blocks_of(page: str, test: str) -> list[Block]:
    """The blocks of a page of ``docs/`` that say that this test runs them."""
    found = re.findall(
        rf'^<!-- run by {re.escape(test)} -->\n```(\w+)(?: title="([^"]+)")?\n(.*?)^```$',
        (ROOT / "docs" / page).read_text(),
        re.MULTILINE | re.DOTALL,
    )
    return [Block(*fields) for fields in found]


@dataclass(frozen=True, slots=True)
class Running:
    """A site that was started as a page says."""

    port: int
    root: Path
    log: Path
    env: Mapping[str, str]

    def paste(self, script: str, ports: Mapping[str, int]) -> subprocess.CompletedProcess[str]:
        """Run a script as in a second terminal, with this test's ports in the place of the page's."""
        for written, port in {"8062": self.port, **ports}.items():
            script = re.sub(rf"\b{written}\b", str(port), script)
        script = script.replace(".venv/bin/python", sys.executable)
        script = script.replace(".venv/bin/gunicorn", f"{sys.executable} -m gunicorn")
        return subprocess.run(
            ["bash", "-eu"],
            input=script,
            env=self.env,
            cwd=self.root,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )


@contextmanager
def started(command: str, directory: Path, files: Mapping[str, str]) -> Iterator[Running]:
    """A clone with these files, and the site that ``… make run`` starts there; ends with all of its processes."""
    kept = [line.strip("/") for line in (ROOT / ".gitignore").read_text().split()]
    root = Path(shutil.copytree(ROOT, directory / "clone", ignore=shutil.ignore_patterns(".git", *kept)))
    for name, text in files.items():
        (root / name).write_text(text)
    port, log = free_port(), directory / "site.log"
    env = base_environment() | {"DYNAMODB_EMBEDDED_PORT": str(free_port())}
    script = command.replace("make run", f"exec {sys.executable} manage.py runserver --noreload 127.0.0.1:{port}")
    with log.open("w") as output:
        process = subprocess.Popen(
            ["bash", "-euc", script],
            env=env,
            cwd=root,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
    try:
        wait_until_ready(f"http://127.0.0.1:{port}/readyz", process, log)
        yield Running(port, root, log, env)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
