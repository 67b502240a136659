"""A fresh ``django-admin startproject`` that takes both apps in by the lines of ``docs/django.md``."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import anyio
import pytest
from mcp.client import Client
from playwright.sync_api import sync_playwright

from tests.browser.conftest import CHROMIUMS
from tests.docs.fences import fences
from tests.release.conftest import ROOT, outside
from tests.release.processes import serving

ACCOUNT: Final = {"DJANGO_SUPERUSER_USERNAME": "admin", "DJANGO_SUPERUSER_PASSWORD": "pass-word"}
PICTURES: Final = ROOT / "artefacts" / "guest"


NOTES: Final = next(fence.text for fence in fences(ROOT / "README.md") if fence.language == "python")
SETTINGS, URLS, COMMANDS, ASGI, PRODUCTION_URLS, GUNICORN = (
    fence.text for fence in fences(ROOT / "docs" / "django.md") if fence.mark == "run by tests/release/test_guest.py"
)


@pytest.fixture(scope="module")
def project(bare: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's directory, its database migrated, with a superuser."""
    directory = tmp_path_factory.mktemp("guest")

    def run(*command: str | Path) -> None:
        done = subprocess.run(
            command, cwd=directory, env=outside() | ACCOUNT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    run(bare / "django-admin", "startproject", "mysite", ".")
    (directory / "notes.py").write_text(NOTES)
    with (directory / "mysite" / "settings.py").open("a") as file:
        file.write(SETTINGS)
    (directory / "mysite" / "urls.py").write_text(URLS)
    *prepare, serve = [line.split()[1:] for line in COMMANDS.splitlines()]
    assert serve == ["manage.py", "runserver"]
    for words in prepare:
        answers = ["--noinput", "--email", "admin@example.com"] if "createsuperuser" in words else []
        run(bare / "python", *words, *answers)
    return directory


@pytest.fixture(scope="module")
def guest(bare: Path, project: Path) -> Iterator[str]:
    """The project's URL, under ``runserver``. Its embedded DynamoDB has the port that the settings say."""
    with serving([bare / "python", "manage.py", "runserver", "--noreload", "{port}"], project) as url:
        yield url


def test_it_takes_at_most_five_lines_and_one_url() -> None:
    assert len([line for line in SETTINGS.splitlines() if line]) <= 5
    assert URLS.count("path(") == 2, "ours, and the admin's that startproject wrote"


def test_the_project_passes_its_checks(bare: Path, project: Path) -> None:
    done = subprocess.run(
        [bare / "python", "manage.py", "check"], cwd=project, env=outside(), capture_output=True, text=True, check=False
    )
    assert "no issues" in done.stdout, done.stderr


@pytest.mark.parametrize(("mode", "version"), [("legacy", "2025-11-25"), ("auto", "2026-07-28")])
def test_the_official_client_calls_its_tool_in_both_eras(guest: str, mode: Any, version: str) -> None:
    async def add() -> tuple[str, list[Any]]:
        async with Client(f"{guest}/mcp", mode=mode) as client:
            first = (await client.call_tool("add_note", {"text": "milk"})).structured_content or {}
            # As a model does: what the first call returned, where it returned one.
            handle = {name: value for name, value in first.items() if name == "session_id"}
            second = await client.call_tool("add_note", {"text": "bread", **handle})
            return client.protocol_version, [first, second.structured_content]

    spoken, notes = anyio.run(add)
    assert spoken == version
    assert ("session_id" in notes[0]) == (mode == "auto")
    assert {name: value for name, value in notes[0].items() if name != "session_id"} == {"notes": ["milk"], "number": 1}
    assert notes[1] == {"notes": ["milk", "bread"], "number": 2}


def test_gunicorn_serves_it_by_the_short_way_and_says_that_it_is_ready(
    bare: Path, guest: str, project: Path, tmp_path: Path
) -> None:
    # Beside the site, whose embedded DynamoDB it uses.
    directory = Path(shutil.copytree(project, tmp_path / "project"))
    (directory / "mysite" / "asgi.py").write_text(ASGI)
    (directory / "mysite" / "urls.py").write_text(PRODUCTION_URLS)
    command: list[str | Path] = [bare / "python", "-m", *GUNICORN.split(), "--bind", "127.0.0.1:{port}"]
    with serving(command, directory, WEB_CONCURRENCY="1") as url:
        for path in ("healthz", "readyz"):
            with urllib.request.urlopen(f"{url}/{path}", timeout=10) as answer:
                assert answer.status == 200

        async def call() -> str:
            async with Client(f"{url}/mcp") as client:
                return str((await client.call_tool("add_note", {"text": "milk"})).structured_content)

        assert "milk" in anyio.run(call)


def test_a_wrong_host_is_refused_in_the_protocols_own_form(guest: str) -> None:
    request = urllib.request.Request(f"{guest}/mcp", headers={"Host": "evil.example"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=10)
    assert refused.value.code == 421
    assert b'"jsonrpc"' in refused.value.read()


def test_the_staff_pages_work_in_chromium_light_and_dark(guest: str) -> None:
    chromium = next((path for path in map(shutil.which, CHROMIUMS) if path), None)
    if chromium is None:
        reason = f"none of {', '.join(CHROMIUMS)} is on PATH"
        assert os.environ.get("CI") != "true", reason
        pytest.skip(reason)
    PICTURES.mkdir(parents=True, exist_ok=True)
    problems: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--disable-gpu", "--no-sandbox"])
        for theme in ("light", "dark"):
            context = browser.new_context(color_scheme=theme, viewport={"width": 1360, "height": 900})
            page = context.new_page()
            page.on("console", lambda told: problems.append(f"{told.location}") if told.type == "error" else None)
            page.on("response", lambda answer: problems.append(answer.url) if answer.status >= 400 else None)
            page.goto(f"{guest}/admin/mcp/")
            page.fill("[name=username]", ACCOUNT["DJANGO_SUPERUSER_USERNAME"])
            page.fill("[name=password]", ACCOUNT["DJANGO_SUPERUSER_PASSWORD"])
            page.click("[type=submit]")
            page.wait_for_load_state()
            for title in ("Dashboard", "Sessions", "Events", "Tables", "Backups", "Try it"):
                page.get_by_role("link", name=re.compile(f"{title}$")).first.click()
                page.locator("h1", has_text=re.compile(f"^{title}$")).first.wait_for()
                page.wait_for_load_state("networkidle")
                assert [text.split("\n")[-1] for text in page.locator("a.active").all_inner_texts()] == [title]
                page.screenshot(path=PICTURES / f"{title.lower().replace(' ', '-')}-{theme}.png")
            # The project's own admin is there as well, in the same shell.
            page.goto(f"{guest}/admin/auth/user/")
            assert page.get_by_role("link", name="admin").count() >= 1
            context.close()
        browser.close()
    # An icon for its tab is the project's own to have.
    assert [problem for problem in problems if "/favicon.ico" not in problem] == []
