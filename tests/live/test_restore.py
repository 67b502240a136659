"""The whole way round, as an engineer goes it: back up, lose the tables, restore, switch, and the client goes on."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from tests.conformance.processes import Children, site_environment
from tests.engines import free_ports, on_moto
from tests.live.servers import SERVER, Server, gunicorn
from tests.mcpsite.peers import LegacyPeer
from tests.sessions_dynamo.support import raw_items

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

PROFILE = {"name": "Alice", "size": 2**70, "ratio": -0.0, "long": "x" * 5000}


def manage(command: str, *arguments: str, env: Mapping[str, str]) -> str:
    """Run a management command as a process of its own, and return what it prints."""
    done = subprocess.run(
        [sys.executable, "manage.py", command, *arguments], env=env, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def by_key(items: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(item["session_id"]["S"], item.get("event_id", {"S": ""})["S"]): item for item in items}


@pytest.fixture
def site(engine: tuple[str, str], tmp_path: Path) -> dict[str, str]:
    """The site's environment, over tables of this test's own."""
    env = site_environment(engine[1], tmp_path) | {
        "MCP_SERVER": SERVER,
        "DYNAMODB_SESSIONS_TABLE": "restored-live-sessions",
        "DYNAMODB_EVENTS_TABLE": "restored-live-events",
    }
    manage("dynamodb_setup", env=env)
    return env


@on_moto
def test_a_client_goes_on_under_its_old_session_id(
    engine: tuple[str, str], site: dict[str, str], tmp_path: Path
) -> None:
    dynamodb: DynamoDBClient = boto3.client("dynamodb", region_name="eu-west-1", endpoint_url=engine[1])
    names = [site["DYNAMODB_SESSIONS_TABLE"], site["DYNAMODB_EVENTS_TABLE"]]
    first, second = free_ports(2)
    children = Children()
    try:
        served = Server(first, gunicorn(first), site, tmp_path / "before.log", children)
        served.start()
        peer = LegacyPeer(served.connect()).connect()
        assert peer.call("store_app_state", key="user_profile", data=PROFILE).data["stored"] is True
        assert peer.call("lambda_operation", operation="batch", input=1).data["execution_count"] == 1
        served.process.terminate()
        served.process.wait(60)
        before = [by_key(raw_items(dynamodb, name)) for name in names]

        manage("dynamodb_backup", env=site)
        for name in names:
            dynamodb.delete_table(TableName=name)
        printed = manage("dynamodb_restore", "--latest", "--swap", env=site)
        swap = dict(re.findall(r"^(DYNAMODB_\w+_TABLE)=(\S+)$", printed, re.M))

        restored = [swap["DYNAMODB_SESSIONS_TABLE"], swap["DYNAMODB_EVENTS_TABLE"]]
        assert set(restored).isdisjoint(names)
        assert [by_key(raw_items(dynamodb, name)) for name in restored] == before
        assert all(before), "a session and its calls were stored"

        switched = Server(second, gunicorn(second), site | swap, tmp_path / "after.log", children)
        switched.start()
        peer.send = switched.connect()
        assert peer.call("get_app_state", key="user_profile").data["data"] == PROFILE
        assert peer.call("lambda_operation", operation="batch", input=2).data["execution_count"] == 2
        assert peer.end().status == 200
    finally:
        children.close()
