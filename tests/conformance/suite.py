"""The official suite as a program: run it, and read what it says.

What counts is each scenario's ``checks.json``: the program's own summary ticks a scenario that has warnings.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Timer
from typing import Any, Final

from tests.conformance.processes import ROOT, Children, base_environment

NODE_MODULES: Final = ROOT / "tests" / "node_modules"
PROGRAM: Final = NODE_MODULES / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"
NODE_MAJOR: Final = 22


class SuiteMissing(Exception):
    """What the suite needs is not installed; the message says how to install it."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check of a scenario: SUCCESS, WARNING, FAILURE, SKIPPED or INFO."""

    name: str
    status: str
    message: str


@dataclass(frozen=True, slots=True)
class Kill:
    """From the signal to a process until its port refused connections, in seconds of the monotonic clock."""

    started: float
    ended: float


@dataclass(frozen=True, slots=True)
class Scenario:
    """One scenario as it went; times are of the monotonic clock, in seconds."""

    name: str
    started: float
    ended: float
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Something was found right, and nothing wrong."""
        return bool(self.having("SUCCESS")) and not self.having("FAILURE")

    @property
    def clean(self) -> bool:
        """Nothing was warned of either: the suite itself lets warnings pass."""
        return self.passed and not self.having("WARNING")

    def hit_by(self, kills: Iterable[Kill]) -> bool:
        """Whether a process died while it ran."""
        return any(kill.started <= self.ended and self.started <= kill.ended for kill in kills)

    def having(self, status: str) -> list[Check]:
        return [check for check in self.checks if check.status == status]


@cache
def node() -> Path:
    """A recent enough Node.js: the one installed beside the suite, else the one on PATH."""
    if not PROGRAM.exists():
        raise SuiteMissing("The conformance suite is not installed: run 'npm ci --prefix tests'")
    for found in (NODE_MODULES / ".bin" / "node", shutil.which("node")):
        if found is None or not Path(found).exists():
            continue
        done = subprocess.run([found, "--version"], capture_output=True, text=True, check=False)
        version = re.match(r"v(\d+)\.", done.stdout)
        if version and int(version[1]) >= NODE_MAJOR:
            return Path(found)
    raise SuiteMissing(f"The conformance suite needs Node.js {NODE_MAJOR} or newer: run 'npm ci --prefix tests'")


@cache
def server_scenarios() -> dict[str, frozenset[str]]:
    """The suite's scenarios for servers, each with the revisions it belongs to, or ``extension``."""
    done = subprocess.run(
        [node(), PROGRAM, "list", "--server"], capture_output=True, text=True, check=True, env=base_environment()
    )
    found = re.findall(r"^  - (\S+) \[([^\]]*)\]$", done.stdout, re.MULTILINE)
    return {name: frozenset(revisions.split(",")) for name, revisions in found}


def run_suite(
    children: Children,
    url: str,
    output: Path,
    *,
    revision: str | None = None,
    scenario: str | None = None,
    seconds: float,
) -> list[Scenario]:
    """Run every scenario of a revision, or one, against a server; at most ``seconds``.

    A scenario that did not come to its end has no checks, and one that should have run and did not is among them.
    """
    output.mkdir(parents=True, exist_ok=True)
    command: list[str | Path] = [node(), PROGRAM, "server", "--url", url, "--output-dir", output]
    command += ["--spec-version", revision] if revision else []
    command += ["--scenario", scenario] if scenario else ["--suite", "all"]
    process = children.start(command, env=base_environment())
    timer = Timer(seconds, children.kill, [process])
    timer.start()
    try:
        starts = list(_starts(process, output / "suite.log", scenario))
    finally:
        timer.cancel()
        children.kill(process)
    ends = [at for _, at in starts[1:]] + [time.monotonic()]
    ran = [
        Scenario(name, started, ended, _checks(output, name))
        for (name, started), ended in zip(starts, ends, strict=True)
    ]
    missing = [] if scenario else sorted(_expected(revision) - {one.name for one in ran})
    return ran + [Scenario(name, ends[-1], ends[-1], ()) for name in missing]


def _expected(revision: str | None) -> set[str]:
    return {name for name, revisions in server_scenarios().items() if revision in revisions}


def _starts(process: subprocess.Popen[str], log: Path, scenario: str | None) -> Iterator[tuple[str, float]]:
    """The scenarios in the order in which they start, and when."""
    if scenario:
        yield scenario, time.monotonic()
    assert process.stdout is not None
    with process.stdout, log.open("a") as copy:
        for line in process.stdout:
            copy.write(line)
            begun = re.match(r"=== Running scenario: (\S+) ===", line)
            if begun and not scenario:
                yield begun[1], time.monotonic()


def _checks(output: Path, scenario: str) -> tuple[Check, ...]:
    """What a scenario's newest ``checks.json`` says; nothing where it wrote none."""
    pattern = re.compile(rf"server-{re.escape(scenario)}-\d{{4}}-\d\d-\d\dT.*")
    directories = sorted(path for path in output.iterdir() if pattern.fullmatch(path.name))
    if not directories or not (directories[-1] / "checks.json").exists():
        return ()
    checks: list[dict[str, Any]] = json.loads((directories[-1] / "checks.json").read_text())
    return tuple(Check(check["name"], check["status"], check.get("errorMessage") or "") for check in checks)
