"""The image's entry point on its own, where no image is needed to see what it does."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.image import entrypoint
from tests.image.compose import ROOT

START = """
import sys
from pathlib import Path
from deploy.image import entrypoint
entrypoint.PACKAGES, entrypoint.CONSTRAINTS = Path(sys.argv[1]), Path("/dev/null")
entrypoint.main(sys.argv[2:])
"""


def _started(packages: Path, *command: str, requirements: str = "") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", START, packages, *command],
        cwd=ROOT,
        env={**os.environ, "MCP_REQUIREMENTS": requirements},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ((), "No command: 'gunicorn mcpsite.asgi' serves"),
        (("nowhere-to-be-found",), "nowhere-to-be-found cannot be run: No such file or directory"),
    ],
)
def test_a_command_that_cannot_be_run_is_said(command: tuple[str, ...], said: str, tmp_path: Path) -> None:
    process = _started(tmp_path, *command)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (1, "")
    assert stderr.startswith(said)


def test_without_requirements_it_becomes_the_command_at_once(tmp_path: Path) -> None:
    process = _started(tmp_path, "sh", "-c", "echo $$")
    stdout, stderr = process.communicate(timeout=60)
    assert (int(stdout), stderr) == (process.pid, "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_can_be_stopped_while_it_installs(tmp_path: Path, number: signal.Signals) -> None:
    # The kernel gives a container's first process no signal that it has no handler for.
    packages, requirements = tmp_path / "packages", tmp_path / "requirements.txt"
    with socket.create_server(("127.0.0.1", 0)) as registry:
        requirements.write_text(f"--index-url http://127.0.0.1:{registry.getsockname()[1]}/\nnothing-of-the-kind\n")
        process = _started(packages, "echo", "served", requirements=str(requirements))
        # pip waits for an answer now.
        asked, _ = registry.accept()
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=60)
        asked.close()
    assert (process.returncode, stdout) == (128 + number, "")
    assert "Traceback" not in stderr
    assert list(packages.iterdir()) == []


def test_compiled_packages_that_could_not_be_loaded_end_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prefix = tmp_path / "unfinished"
    prefix.mkdir()
    flags = list(os.statvfs(prefix))
    flags[8] |= os.ST_NOEXEC
    monkeypatch.setattr(os, "statvfs", lambda path: os.statvfs_result(flags))
    assert entrypoint._checked(tmp_path / "requirements.txt", prefix) == []
    (prefix / "_speedups.so").touch()
    with pytest.raises(entrypoint.CannotStart, match=f"--tmpfs {tmp_path}:exec$"):
        entrypoint._checked(tmp_path / "requirements.txt", prefix)
