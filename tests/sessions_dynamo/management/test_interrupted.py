"""Ctrl-C ends every command with a sentence, a closed pipe without one; each with the status that a shell gives it."""

from __future__ import annotations

import importlib
import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from django.core.management import get_commands, load_command_class
from pytest_django import Settings

from sessions_dynamo.management import console
from sessions_dynamo.management.base import PIPE_CLOSED, SessionsCommand
from tests.conformance.processes import ROOT
from tests.engines import on_moto

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

ARGUMENTS = {
    "dynamodb_restore": ["--latest"],
    "dynamodb_teardown": ["--clear-data", "--yes"],
    "sessions_export": ["{file}"],
    "sessions_import": ["{file}"],
    "sessions_restore": ["lost", "--from", "{file}"],
}
COMMANDS = sorted(name for name, app in get_commands().items() if app == "sessions_dynamo" and name != "runserver")


@on_moto
@pytest.mark.parametrize("command", COMMANDS)
def test_ctrl_c_is_a_sentence(
    dynamodb: DynamoDBClient,
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    interrupting: Callable[[str], None],
    settings: Settings,
) -> None:
    settings.DYNAMODB_EMBEDDED_DATA = str(tmp_path)
    (tmp_path / "eu-west-1.sessions.jsonl.gz").touch()
    file = tmp_path / "file.jsonl"
    if command == "sessions_import":
        file.touch()
    interrupting(command)
    arguments = [argument.format(file=file) for argument in ARGUMENTS.get(command, [])]
    out, err = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    loaded = load_command_class("sessions_dynamo", command)

    with pytest.raises(SystemExit) as ended:
        loaded.run_from_argv(["manage.py", command, *arguments, "--no-color"])

    said = out.getvalue() + err.getvalue()
    assert ended.value.code == console.INTERRUPTED
    assert "nterrupted" in said
    assert [line for line in said.splitlines() if line.rstrip() in ("CommandError:", "Error:")] == []


@pytest.fixture
def interrupting(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Have Ctrl-C come when a command asks for its client, or for what else it begins with."""
    begins = {"dynamodb_status": "status", "dynamodb_template": "template", "embedded_reset": "filesizeformat"}

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    def prepare(command: str) -> None:
        module = importlib.import_module(f"sessions_dynamo.management.commands.{command}")
        monkeypatch.setattr(module, begins.get(command, "dynamodb"), interrupt)

    return prepare


def test_ctrl_c_before_a_command_began_shows_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "site_settings.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "site_settings", "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}

    done = subprocess.run(
        [sys.executable, ROOT / "manage.py", "dynamodb_status"],
        env=env,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )

    assert (done.returncode, done.stdout, done.stderr) == (130, "", "\nInterrupted.\n")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_whose_output_nobody_reads_ends_without_a_traceback(command: str) -> None:
    assert isinstance(load_command_class("sessions_dynamo", command), SessionsCommand)


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["as it ends", "at the first line"])
def test_a_pipe_that_is_closed_ends_a_command_without_a_word(tmp_path: Path, unbuffered: str) -> None:
    """Not with a word on the files that it has in hand, either."""
    (tmp_path / "us-east-1.mcp-sessions.jsonl.gz").write_bytes(b"")
    reading, writing = os.pipe()
    os.close(reading)
    env = os.environ | {
        "DJANGO_SETTINGS_MODULE": "mcpsite.settings",
        "DYNAMODB_EMBEDDED_DATA": str(tmp_path),
        "PYTHONUNBUFFERED": unbuffered,
    }
    with os.fdopen(writing, "w") as closed:
        done = subprocess.run(
            [sys.executable, ROOT / "manage.py", "embedded_reset"],
            env=env,
            stdout=closed,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (PIPE_CLOSED, "")
