"""The container image, the Compose file, gunicorn's settings and the Makefile, as far as they run without Docker."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.engines import free_port

ROOT = Path(__file__).resolve().parent.parent


def _instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions, continuation lines joined."""
    text = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in lines)]


def _arguments(name: str) -> list[str]:
    return [rest for instruction, rest in _instructions() if instruction == name]


def _in_context(path: Path) -> bool:
    """Whether ``COPY . ./`` copies a file; the last line of .dockerignore that matches decides."""
    copied = True
    names = ["/".join(path.parts[:depth]) for depth in range(1, len(path.parts) + 1)]
    for line in (ROOT / ".dockerignore").read_text().split("\n"):
        if not line or line.startswith("#"):
            continue
        pattern = line.lstrip("!").removeprefix("**/")
        candidates = [name.rpartition("/")[2] for name in names] if line.startswith("**/") else names
        if any(fnmatch.fnmatchcase(name, pattern) for name in candidates):
            copied = line.startswith("!")
    return copied


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image's /app: the files of the build context, and what the RUN lines that touch them do."""
    app = tmp_path_factory.mktemp("image")
    skipped = shutil.ignore_patterns(".git", ".venv", ".clients", "node_modules", "staticfiles")
    shutil.copytree(ROOT, app / "all", ignore=skipped)
    for source in sorted((app / "all").rglob("*")):
        path = source.relative_to(app / "all")
        if source.is_file() and _in_context(path):
            (app / "app" / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, app / "app" / path)
    for line in _arguments("RUN"):
        if "manage.py" in line:
            subprocess.run(
                ["bash", "-c", line.replace("python ", f"{sys.executable} ")],
                cwd=app / "app",
                env={"PATH": os.environ["PATH"]},
                check=True,
                capture_output=True,
            )
    return app / "app"


def _run_environment(image: Path, port: int) -> dict[str, str]:
    """What docker-compose.yml gives the site, with nothing of this machine's; the database is beside the files."""
    environment: dict[str, str] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["site"][
        "environment"
    ]
    environment["SECRET_KEY"] = "x" * 50
    environment["DATABASE_URL"] = f"sqlite:///{image / 'db.sqlite3'}"
    # A balancer and the health check ask by address, not by the name that the site is served under.
    environment["ALLOWED_HOSTS"] = "mcp.example.com"
    # Nothing listens there: whether the process is up does not depend on it.
    environment["AWS_ENDPOINT_URL_DYNAMODB"] = "http://127.0.0.1:9"
    return {**environment, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PORT": str(port)}


# --- The image ------------------------------------------------------------------------------------------------


def test_the_image_runs_as_an_ordinary_user_after_everything_is_installed() -> None:
    names = [name for name, _ in _instructions()]
    assert _arguments("USER") == ["site"]
    assert names.index("USER") > max(i for i, name in enumerate(names) if name in ("RUN", "COPY"))
    assert "useradd" in _arguments("RUN")[0]


def test_the_image_holds_no_secret_history_or_test(image: Path) -> None:
    held = {path.name for path in image.iterdir()}
    assert {"manage.py", "gunicorn.conf.py", "mcpsite", "sessions_dynamo", "requirements-image.txt"} <= held
    assert not held & {".env", ".git", "tests", "db.sqlite3", "README.md"}


def test_the_image_holds_the_static_files(image: Path) -> None:
    assert (image / "staticfiles" / "staticfiles.json").is_file()
    assert list(image.glob("staticfiles/unfold/**/*.css"))


def test_the_image_serves_and_its_health_check_says_so(image: Path, tmp_path: Path) -> None:
    port = free_port()
    env = _run_environment(image, port)
    assert _arguments("EXPOSE") == ["8062"]
    (command,) = _arguments("CMD")
    check = json.loads(_arguments("HEALTHCHECK")[0].partition("CMD ")[2])
    assert check[0] == "python"
    log = tmp_path / "gunicorn.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            json.loads(command), cwd=image, env=env, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        deadline = time.monotonic() + 60
        while (
            done := subprocess.run([sys.executable, *check[1:]], env=env, check=False, capture_output=True)
        ).returncode:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text() + done.stderr.decode()
            time.sleep(0.2)
        assert "Using worker: sessions_dynamo.asgi_server.worker.Worker" in log.read_text()
        assert f"0.0.0.0:{port}" in log.read_text()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    # Nothing listens any more, and the check says that too.
    assert subprocess.run([sys.executable, *check[1:]], env=env, check=False, capture_output=True).returncode != 0


# --- Compose --------------------------------------------------------------------------------------------------


def test_compose_runs_the_image_without_debug_against_dynamodb_local() -> None:
    compose: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    site, dynamodb = compose["services"]["site"], compose["services"]["dynamodb"]
    environment = site["environment"]

    assert site["ports"] == ["8062:8062"]
    assert environment["DEBUG"] == "false"
    assert environment["SECRET_KEY"].startswith("${SECRET_KEY:?")
    assert environment["AWS_ENDPOINT_URL_DYNAMODB"] == "http://dynamodb:8000"
    assert dynamodb["image"].startswith("amazon/dynamodb-local:")
    assert all(isinstance(value, str) for value in environment.values())
    assert json.loads(_arguments("CMD")[0])[-1] in site["command"][-1]


# --- gunicorn -------------------------------------------------------------------------------------------------


def _gunicorn(monkeypatch: pytest.MonkeyPatch, **env: str) -> dict[str, Any]:
    for name in ("PORT", "WEB_CONCURRENCY", "GRACEFUL_TIMEOUT", "FORWARDED_ALLOW_IPS", "ACCESS_LOG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    return runpy.run_path(str(ROOT / "gunicorn.conf.py"))


def test_gunicorn_waits_longer_for_an_idle_connection_than_a_balancer(monkeypatch: pytest.MonkeyPatch) -> None:
    config = _gunicorn(monkeypatch)
    assert (config["bind"], config["worker_class"]) == ("0.0.0.0:8062", "sessions_dynamo.asgi_server.worker.Worker")
    assert config["workers"] == 2
    assert config["keepalive"] > 60
    assert config["control_socket_disable"] is True
    assert config["accesslog"] is None


def test_gunicorn_does_not_end_a_worker_that_stood_still_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _gunicorn(monkeypatch)["timeout"] == 30
    assert _gunicorn(monkeypatch, AWS_LAMBDA_FUNCTION_NAME="sessions")["timeout"] == 0


def test_gunicorn_reads_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    config = _gunicorn(monkeypatch, PORT="9000", WEB_CONCURRENCY="5", FORWARDED_ALLOW_IPS="*", ACCESS_LOG="true")
    assert (config["bind"], config["workers"]) == ("0.0.0.0:9000", 5)
    assert (config["forwarded_allow_ips"], config["accesslog"]) == ("*", "-")


# --- Make and requirements ------------------------------------------------------------------------------------


def _make(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "--dry-run", "--always-make", *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **env},
        capture_output=True,
        text=True,
        check=False,
    )


def test_make_run_installs_only_what_the_site_needs_and_serves_where_it_is_told() -> None:
    done = _make("run", "ADDRPORT=0.0.0.0:9000")
    assert done.returncode == 0, done.stderr
    assert "-r requirements.txt" in done.stdout
    assert "requirements-dev.txt" not in done.stdout
    assert done.stdout.rstrip().endswith("manage.py runserver 0.0.0.0:9000")


def test_make_says_so_when_python_is_too_old(tmp_path: Path) -> None:
    old = tmp_path / "python"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    copy = tmp_path / "clone"
    copy.mkdir()
    for name in ("Makefile", "requirements.txt"):
        shutil.copy2(ROOT / name, copy)
    done = subprocess.run(["make", "run", f"PYTHON={old}"], cwd=copy, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "Python 3.11 or newer is needed" in done.stderr
    assert not (copy / ".venv").exists()


# --- CI -------------------------------------------------------------------------------------------------------


def test_ci_installs_what_is_missing_and_then_runs_what_the_readme_says(tmp_path: Path) -> None:
    log = tmp_path / "log"
    for name in ("bash", "dirname", "env"):
        (tmp_path / name).symlink_to(shutil.which(name) or "")
    for name in ("apt-get", "make", "curl", "chromium", "sudo", "python3"):
        stub = tmp_path / name
        stub.write_text(f'#!/bin/bash\necho "{name} $* CI=$CI" >> {log}\n')
        stub.chmod(0o755)

    subprocess.run([ROOT / ".ci" / "run"], env={"PATH": str(tmp_path)}, check=True)

    calls = [line.replace("sudo apt-get", "apt-get") for line in log.read_text().splitlines()]
    installed = re.findall(r"^apt-get install .* (\S+) CI=true$", "\n".join(calls), re.MULTILINE)
    assert installed == ["npm", "openjdk-17-jre-headless"]
    assert calls[-2:] == ["make lint CI=true", "make test CI=true"]
