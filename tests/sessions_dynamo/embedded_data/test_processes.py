"""``manage.py runserver`` as ``make run`` starts it, stopped and killed at every moment: what was written is there."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import boto3
import pytest

from tests.engines import free_port
from tests.sessions_dynamo.management.test_runserver import SECONDS, Site, site

__all__ = ["site"]  # The fixture.

STOPS_BEFORE_RENAME = """
import os, pathlib, signal

replace = pathlib.Path.replace

def stopping(path, target):
    if str(target).endswith(".jsonl.gz") and os.path.exists({switch!r}):
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(path, target)

pathlib.Path.replace = stopping
"""


@pytest.fixture
def data(site: Site) -> Path:
    """Where the site keeps its tables."""
    site.environment["DYNAMODB_EMBEDDED_DATA"] = str(site.directory / "kept")
    return site.directory / "kept"


def end(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    os.killpg(process.pid, number)
    process.wait(SECONDS)


def reset(site: Site) -> tuple[int, str]:
    before = len(site.log)
    return site.command("embedded_reset").wait(SECONDS), site.log[before:]


def test_what_was_stored_is_read_after_a_restart_until_it_is_forgotten(site: Site, data: Path) -> None:
    process = site.start()
    site.get("/put")
    end(process, signal.SIGINT)
    assert f"its tables kept in {data.name}." in site.log

    process = site.start()
    assert site.get("/get")["found"]
    status, said = reset(site)
    assert status == 1
    assert "keeps its tables there. Stop it first, then run this again. Nothing was deleted." in said
    assert site.get("/get")["found"]

    # A second one, on ports of its own, would write over what the first has.
    second = Site(
        site.directory, free_port(), {**site.environment, "DYNAMODB_EMBEDDED_PORT": str(free_port())}, site.running
    )
    assert second.start("--noreload").wait(SECONDS) == 1
    assert "CommandError: kept is in use: the site of process" in site.log
    end(process, signal.SIGTERM)

    status, said = reset(site)
    assert (status, list(data.glob("*.gz"))) == (0, [])
    assert "Forgotten: the next runserver begins with empty tables." in said
    site.start("--noreload")
    assert not site.get("/get")["found"]
    assert "Traceback" not in site.log


def test_a_kill_loses_nothing_that_is_older_than_two_seconds_nor_does_one_before_the_rename(
    site: Site, data: Path
) -> None:
    switch = site.directory / "stop"
    with (site.directory / "site_settings.py").open("a") as settings:
        settings.write(STOPS_BEFORE_RENAME.format(switch=str(switch)))
    process = site.start("--noreload")
    site.get("/put")
    time.sleep(2)
    end(process, signal.SIGKILL)

    process = site.start("--noreload")
    assert site.get("/get")["found"]
    (former,) = data.glob("*.jsonl.gz")
    before = former.read_bytes()
    switch.touch()
    client = boto3.client(
        "dynamodb",
        endpoint_url=f"http://127.0.0.1:{site.environment['DYNAMODB_EMBEDDED_PORT']}",
        region_name="us-east-1",
        aws_access_key_id="embedded",
        aws_secret_access_key="embedded",
    )
    client.delete_item(TableName="mcp-sessions", Key={"session_id": {"S": "kept"}})
    process.wait(SECONDS)
    assert process.returncode == -signal.SIGKILL
    assert former.read_bytes() == before
    assert list(data.glob(".*.partial"))

    switch.unlink()
    site.start("--noreload")
    assert site.get("/get")["found"]
    assert not list(data.glob(".*.partial"))
    assert "Traceback" not in site.log
