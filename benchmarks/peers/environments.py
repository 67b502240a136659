"""Environments of the peers' own: what a list of pins beside this names, installed once, never into the project's."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mcp-sessions-benchmarks"


def python(name: str, cache: Path = CACHE) -> Path:
    """The interpreter of the environment with ``<name>.txt``; raises ``CalledProcessError`` if it cannot be made."""
    pins = Path(__file__).with_name(f"{name}.txt")
    digest = hashlib.sha256(pins.read_bytes() + sys.version.encode()).hexdigest()
    home = cache / f"{name}-{digest[:12]}"
    found = home / "bin" / "python"
    done = home / "installed"
    if not done.exists():
        shutil.rmtree(home, ignore_errors=True)
        home.parent.mkdir(parents=True, exist_ok=True)
        quiet = ["--quiet", "--disable-pip-version-check"]
        _run(sys.executable, "-m", "venv", str(home))
        _run(str(found), "-m", "pip", "install", *quiet, "-r", str(pins))
        done.touch()
    return found


def _run(*command: str) -> None:
    subprocess.run(command, check=True)  # noqa: S603 (our own)
