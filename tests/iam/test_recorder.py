"""Calls are recorded wherever they are made: here, in a pool's threads, in child processes, by stubbed clients."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from anyio import to_thread
from botocore.stub import Stubber
from mypy_boto3_dynamodb import DynamoDBClient

from sessions_dynamo import client
from sessions_dynamo.dataplane.loops import close_planes_of_this_loop, run
from sessions_dynamo.dataplane.plane import DataPlane
from sessions_dynamo.errors import TableMissing
from sessions_dynamo.store.calls import recent_calls
from sessions_dynamo.tables.describing import describe_table
from tests.engines import on_moto
from tests.iam import recorder

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[dict[str, Any]]]:
    """What has been recorded since the test began."""
    monkeypatch.setattr(recorder, "_directory", tmp_path)
    monkeypatch.setattr(recorder, "_seen", set())
    monkeypatch.setenv(recorder.DIRECTORY_VARIABLE, str(tmp_path))
    return lambda: list(recorder.read(tmp_path))


@on_moto
def test_a_call_is_recorded_with_its_callers_and_what_it_names(
    bare_dynamodb: DynamoDBClient, recorded: Callable[[], list[dict[str, Any]]], settings: Any
) -> None:
    with pytest.raises(TableMissing):
        describe_table(bare_dynamodb, settings.DYNAMODB_SESSIONS_TABLE)

    assert recorded() == [
        {
            "stacks": [["sessions_dynamo.tables.describing:describe_table"]],
            "service": "dynamodb",
            "operation": "DescribeTable",
            "region": "eu-west-1",
            "named": {"TableName": "mcp-sessions"},
        }
    ]


@on_moto
def test_what_a_test_calls_itself_is_not(
    dynamodb: DynamoDBClient, recorded: Callable[[], list[dict[str, Any]]], settings: Any
) -> None:
    dynamodb.describe_table(TableName=settings.DYNAMODB_SESSIONS_TABLE)

    assert recorded() == []


def test_a_request_that_a_stub_answers_is(recorded: Callable[[], list[dict[str, Any]]]) -> None:
    with Stubber(client.dynamodb()) as stubber:
        stubber.add_response("describe_table", {"Table": {"TableName": "mcp-sessions"}})
        describe_table(client.dynamodb(), "mcp-sessions")

    assert [call["operation"] for call in recorded()] == ["DescribeTable"]


@on_moto
def test_a_request_on_a_loop_is_recorded_with_the_callers_of_its_coroutine(
    dynamodb: DynamoDBClient, recorded: Callable[[], list[dict[str, Any]]], settings: Any, monkeypatch: Any
) -> None:
    async def coroutine() -> None:
        await run(recent_calls(settings.DYNAMODB_EVENTS_TABLE, "abc"))

    async def begin() -> None:
        try:
            await asyncio.create_task(coroutine())
            await run(recent_calls(settings.DYNAMODB_EVENTS_TABLE, "abc"))
        finally:
            await close_planes_of_this_loop()

    # As if it were the project's.
    monkeypatch.setitem(recorder._names, coroutine.__code__, "mcpsite.endpoint.legacy:request")
    asyncio.run(begin())

    way = ["sessions_dynamo.dataplane.loops:run", "sessions_dynamo.dataplane.driver:drive"]
    asked = {
        "service": "dynamodb",
        "operation": "Query",
        "region": "eu-west-1",
        "named": {"TableName": "mcp-session-events"},
    }
    assert recorded() == [{"stacks": [stack], **asked} for stack in (["mcpsite.endpoint.legacy:request", *way], way)]


@on_moto
def test_what_a_test_asks_on_a_loop_itself_is_not(
    dynamodb: DynamoDBClient, recorded: Callable[[], list[dict[str, Any]]], settings: Any
) -> None:
    async def ask() -> None:
        plane = DataPlane()
        await plane.request("DescribeTable", {"TableName": settings.DYNAMODB_SESSIONS_TABLE})
        await plane.close()

    asyncio.run(ask())

    assert recorded() == []


def test_the_work_of_anyios_threads_carries_who_gave_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def there() -> Any:
        return await to_thread.run_sync(recorder._stacks, ["sessions_dynamo.tables.setup:reachable"])

    # As if it were a view of the project's.
    monkeypatch.setitem(recorder._names, there.__code__, "mcpsite.health:readyz")

    assert asyncio.run(there()) == (("sessions_dynamo.tables.setup:reachable",), ("mcpsite.health:readyz",))


def test_the_work_of_a_pool_carries_who_gave_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def there(pool: ThreadPoolExecutor) -> Any:
        return pool.submit(recorder._stacks, ["sessions_dynamo.reading.index_pages:inside"]).result()

    # As if it were a module of the project's.
    monkeypatch.setitem(recorder._names, there.__code__, "sessions_dynamo.staff.sessions.listing:session_list")
    with ThreadPoolExecutor(1) as pool:
        assert there(pool) == (
            ("sessions_dynamo.reading.index_pages:inside",),
            ("sessions_dynamo.staff.sessions.listing:session_list",),
        )
        assert pool.submit(recorder._stacks, []).result() == (("sessions_dynamo.staff.sessions.listing:session_list",),)


@pytest.mark.parametrize(
    "env", [None, {"PATH": "/usr/bin:/bin", "HOME": "/nowhere", "SECRET_KEY": "k", "DEBUG": "true"}]
)
def test_a_child_records_whatever_environment_it_is_given(
    env: Mapping[str, str] | None, recorded: Callable[[], list[dict[str, Any]]]
) -> None:
    script = (
        "import django; django.setup()\n"
        "from botocore.stub import Stubber\n"
        "from sessions_dynamo import client\nfrom sessions_dynamo.tables import describing\n"
        "with Stubber(client.dynamodb()) as stubber:\n"
        "    stubber.add_response('describe_table', {'Table': {'TableName': 'mcp-sessions'}})\n"
        "    describing.describe_table(client.dynamodb(), 'mcp-sessions')\n"
    )
    if env is not None:
        env = {**env, "DJANGO_SETTINGS_MODULE": "tests.settings"}

    subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=env, check=True)

    assert [(call["operation"], call["stacks"]) for call in recorded()] == [
        ("DescribeTable", [["sessions_dynamo.tables.describing:describe_table"]])
    ]


def test_values_are_never_written_down() -> None:
    item = {"session_id": {"S": "secret"}, "state": {"M": {}}}
    put = {"Put": {"TableName": "mcp-sessions", "Item": item}}

    assert recorder._named({"TableName": "mcp-sessions", "Item": item}) == {"TableName": "mcp-sessions"}
    assert recorder._named({"TransactItems": [put]}) == {"Transaction": [["Put", "mcp-sessions"]]}
    assert recorder._named({"RequestItems": {"mcp-sessions": [{"PutRequest": {"Item": item}}]}}) == {
        "Tables": ["mcp-sessions"]
    }
