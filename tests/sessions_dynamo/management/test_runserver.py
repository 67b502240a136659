"""``manage.py runserver`` for real: a small site in a directory of its own, so that a test may edit its code."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.engines import free_port

ROOT = Path(__file__).resolve().parents[3]
SECONDS = 60

SETTINGS = """
from mcpsite.settings import *

INSTALLED_APPS = [app for app in INSTALLED_APPS if app != "mcpsite.endpoint"]
MIDDLEWARE = [name for name in MIDDLEWARE if not name.startswith("mcpsite.")]
ROOT_URLCONF = "site_urls"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": DATABASE_FILE}}
RUNSERVER_PREPARES_DATABASE = True
"""

URLS = """
import os
from django.contrib import admin
from django.http import JsonResponse
from django.urls import path
from sessions_dynamo.client import dynamodb

def put(request):
    dynamodb().put_item(TableName="mcp-sessions", Item={"session_id": {"S": "kept"}})
    return JsonResponse({})

def get(request):
    found = dynamodb().get_item(TableName="mcp-sessions", Key={"session_id": {"S": "kept"}})
    return JsonResponse({"found": "Item" in found, "process": os.getpid()})

urlpatterns = [path("put", put), path("get", get), path("admin/", admin.site.urls)]
"""


@dataclass(frozen=True, slots=True)
class Site:
    """A site in ``directory``; ``start`` runs it and everything that it starts in a process group of its own."""

    directory: Path
    port: int
    environment: dict[str, str]
    running: list[subprocess.Popen[bytes]]

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text()

    def command(self, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        with (self.directory / "log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, str(ROOT / "manage.py"), *arguments],
                cwd=self.directory,
                env=self.environment | environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def start(self, *options: str, **environment: str) -> subprocess.Popen[bytes]:
        process = self.command("runserver", *options, f"127.0.0.1:{self.port}", **environment)
        self.running.append(process)
        return process

    def get(self, path: str, until: Callable[[Any], bool] = lambda _: True) -> Any:
        """The JSON at the path, as soon as the site answers and ``until`` holds for it."""
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as response:
                    answer = json.load(response)
                if until(answer):
                    return answer
            except (urllib.error.URLError, ConnectionError):
                pass
            time.sleep(0.2)
        raise AssertionError(f"{path} did not answer as expected within {SECONDS} s:\n{self.log}")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    database = str(tmp_path / "db.sqlite3")
    (tmp_path / "site_settings.py").write_text(SETTINGS.replace("DATABASE_FILE", repr(database)))
    (tmp_path / "site_urls.py").write_text(URLS)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | {
        "DEBUG": "true",
        "DJANGO_SETTINGS_MODULE": "site_settings",
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}",
        "DYNAMODB_EMBEDDED_PORT": str(free_port()),
        # Named so that neither a shell nor a .env decides.
        "DYNAMODB_EMBEDDED": "true",
        "DYNAMODB_SESSIONS_TABLE": "mcp-sessions",
        "DYNAMODB_EVENTS_TABLE": "mcp-session-events",
    }
    site = Site(tmp_path, free_port(), environment, [])
    yield site
    for process in site.running:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def test_data_outlives_an_edit_and_control_c_ends_everything(site: Site) -> None:
    process = site.start()
    site.get("/put")
    before = site.get("/get")
    assert before["found"]

    time.sleep(1.1)  # the autoreloader compares modification times
    (site.directory / "site_urls.py").write_text(f"{URLS}\n# edited\n")
    after = site.get("/get", until=lambda answer: answer["process"] != before["process"])

    assert after["found"]
    setup = site.command("dynamodb_setup")  # in a second terminal
    assert setup.wait(SECONDS) == 0, site.log
    assert "Plan: table mcp-sessions exists, nothing to change" in site.log

    embedded = f"DynamoDB: embedded at http://127.0.0.1:{site.environment['DYNAMODB_EMBEDDED_PORT']}, in memory only"
    assert site.log.count(embedded) == 1
    assert site.log.count(f"MCP endpoint: http://127.0.0.1:{site.port}/mcp") == 1
    assert site.log.count(f"Staff pages: http://127.0.0.1:{site.port}/admin/") == 1
    assert re.search(r"^Staff login \(shown this once\): .* user admin password \S{16,}$", site.log, re.M)
    assert site.log.count("Staff login") == 1

    os.killpg(process.pid, signal.SIGINT)
    process.wait(SECONDS)
    assert group_ends(process.pid)
    assert site.log.count("Traceback") == 0


def test_the_login_is_printed_on_the_first_run_only(site: Site) -> None:
    for _ in range(2):
        process = site.start("--noreload")
        site.get("/get")
        os.killpg(process.pid, signal.SIGINT)
        process.wait(SECONDS)

    assert site.log.count("Staff login") == 1


def test_a_port_of_the_embedded_server_that_is_taken_is_one_clear_line(site: Site) -> None:
    other = subprocess.Popen(
        [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", site.environment["DYNAMODB_EMBEDDED_PORT"]],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    site.running.append(other)
    time.sleep(1)

    assert site.start().wait(SECONDS) == 1

    assert site.log.startswith("CommandError: The embedded DynamoDB cannot listen on 127.0.0.1:")
    assert "set DYNAMODB_EMBEDDED_PORT to a free one" in site.log
    assert "Traceback" not in site.log


def test_a_dynamodb_elsewhere_is_named_and_missing_tables_warned_of(
    site: Site, start_engine: Callable[[str], str]
) -> None:
    url = start_engine("moto")
    elsewhere = {
        "DYNAMODB_EMBEDDED": "false",
        "AWS_ENDPOINT_URL": url,
        "AWS_REGION": "sa-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "DYNAMODB_SESSIONS_TABLE": "elsewhere-sessions",
        "DYNAMODB_EVENTS_TABLE": "elsewhere-events",
    }
    site.start("--noreload", **elsewhere)
    wait_for(site, "Staff pages")

    assert f"DynamoDB: sa-east-1, {url}, tables elsewhere-sessions and elsewhere-events" in site.log
    assert "Warning: elsewhere-sessions does not exist" in site.log
    assert "dynamodb_setup" in site.log


def test_missing_tables_are_created_where_that_was_asked_for(site: Site, start_engine: Callable[[str], str]) -> None:
    site.start(
        "--noreload",
        DYNAMODB_EMBEDDED="false",
        DYNAMODB_CREATE_TABLES="true",
        AWS_ENDPOINT_URL=start_engine("moto"),
        AWS_REGION="sa-east-1",
        AWS_ACCESS_KEY_ID="test",
        AWS_SECRET_ACCESS_KEY="test",
    )

    site.get("/put")

    assert "mcp-sessions table created" in site.log
    assert "mcp-session-events table created" in site.log


def group_ends(group: int) -> bool:
    """Whether the last process of the group ends within ``SECONDS``."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def wait_for(site: Site, text: str) -> None:
    deadline = time.monotonic() + SECONDS
    while text not in site.log:
        assert time.monotonic() < deadline, site.log
        time.sleep(0.2)
