"""``sessions_export`` and ``sessions_import`` as an operator runs them."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from sessions_dynamo.store.sessions import SessionStore, default_store
from sessions_dynamo.transfer import exports, imports
from sessions_dynamo.transfer.export_files import PARTIAL_SUFFIX
from tests.conformance.processes import ROOT
from tests.engines import on_moto
from tests.sessions_dynamo.support import raw_items, state_of
from tests.sessions_dynamo.wire import operations, writes

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


def run(*arguments: str, errors: io.StringIO | None = None) -> str:
    """What a command prints on standard output."""
    out = io.StringIO()
    call_command(*arguments, stdout=out, stderr=errors or io.StringIO(), no_color=True)
    return out.getvalue()


@pytest.fixture
def store(dynamodb: DynamoDBClient) -> SessionStore:
    """The service's store; it holds three sessions, one with a large value."""
    store = default_store()
    for name in ("a", "b"):
        store.create(name)
    store.create("c", state=state_of(report="x" * 5000))
    return store


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "sessions.jsonl"


def clear(store: SessionStore) -> None:
    for name in ("a", "b", "c"):
        store.delete(name)


@pytest.mark.parametrize("name", ["sessions.jsonl", "sessions.jsonl.gz"])
def test_an_export_is_imported_again_with_the_commands_that_are_named_as_next(
    store: SessionStore, tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    before = sorted(json.dumps(item) for item in raw_items(store.dynamodb, store.table))
    printed = run("sessions_export", str(path))
    assert f"Plan: export {store.table} and" in printed
    assert "Exported 4 items of sessions (3 sessions, 1 large values) and 0 items of events" in printed
    assert f"Next: python manage.py sessions_import --dry-run {path}" in printed
    clear(store)

    printed = run("sessions_import", "--dry-run", str(path))
    assert "File: 4 items of sessions (3 sessions), 0 items of events" in printed
    assert "4 items of sessions and 0 of events would be written, 0 stood there already" in printed
    assert raw_items(store.dynamodb, store.table) == []

    assert "4 items of sessions and 0 of events written, 0 stood" in run("sessions_import", str(path))
    assert sorted(json.dumps(item) for item in raw_items(store.dynamodb, store.table)) == before
    assert "0 items of sessions and 0 of events written, 4 stood there already" in run("sessions_import", str(path))


def test_an_export_goes_to_standard_output_and_what_is_said_to_standard_error(store: SessionStore) -> None:
    errors = io.StringIO()
    lines = run("sessions_export", "-", errors=errors).splitlines()
    assert [json.loads(line).keys() for line in (lines[0], lines[-1])] == [{"Header"}, {"Trailer"}]
    assert len(lines) == 6
    assert "Exported 4 items" in errors.getvalue()


def test_one_session_is_exported_alone(store: SessionStore, file: Path) -> None:
    assert "Plan: export session c to" in run("sessions_export", "--session", "c", str(file))
    assert file.read_text().count("\n") == 4
    with pytest.raises(CommandError, match="There is no session 'unknown'"):
        run("sessions_export", "--session", "unknown", str(file.with_name("other")))
    assert not file.with_name("other").exists()


def test_a_file_that_exists_is_replaced_only_when_that_is_asked_for(store: SessionStore, file: Path) -> None:
    file.write_text("the one before")
    with pytest.raises(CommandError, match="exists already: choose another name, or add --overwrite"):
        run("sessions_export", str(file))
    assert file.read_text() == "the one before"
    run("sessions_export", "--overwrite", str(file))
    assert "Trailer" in file.read_text()


@pytest.mark.parametrize(
    ("where", "why"),
    [
        ("", "is a directory"),
        ("none/file", "There is no directory"),
        ("x" * 300, "cannot be written to .* File name too long"),
        ("/dev/null", "no ordinary file"),
    ],
    ids=["a directory", "none", "a name too long", "a device"],
)
def test_a_place_that_no_file_can_have_is_told(store: SessionStore, tmp_path: Path, where: str, why: str) -> None:
    with pytest.raises(CommandError, match=why):
        run("sessions_export", str(tmp_path / where))


def test_an_export_that_is_interrupted_leaves_no_file(
    store: SessionStore, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(exports, "item_line", interrupted)
    out = io.StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("sessions_export", str(file), stdout=out)
    assert ended.value.code == 130
    assert "was not written. Run the same command again." in out.getvalue()
    assert list(file.parent.iterdir()) == []


def test_a_table_that_is_missing_is_told_and_leaves_no_file(bare_dynamodb: DynamoDBClient, file: Path) -> None:
    with pytest.raises(CommandError, match="dynamodb_setup"):
        run("sessions_export", str(file))
    assert list(file.parent.iterdir()) == []


def test_a_truncated_file_is_refused_before_a_write_and_taken_where_that_is_asked_for(
    store: SessionStore, file: Path
) -> None:
    run("sessions_export", str(file))
    file.write_bytes(file.read_bytes()[:-30])
    clear(store)
    with operations(store.dynamodb) as sent, pytest.raises(CommandError, match=r"cut short\. Nothing was written"):
        run("sessions_import", str(file))
    assert writes(sent) == []
    assert "cut short" in (printed := run("sessions_import", "--partial", str(file)))
    assert "4 items of sessions and 0 of events written" in printed


def test_a_damaged_line_is_named_before_a_write(store: SessionStore, file: Path) -> None:
    run("sessions_export", str(file))
    lines = file.read_text().splitlines(keepends=True)
    lines[3] = lines[3].replace("session_id", "session", 1)
    file.write_text("".join(lines))
    with operations(store.dynamodb) as sent, pytest.raises(CommandError, match=r"Line 4 .* no session_id"):
        run("sessions_import", str(file))
    assert writes(sent) == []


def test_items_that_stand_otherwise_are_named_and_the_exit_says_so(store: SessionStore, file: Path) -> None:
    run("sessions_export", str(file))
    session = store.load("b")
    session.state["changed"] = True
    store.save(session)
    out = io.StringIO()
    with pytest.raises(CommandError, match=r"1 items stand otherwise .* --overwrite"):
        call_command("sessions_import", str(file), stdout=out)
    assert f"{store.table} has another b" in out.getvalue()
    assert "changed" in store.load("b").state
    run("sessions_import", "--overwrite", str(file))
    assert "changed" not in store.load("b").state


def test_what_has_expired_is_told_with_the_option_that_lets_it_live(
    store: SessionStore, file: Path, settings: Settings
) -> None:
    run("sessions_export", str(file))
    clear(store)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    for line in lines[1:-1]:
        line["Item"]["ttl"] = {"N": "1000000000"}
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))

    assert "4 of the items are past their ttl" in run("sessions_import", "--dry-run", str(file))
    assert "past their ttl" not in run("sessions_import", "--extend-ttl", "1.5", str(file))
    assert store.load("c").state["report"] == "x" * 5000
    # Another time, another ttl: yet nothing to write.
    assert "4 stood there already" in run("sessions_import", "--extend-ttl", "2", str(file))


@pytest.mark.parametrize("hours", ["0", "-1", "soon", "nan", "1e99"])
def test_hours_that_are_none_are_refused(store: SessionStore, file: Path, hours: str) -> None:
    with pytest.raises(CommandError, match="no number of hours over 0"):
        run("sessions_import", str(file), "--extend-ttl", hours)


def test_a_file_that_is_not_there_is_told(store: SessionStore, file: Path) -> None:
    with pytest.raises(CommandError, match="cannot be read: No such file"):
        run("sessions_import", str(file))
    with pytest.raises(CommandError, match="cannot be read: Is a directory"):
        run("sessions_import", str(file.parent))


def test_an_import_that_is_interrupted_says_how_far_it_was(
    store: SessionStore, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("sessions_export", str(file))

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(imports, "load", interrupted)
    out = io.StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("sessions_import", str(file), stdout=out)
    assert ended.value.code == 130
    assert "Interrupted: 0 items of sessions and 0 of events written" in out.getvalue()


# --- As processes ---------------------------------------------------------------------------------------------


def child_environment(engine: tuple[str, str], settings: Settings) -> dict[str, str]:
    return os.environ | {
        "AWS_ENDPOINT_URL": engine[1],
        "DYNAMODB_EMBEDDED": "false",
        "DYNAMODB_SESSIONS_TABLE": settings.DYNAMODB_SESSIONS_TABLE,
        "DYNAMODB_EVENTS_TABLE": settings.DYNAMODB_EVENTS_TABLE,
        "DJANGO_SETTINGS_MODULE": "mcpsite.settings",
        # No UTF-8: the export is bytes whatever the locale.
        "PYTHONUTF8": "0",
        "PYTHONIOENCODING": "ascii",
    }


@on_moto
def test_a_pipe_carries_an_export_into_an_import(
    engine: tuple[str, str], store: SessionStore, settings: Settings
) -> None:
    store.create("d", principal="Zürich 東京")
    environment = child_environment(engine, settings)
    manage = [sys.executable, "manage.py"]
    export = subprocess.run(
        [*manage, "sessions_export", "-"], cwd=ROOT, env=environment, capture_output=True, check=True
    )
    assert "Zürich 東京" in export.stdout.decode()
    clear(store)
    store.delete("d")
    loaded = subprocess.run(
        [*manage, "sessions_import", "-"],
        cwd=ROOT,
        env=environment,
        input=export.stdout,
        capture_output=True,
        check=True,
    )
    assert b"5 items of sessions and 0 of events written" in loaded.stdout
    assert store.load("d", "Zürich 東京")


@on_moto
def test_a_reader_that_leaves_early_is_told_in_one_sentence(
    engine: tuple[str, str], store: SessionStore, settings: Settings
) -> None:
    for number in range(40):  # More than a pipe holds.
        store.create(f"large{number}", state=state_of(report="x" * 5000))
    reader, writer = os.pipe()
    os.close(reader)
    export = subprocess.run(
        [sys.executable, "manage.py", "sessions_export", "-"],
        cwd=ROOT,
        env=child_environment(engine, settings),
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writer)
    assert export.returncode == 1
    assert "CommandError: Whoever reads the export stopped: it is incomplete." in export.stderr
    assert "Traceback" not in export.stderr
    assert "BrokenPipeError" not in export.stderr


@on_moto
def test_a_killed_export_leaves_nothing_that_looks_whole(
    engine: tuple[str, str], store: SessionStore, settings: Settings, file: Path, tmp_path: Path
) -> None:
    code = (
        "import os, signal, sys, sessions_dynamo.transfer.exports as exports\n"
        "exports.trailer_line = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "from django.core.management import execute_from_command_line\n"
        "execute_from_command_line(['manage.py', 'sessions_export', sys.argv[1]])\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", code, str(file)],
        cwd=ROOT,
        env=child_environment(engine, settings),
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    [left] = tmp_path.iterdir()
    assert left.name.endswith(PARTIAL_SUFFIX)
    run("sessions_export", str(file))
    assert "Trailer" in file.read_text()
