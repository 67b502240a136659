"""A command that is a fork says, writes and returns what it does as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import django
import pytest

from tests.docs.fences import ROOT
from tests.docs.warm import warm_python


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with warm_python(tmp_path_factory.mktemp("warm")) as directory:
        yield f"{directory}:{os.environ['PATH']}"


def _pasted(script: str, path: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", script],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "mcpsite.settings", "DEBUG": "true", "PATH": path, **env},
        capture_output=True,
        text=True,
        check=False,
    )


def test_its_output_and_its_status_are_the_commands(path: str) -> None:
    done = _pasted("python manage.py version", path)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, django.get_version(), "")


def test_one_that_fails_fails(path: str) -> None:
    unknown = _pasted("python manage.py no_such_command", path)
    refused = _pasted("python manage.py check --no-such-option", path)
    raised = _pasted("python manage.py shell --verbosity 0 -c '1 / 0'", path)
    assert (unknown.returncode, refused.returncode, raised.returncode) == (1, 2, 1)
    assert "no_such_command" in unknown.stderr
    assert "ZeroDivisionError" in raised.stderr


def test_its_environment_its_input_and_a_pipe_are_its_own(path: str) -> None:
    script = "import os, sys; print(os.environ['SHOWN'], sys.stdin.read().strip())"
    command = f'python manage.py shell --verbosity 0 -c "{script}"'
    done = _pasted(f"echo in | SHOWN=inner {command} | cat", path, SHOWN="outer")
    assert (done.stdout, done.stderr) == ("inner in\n", "")


def test_any_other_python_is_the_interpreter(path: str) -> None:
    assert _pasted("python -c 'import sys; print(sys.prefix)'", path).stdout.strip() == sys.prefix


def test_the_process_ends_with_its_use(tmp_path: Path) -> None:
    with warm_python(tmp_path) as directory:
        assert (directory / "socket").exists()
    assert _pasted("python manage.py version", f"{tmp_path}:{os.environ['PATH']}").returncode != 0
