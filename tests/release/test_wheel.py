"""The wheel: what it holds, and that it serves the site from an empty directory."""

from __future__ import annotations

import ast
import subprocess
import zipfile
from pathlib import Path

import anyio
from mcp.client import Client

from sessions_dynamo import __version__
from tests.engines import free_port
from tests.release.conftest import ROOT, outside, run_uv
from tests.release.processes import serving


def test_the_wheel_holds_everything_of_both_packages_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "mcpsite", "sessions_dynamo", "templates"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    ours = {name for name in listed if (ROOT / name).exists()}
    expected = {f"mcpsite/{name}" if name.startswith("templates/") else name for name in ours}
    assert held == expected | {"mcpsite/gunicorn_conf.py"}
    assert {"mcpsite/py.typed", "sessions_dynamo/py.typed", "mcpsite/templates/404.html"} <= held


def test_its_version_is_that_of_the_code(bare: Path, wheel: Path) -> None:
    assert wheel.name.startswith(f"mcp_sessions-{__version__}-")
    code = (
        "import importlib.metadata, sessions_dynamo\n"
        "print(sessions_dynamo.__version__, importlib.metadata.version('mcp-sessions'))"
    )
    told = subprocess.run([bare / "python", "-c", code], env=outside(), capture_output=True, text=True, check=True)
    assert told.stdout.split() == [__version__, __version__]


def test_the_changelog_has_a_dated_entry_for_it() -> None:
    assert f"\n## {__version__} - 20" in (ROOT / "CHANGELOG.md").read_text()


def test_importing_a_room_imports_none_of_its_modules(bare: Path, tmp_path: Path) -> None:
    rooms = sorted(
        str(path.parent.relative_to(ROOT)).replace("/", ".")
        for package in ("mcpsite", "sessions_dynamo")
        for path in (ROOT / package).rglob("__init__.py")
        if "__all__" in path.read_text() and path.parent.name != "metrics"
    )
    code = (
        f"import importlib, sys\nfor room in {rooms}:\n    importlib.import_module(room)\n"
        f"loaded = [name for name in sys.modules if name.startswith(('mcpsite', 'sessions_dynamo', 'boto', 'mcp.'))]\n"
        f"print(sorted(set(loaded) - set({rooms})))"
    )
    told = subprocess.run(
        [bare / "python", "-c", code], cwd=tmp_path, env=outside(), capture_output=True, text=True, check=True
    )
    assert set(ast.literal_eval(told.stdout)) <= {"mcpsite", "sessions_dynamo"}


def test_the_installed_site_serves_from_an_empty_directory(bare: Path, tmp_path: Path) -> None:
    async def store(url: str) -> object:
        async with Client(f"{url}/mcp") as client:
            result = await client.call_tool("store_app_state", {"key": "colour", "data": "blue"})
            assert not result.is_error, result.content
            return result.structured_content

    command: list[str | Path] = [bare / "python", "-m", "django", "runserver", "--noreload", "127.0.0.1:{port}"]
    site = {"DJANGO_SETTINGS_MODULE": "mcpsite.settings", "DEBUG": "true", "DYNAMODB_EMBEDDED_PORT": str(free_port())}
    with serving(command, tmp_path, **site) as url:
        stored = anyio.run(store, url)
    assert isinstance(stored, dict)
    assert stored["data"] == "blue"
    # What it keeps is where it was started, not among the installed packages.
    assert (tmp_path / "db.sqlite3").is_file()


def test_without_its_extra_runserver_says_what_to_install(wheel: Path, tmp_path: Path) -> None:
    run_uv("venv", tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    run_uv("pip", "install", "--python", python, "--constraints", "requirements.txt", wheel)
    done = subprocess.run(
        [python, "-m", "django", "runserver", "--noreload", f"127.0.0.1:{free_port()}"],
        cwd=tmp_path,
        env=outside() | {"DJANGO_SETTINGS_MODULE": "mcpsite.settings", "DEBUG": "true"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert "pip install 'mcp-sessions[embedded]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_its_extra_a_database_url_of_postgresql_says_what_to_install(bare: Path, tmp_path: Path) -> None:
    site = {"DJANGO_SETTINGS_MODULE": "mcpsite.settings", "DATABASE_URL": "postgres://ann:secret@127.0.0.1/site"}
    done = subprocess.run(
        [bare / "python", "-m", "django", "check"],
        cwd=tmp_path,
        env=outside() | site,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert "pip install 'mcp-sessions[postgresql]'" in done.stderr.splitlines()[-1]
    assert "secret" not in done.stderr


def test_without_its_extra_a_bus_url_says_what_to_install(bare: Path, tmp_path: Path) -> None:
    site = {"DJANGO_SETTINGS_MODULE": "mcpsite.settings", "DEBUG": "true", "BUS_URL": "redis://:secret@127.0.0.1"}
    done = subprocess.run(
        [bare / "python", "-m", "django", "check"],
        cwd=tmp_path,
        env=outside() | site,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert "(mcp_endpoint.E008)" in done.stderr
    assert "pip install 'mcp-sessions[bell]'" in done.stderr
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr
