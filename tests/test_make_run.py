"""``make run`` in a bare clone, with a Python that only acts: what is said while it installs, and when that fails."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conformance.processes import ROOT

STUB = r"""#!/bin/sh
case "$*" in
  -c*) exit 0 ;;
  "-m venv"*) mkdir -p .venv/bin; cp "$0" .venv/bin/python ;;
  "-m pip install"*)
    echo "Collecting alpha==1.0 (from -r requirements.txt (line 1))"
    echo "  Downloading alpha-1.0-py3-none-any.whl (10 kB)"
    echo "Collecting beta==2.0 (from -r requirements.txt (line 2))"
    if [ -n "$FAILS" ]; then echo "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES" >&2; exit 1; fi
    echo "Installing collected packages: alpha, beta"
    echo "Successfully installed alpha-1.0 beta-2.0" ;;
  *) echo "ran $*" ;;
esac
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A Makefile beside a list of two requirements, and the Python."""
    shutil.copy2(ROOT / "Makefile", tmp_path)
    (tmp_path / "requirements.txt").write_text("alpha==1.0\nbeta==2.0\n")
    (tmp_path / "python").write_text(STUB)
    (tmp_path / "python").chmod(0o755)
    return tmp_path


def make(clone: Path, target: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "--no-print-directory", target, f"PYTHON={clone / 'python'}"],
        cwd=clone,
        env={"PATH": os.environ["PATH"], **env},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_first_run_says_what_it_does_and_a_second_does_not_install(clone: Path) -> None:
    first = make(clone, "run")
    assert first.returncode == 0, first.stderr
    said = first.stdout.splitlines()
    assert said[0] == "Making .venv, and installing requirements.txt in it: about a minute, this once."
    assert said[2:] == ["2 packages", ".venv/bin/python manage.py runserver ", "ran manage.py runserver"]

    second = make(clone, "run")
    assert second.stdout.splitlines() == [".venv/bin/python manage.py runserver ", "ran manage.py runserver"]


def test_reset_is_the_command(clone: Path) -> None:
    assert make(clone, "reset").stdout.splitlines()[-1] == "ran manage.py embedded_reset"


def test_an_installation_that_fails_is_said_and_made_again(clone: Path) -> None:
    failed = make(clone, "run", FAILS="1")
    assert failed.returncode != 0
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in failed.stderr
    assert "runserver" not in failed.stdout

    assert make(clone, "run").stdout.splitlines()[-1] == "ran manage.py runserver"


def test_on_a_terminal_one_line_shows_the_package_that_it_has_come_to(clone: Path) -> None:
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        ["make", "--no-print-directory", "run", f"PYTHON={clone / 'python'}"],
        cwd=clone,
        env={"PATH": os.environ["PATH"]},
        stdout=terminal,
        stderr=terminal,
    )
    assert process.wait(30) == 0
    os.close(terminal)
    shown = b""
    try:
        while block := os.read(controller, 4096):
            shown += block
    except OSError:  # Linux: nobody writes any more.
        pass
    os.close(controller)

    lines = [line for line in shown.decode().replace("\x1b[K", "").split("\r") if line.strip()]
    assert [line for line in lines if " of about " in line] == ["1 of about 2: alpha==1.0", "2 of about 2: beta==2.0"]
    assert "writing 2 packages" in lines
