"""gunicorn's settings, the Makefile, and what CI runs."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent


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


def test_workers_beat_in_memory_where_it_can_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    for writable, directory in ((True, "/dev/shm"), (False, None)):
        monkeypatch.setattr(os, "access", lambda path, mode, answer=writable: path == "/dev/shm" and answer)
        assert _gunicorn(monkeypatch)["worker_tmp_dir"] == directory


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


def test_make_install_installs_what_make_run_would_and_no_more() -> None:
    done = _make("install")
    assert done.returncode == 0, done.stderr
    assert "-r requirements.txt" in done.stdout
    assert not {"requirements-dev.txt", "manage.py"} & set(done.stdout.split())


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
    for name in ("apt-get", "make", "curl", "chromium", "redis-server", "debootstrap", "bwrap", "sudo", "python3"):
        stub = tmp_path / name
        stub.write_text(f'#!/bin/bash\necho "{name} $* CI=$CI" >> {log}\n')
        stub.chmod(0o755)

    subprocess.run([ROOT / ".ci" / "run"], env={"PATH": str(tmp_path)}, check=True)

    calls = [line.replace("sudo apt-get", "apt-get") for line in log.read_text().splitlines()]
    installed = re.findall(r"^apt-get install .* (\S+) CI=true$", "\n".join(calls), re.MULTILINE)
    assert installed == ["npm", "openjdk-17-jre-headless"]
    assert calls[-2:] == ["make lint CI=true", "make test CI=true"]
