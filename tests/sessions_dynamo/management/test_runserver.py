"""``manage.py runserver`` for real: a small site in a directory of its own, so that a test may edit its code."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
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
from django.core.management import CommandError, call_command
from pytest_django import Settings

from sessions_dynamo import embedded
from tests.engines import free_port

ROOT = Path(__file__).resolve().parents[3]
SECONDS = 60

SETTINGS = """
from mcpsite.settings import *

INSTALLED_APPS = [app for app in INSTALLED_APPS if app != "mcpsite.endpoint"]
MIDDLEWARE = [name for name in MIDDLEWARE if not name.startswith("mcpsite.")]
ROOT_URLCONF = "site_urls"
ASGI_APPLICATION = "site_asgi.application"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": DATABASE_FILE}}
RUNSERVER_PREPARES_DATABASE = True
"""

ASGI = """
import asyncio
import os
from django.core.asgi import get_asgi_application

django = get_asgi_application()
released = asyncio.Event()

async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        scope["state"]["mcpsite.release_clients"] = released.set
        await send({"type": "lifespan.startup.complete"})
        await receive()
        print("lifespan left", flush=True)
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["path"] == "/stream":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"%d " % os.getpid(), "more_body": True})
        await released.wait()
        await send({"type": "http.response.body", "body": b"over"})
    else:
        await django(scope, receive, send)
"""

URLS = """
import os
import time
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

def sleep(request):
    print("asleep", flush=True)
    time.sleep(60)

urlpatterns = [path("put", put), path("get", get), path("sleep", sleep), path("admin/", admin.site.urls)]
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
    (tmp_path / "site_asgi.py").write_text(ASGI)
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

    embedded = f"DynamoDB: embedded at http://127.0.0.1:{site.environment['DYNAMODB_EMBEDDED_PORT']}, in memory only:"
    assert site.log.count(embedded) == 1
    assert site.log.count(f"MCP endpoint: http://127.0.0.1:{site.port}/mcp") == 1
    assert site.log.count(f"Staff pages: http://127.0.0.1:{site.port}/admin/") == 1
    assert re.search(r"^Staff login \(shown this once\): .* user admin password \S{16,}$", site.log, re.M)
    assert site.log.count("Staff login") == 1

    os.killpg(process.pid, signal.SIGINT)
    process.wait(SECONDS)
    assert group_ends(process.pid)
    assert site.log.count("Traceback") == 0


def test_an_edit_tells_open_streams_and_waits_for_no_view(site: Site) -> None:
    site.start()
    before = site.get("/get")["process"]
    streams = [http.client.HTTPConnection("127.0.0.1", site.port, timeout=SECONDS) for _ in range(10)]
    answers = []
    for stream in streams:
        stream.request("GET", "/stream")
        answers.append(stream.getresponse())
        assert answers[-1].read(len(f"{before} ")) == f"{before} ".encode()
    busy = http.client.HTTPConnection("127.0.0.1", site.port, timeout=SECONDS)
    busy.request("GET", "/sleep")
    wait_for(site, "asleep")
    time.sleep(1.1)
    (site.directory / "site_urls.py").write_text(f"{URLS}\n# edited\n")

    for answer in answers:
        assert answer.read() == b"over"
    assert site.get("/get", until=lambda answer: answer["process"] != before)["process"] != before
    assert "Traceback" not in site.log


def test_an_edit_leaves_the_lifespan(site: Site) -> None:
    site.start()
    before = site.get("/get")["process"]
    time.sleep(1.1)
    (site.directory / "site_urls.py").write_text(f"{URLS}\n# edited\n")
    site.get("/get", until=lambda answer: answer["process"] != before)
    assert site.log.count("lifespan left") == 1
    assert "Traceback" not in site.log


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_without_the_autoreloader_ends_it_in_order(site: Site, number: signal.Signals) -> None:
    process = site.start("--noreload")
    site.get("/get")
    stream = http.client.HTTPConnection("127.0.0.1", site.port, timeout=SECONDS)
    stream.request("GET", "/stream")
    answer = stream.getresponse()
    busy = http.client.HTTPConnection("127.0.0.1", site.port, timeout=SECONDS)
    busy.request("GET", "/sleep")
    wait_for(site, "asleep")
    os.kill(process.pid, number)
    assert answer.read().endswith(b"over")
    assert process.wait(SECONDS / 2) == 0
    assert "lifespan left" in site.log
    assert "Traceback" not in site.log


def test_requests_are_logged_where_djangos_own_server_logs_them(site: Site) -> None:
    site.start("--noreload")
    site.get("/get")
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(f"http://127.0.0.1:{site.port}/nowhere?a=1")
    wait_for(site, '"GET /nowhere?a=1 HTTP/1.1" 404')
    assert 'INFO django.server: "GET /get HTTP/1.1" 200' in site.log
    assert 'WARNING django.server: "GET /nowhere?a=1 HTTP/1.1" 404' in site.log


def test_static_files_are_served(site: Site) -> None:
    site.start("--noreload")
    site.get("/get")
    with urllib.request.urlopen(f"http://127.0.0.1:{site.port}/static/admin/css/base.css", timeout=10) as response:
        assert response.status == 200
        assert b"DJANGO Admin" in response.read()


def test_a_port_that_is_taken_is_one_clear_line_and_nothing_before_it(site: Site) -> None:
    with socket.create_server(("127.0.0.1", site.port)):
        assert site.start().wait(SECONDS) == 1
    assert site.log == (
        f"CommandError: Port {site.port} is taken at 127.0.0.1: stop the program that holds it, or serve elsewhere:"
        f" python manage.py runserver {site.port + 10}\n"
    )
    assert not (site.directory / "db.sqlite3").exists()


def test_without_an_application_it_says_what_to_write(site: Site) -> None:
    with (site.directory / "site_settings.py").open("a") as settings:
        settings.write("\nASGI_APPLICATION = None\n")
    assert site.start().wait(SECONDS) == 1
    assert 'Write into the settings: ASGI_APPLICATION = "site_settings.asgi.application"' in site.log
    assert "Traceback" not in site.log


def test_another_project_needs_no_more_than_the_app_and_its_asgi_application(site: Site) -> None:
    (site.directory / "other_asgi.py").write_text(
        "from django.core.asgi import get_asgi_application\n\napplication = get_asgi_application()\n"
    )
    (site.directory / "other_urls.py").write_text(
        "from django.http import JsonResponse\nfrom django.urls import path\n\n"
        'urlpatterns = [path("get", lambda request: JsonResponse({"host": request.get_host()}))]\n'
    )
    (site.directory / "other.py").write_text(
        'SECRET_KEY = "other"\nDEBUG = True\nROOT_URLCONF = "other_urls"\n'
        'INSTALLED_APPS = ["sessions_dynamo", "django.contrib.staticfiles"]\nSTATIC_URL = "static/"\n'
        'ASGI_APPLICATION = "other_asgi.application"\nDYNAMODB_EMBEDDED = False\n'
    )
    elsewhere = {"DJANGO_SETTINGS_MODULE": "other", "AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_REGION": "eu-west-1"}
    site.start(**elsewhere, AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test")
    assert site.get("/get") == {"host": f"127.0.0.1:{site.port}"}


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


@pytest.mark.parametrize(
    ("port", "why"),
    [
        ("99999", "99999 is no port: give one from 1 to 65535."),
        ("18999", "the embedded DynamoDB's own: serve on another"),
    ],
)
def test_a_port_that_cannot_be_is_said_before_anything_is_begun(settings: Settings, port: str, why: str) -> None:
    settings.DEBUG = settings.DYNAMODB_EMBEDDED = True
    settings.DYNAMODB_EMBEDDED_PORT = 18999
    settings.DYNAMODB_EMBEDDED_DATA = "off"
    with pytest.raises(CommandError, match=why):
        call_command("runserver", f"127.0.0.1:{port}", "--noreload")
    assert not embedded.is_running()


def test_a_setting_that_cannot_be_read_is_a_sentence() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "manage.py", "runserver"],
        env={**os.environ, "DEBUG": "true", "DJANGO_SETTINGS_MODULE": "mcpsite.settings", "SESSION_TTL_HOURS": "day"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "This cannot start with its settings: SESSION_TTL_HOURS='day' is no number, and has to be one."
    ]
