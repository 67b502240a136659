"""The five tools: what they are called with, what they return, and that every field is read from the live system."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator
from pytest_django import Settings

from sessions_dynamo import client, schema
from sessions_dynamo.dataplane.observers import on_request
from sessions_dynamo.store.sessions import default_store
from sessions_dynamo.tables import describing
from sessions_dynamo.tables.describing import describe_cached, forget_descriptions
from sessions_dynamo.tables.descriptions import Replica
from tests.engines import on_dynamodb_local
from tests.mcpsite.conftest import Wire, on_both_engines
from tests.mcpsite.peers import InProcess, LegacyPeer, ModernPeer

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

Peer = LegacyPeer | ModernPeer
HERE = "eu-west-1"
SESSION_TOOLS = {"store_app_state", "get_app_state", "lambda_operation", "global_state"}


@pytest.fixture(autouse=True)
def _fresh_descriptions() -> Iterator[None]:
    forget_descriptions()
    yield
    forget_descriptions()


@pytest.fixture
def listed(peer: Peer) -> dict[str, dict[str, Any]]:
    return {tool["name"]: tool for tool in peer.request("tools/list").result["tools"]}


def _replicas(monkeypatch: pytest.MonkeyPatch, *replicas: Replica) -> None:
    """Give the sessions table replicas, which no emulator has."""

    def describe(*args: Any) -> Any:
        sessions, events = describe_cached()
        return replace(sessions, replicas=replicas), events

    monkeypatch.setattr("mcpsite.server.describe_cached", describe)


# --- What a model is told -------------------------------------------------------------------------------------


def test_each_tool_has_a_title_a_description_and_both_schemas(listed: dict[str, dict[str, Any]]) -> None:
    assert set(listed) == {*SESSION_TOOLS, "dynamodb_info"}
    for tool in listed.values():
        assert tool["title"]
        assert len(tool["description"]) > 60
        Draft202012Validator.check_schema(tool["inputSchema"])
        Draft202012Validator.check_schema(tool["outputSchema"])


def test_the_handle_is_an_optional_argument_and_the_session_is_none(listed: dict[str, dict[str, Any]]) -> None:
    for tool in listed.values():
        assert not {"session", "sent", "ctx"} & set(tool["inputSchema"]["properties"])
        assert "session_id" not in tool["inputSchema"].get("required", [])
    for name in SESSION_TOOLS:
        assert "session_id" in listed[name]["inputSchema"]["properties"]


def test_annotations_say_what_a_tool_does(listed: dict[str, dict[str, Any]]) -> None:
    hints = {
        name: tuple(tool["annotations"].get(f"{hint}Hint") for hint in ("readOnly", "destructive", "idempotent"))
        for name, tool in listed.items()
    }
    assert hints["store_app_state"] == (False, True, True)
    assert hints["global_state"] == (False, True, True)
    assert hints["lambda_operation"] == (False, False, False)
    assert hints["get_app_state"][0] is hints["dynamodb_info"][0] is True


def test_what_a_tool_returns_fits_its_output_schema(peer: Peer, listed: dict[str, dict[str, Any]]) -> None:
    for name, arguments in (
        ("store_app_state", {"key": "a", "data": {"b": [1]}}),
        ("get_app_state", {"key": "a"}),
        ("get_app_state", {"key": "nothing"}),
        ("lambda_operation", {"operation": "x", "input": [1]}),
        ("dynamodb_info", {}),
        ("global_state", {"region": "us-west-2", "data": 1}),
    ):
        outcome = peer.call(name, **arguments)
        Draft202012Validator(listed[name]["outputSchema"]).validate(outcome.data)
        assert json.loads(outcome.text) == outcome.data


# --- store_app_state and get_app_state ------------------------------------------------------------------------


def test_the_readmes_example(peer: Peer) -> None:
    stored = peer.call("store_app_state", key="user_profile", data={"name": "Alice", "role": "admin"}).data
    assert (stored["stored"], stored["key"], stored["data"]) == (
        True,
        "user_profile",
        {"name": "Alice", "role": "admin"},
    )
    assert peer.call("get_app_state", key="user_profile").data == {
        "found": True,
        "key": "user_profile",
        "data": {"name": "Alice", "role": "admin"},
    }


def test_expiry_is_what_is_stored(peer: Peer, settings: Settings) -> None:
    stored = peer.call("store_app_state", key="a", data=1).data
    expires = datetime.fromisoformat(stored["expires_at"])
    ahead = datetime.now(UTC) + timedelta(hours=settings.SESSION_TTL_HOURS)
    assert abs(expires - ahead) < timedelta(seconds=5)
    assert abs(default_store().load(stored["session_id"]).expires_at - expires) <= timedelta(seconds=1)


def test_nothing_found_is_a_result(peer: Peer) -> None:
    assert peer.call("get_app_state", key="nothing").data == {"found": False, "key": "nothing", "data": None}


def test_null_is_found(peer: Peer) -> None:
    peer.call("store_app_state", key="a", data=None)
    assert peer.call("get_app_state", key="a").data == {"found": True, "key": "a", "data": None}


def test_a_value_is_replaced_whole(peer: Peer) -> None:
    peer.call("store_app_state", key="a", data={"x": 1, "y": 2})
    peer.call("store_app_state", key="a", data={"z": 3})
    assert peer.call("get_app_state", key="a").data["data"] == {"z": 3}


@pytest.mark.parametrize("size", [100, 4096, 4097, 100_000, 390_000])
def test_values_of_any_size_up_to_the_limit(peer: Peer, size: int) -> None:
    assert not peer.call("store_app_state", key="a", data="x" * size).failed
    assert peer.call("get_app_state", key="a").data["data"] == "x" * size


def test_a_value_over_the_limit_loses_nothing(peer: Peer) -> None:
    peer.call("store_app_state", key="a", data="kept")
    outcome = peer.call("store_app_state", key="a", data="x" * 420_000)
    assert outcome.failed
    assert "limit" in outcome.text
    assert peer.call("get_app_state", key="a").data["data"] == "kept"


@pytest.mark.parametrize("key", ["", "k" * 257, 7, None, ["a"]])
def test_a_key_is_1_to_256_characters(peer: Peer, key: Any) -> None:
    assert peer.call("store_app_state", key=key, data=1).failed
    assert peer.call("get_app_state", key=key).failed


@pytest.mark.parametrize("key", ["k", "k" * 256, "ü#.$[0] \n\t", "ttl", "__proto__", "null", "1"])
def test_any_text_is_a_key(peer: Peer, key: str) -> None:
    peer.call("store_app_state", key=key, data=key)
    assert peer.call("get_app_state", key=key).data == {"found": True, "key": key, "data": key}


# --- Regions --------------------------------------------------------------------------------------------------


def test_the_own_region_is_read_as_without_one(peer: Peer) -> None:
    peer.call("store_app_state", key="a", data=1)
    assert peer.call("get_app_state", key="a", region=HERE).data == {"found": True, "key": "a", "data": 1}


def test_a_region_without_replica_is_a_tool_error_that_says_where_to_read(peer: Peer) -> None:
    outcome = peer.call("get_app_state", key="a", region="us-west-2")
    assert outcome.failed
    assert "no replica in us-west-2" in outcome.text
    assert HERE in outcome.text


@pytest.mark.parametrize("region", ["", "x", "EU-WEST-1", "eu-west-1\n", "us west 2", "../eu-west-1", "null", 1])
def test_what_is_no_region_is_refused(peer: Peer, region: Any) -> None:
    if region != "null":  # The SDK reads that text as null, so as no region.
        assert peer.call("get_app_state", key="a", region=region).failed
    assert peer.call("global_state", data=1, region=region).failed


def test_a_replica_is_read_in_its_region(peer: Peer, monkeypatch: pytest.MonkeyPatch, wire: Wire) -> None:
    peer.call("store_app_state", key="a", data=1)
    _replicas(monkeypatch, Replica("us-west-2", "ACTIVE"))
    seen: list[str] = []

    # The emulator keeps regions apart as moto does, so the replica there has not got the session yet.
    with on_request(lambda asked: seen.append(asked.action) if asked.region == "us-west-2" else None):
        absent = peer.call("get_app_state", key="a", region="us-west-2")
    assert seen == ["GetItem"]
    assert absent.failed or absent.data == {"found": False, "key": "a", "data": None, "region": "us-west-2"}


@on_dynamodb_local
def test_what_a_replica_holds_is_found_there(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    # With -sharedDb every region is the same table: a replica that is never behind.
    peer.call("store_app_state", key="a", data="x" * 5000)
    _replicas(monkeypatch, Replica("us-west-2", "ACTIVE"))
    found = peer.call("get_app_state", key="a", region="us-west-2").data
    assert found == {"found": True, "key": "a", "data": "x" * 5000, "region": "us-west-2"}


def test_global_state_without_replicas_says_so_and_how_to_add_one(peer: Peer) -> None:
    stored = peer.call("global_state", region="us-west-2", data={"cache_warmed": True}).data
    note = stored.pop("note")
    assert stored.pop("session_id")
    assert stored == {
        "stored": True,
        "region": "us-west-2",
        "data": {"cache_warmed": True},
        "written_in": HERE,
        "replicas": [],
    }
    assert f"{HERE} alone" in note
    assert "python manage.py dynamodb_setup --regions us-west-2" in note


def test_the_advice_is_never_to_replicate_to_the_region_itself(peer: Peer) -> None:
    note = peer.call("global_state", region=HERE, data=1).data["note"]
    assert f"--regions {HERE}" not in note
    assert "--regions <another region>" in note


def test_global_state_lists_the_replicas_that_the_table_has(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    _replicas(monkeypatch, Replica("us-west-2", "ACTIVE"), Replica("ap-south-1", "CREATING"))
    stored = peer.call("global_state", region="us-west-2", data=1).data
    assert stored["replicas"] == [
        {"region": "us-west-2", "status": "ACTIVE"},
        {"region": "ap-south-1", "status": "CREATING"},
    ]
    assert "note" not in stored


def test_each_region_has_an_entry_of_its_own(peer: Peer) -> None:
    session_id = peer.call("global_state", region="us-west-2", data="west").data["session_id"]
    peer.call("global_state", region="us-east-1", data="east")
    peer.call("global_state", region="us-east-1", data="east again")
    store = default_store()
    session = store.load(session_id)
    assert store.get_global_state(session, "us-west-2") == "west"
    assert store.get_global_state(session, "us-east-1") == "east again"
    assert dict(session.state) == {}


def test_global_state_writes_nothing_where_the_table_cannot_be_described(
    peer: Peer, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sessions_dynamo.errors import AccessDenied

    def refuse() -> None:
        raise AccessDenied("Access denied: the IAM action dynamodb:DescribeTable is needed.")

    monkeypatch.setattr("mcpsite.server.describe_cached", refuse)
    wire.clear()
    outcome = peer.call("global_state", region="us-west-2", data=1)
    assert outcome.failed
    assert "dynamodb:DescribeTable" in outcome.text
    assert not {"PutItem", "UpdateItem"} & set(wire.operations)


# --- lambda_operation -----------------------------------------------------------------------------------------


def test_runs_are_counted_per_operation(peer: Peer) -> None:
    batch = {"batch_id": 123, "items": 50}
    first = peer.call("lambda_operation", operation="process_batch", input=batch).data
    second = peer.call("lambda_operation", operation="process_batch", input=None).data
    other = peer.call("lambda_operation", operation="other", input=[]).data

    assert [entry["execution_count"] for entry in (first, second, other)] == [1, 2, 1]
    assert (first["result"]["operation"], first["result"]["input"]) == ("process_batch", batch)
    assert datetime.now(UTC) - datetime.fromisoformat(first["result"]["processed_at"]) < timedelta(seconds=10)
    last = peer.call("get_app_state", key="lambda_operation.process_batch").data["data"]
    assert last == second["result"]


def test_an_input_that_cannot_be_kept_is_not_counted(peer: Peer) -> None:
    peer.call("lambda_operation", operation="x", input=1)
    assert peer.call("lambda_operation", operation="x", input="\ud800").failed
    assert peer.call("lambda_operation", operation="x", input=2).data["execution_count"] == 2


@on_dynamodb_local
def test_concurrent_runs_are_counted_exactly(legacy: LegacyPeer) -> None:
    def run(_: int) -> int:
        peer = LegacyPeer(InProcess(), legacy.headers)
        return int(peer.call("lambda_operation", operation="x", input=1).data["execution_count"])

    with ThreadPoolExecutor(10) as pool:
        counts = list(pool.map(run, range(100)))
    assert sorted(counts) == list(range(1, 101))


def test_outside_lambda_nothing_is_said_of_a_runtime(peer: Peer) -> None:
    assert "runtime" not in peer.call("lambda_operation", operation="x", input=1).data


@pytest.mark.parametrize("era", [LegacyPeer, ModernPeer])
def test_inside_lambda_its_context_is_reported(dynamodb: DynamoDBClient, era: type[Any]) -> None:
    context = SimpleNamespace(
        function_name="mcp", aws_request_id="6b2c", memory_limit_in_mb="512", invoked_function_arn="arn:aws:lambda:x"
    )
    peer = era(InProcess(scope={"aws.context": context}))
    if era is LegacyPeer:
        peer.connect()
    runtime = peer.call("lambda_operation", operation="x", input=1).data["runtime"]
    assert runtime == {"function_name": "mcp", "request_id": "6b2c", "memory_limit_mb": 512}


# --- dynamodb_info --------------------------------------------------------------------------------------------


def test_both_tables_are_described(peer: Peer, settings: Settings) -> None:
    info = peer.call("dynamodb_info").data
    sessions, events = info["tables"]

    assert (info["region"], info["endpoint"]) == (HERE, client.endpoint_url())
    assert (sessions["name"], events["name"]) == (settings.DYNAMODB_SESSIONS_TABLE, settings.DYNAMODB_EVENTS_TABLE)
    assert sessions["status"] == "ACTIVE"
    assert sessions["billing_mode"] == "PAY_PER_REQUEST"
    assert sessions["keys"] == {"session_id": "S"}
    assert events["keys"] == {"session_id": "S", "event_id": "S"}
    assert {index["name"] for index in sessions["indexes"]} == {index.name for index in schema.SESSIONS.indexes}
    assert sessions["time_to_live"] == {"status": "ENABLED", "attribute": "ttl"}
    assert sessions["stream"]["view_type"] == "NEW_AND_OLD_IMAGES"
    assert sessions["tags"]["Environment"] == "test"
    assert sessions["replicas"] == []
    assert sessions["point_in_time_recovery"]["status"] == "DISABLED"
    assert info["limits"]["max_key_characters"] == 256


@on_both_engines
def test_items_are_counted_by_the_engine(peer: Peer, engine: tuple[str, str]) -> None:
    before = peer.call("dynamodb_info").data["tables"][0]["item_count"]
    peer.call("store_app_state", key="a", data=1)
    default_store().create()
    forget_descriptions()
    assert peer.call("dynamodb_info").data["tables"][0]["item_count"] > before


@on_dynamodb_local
def test_what_the_engine_cannot_answer_is_left_out_and_says_why(peer: Peer) -> None:
    sessions = peer.call("dynamodb_info").data["tables"][0]
    assert "point_in_time_recovery" not in sessions
    assert "encryption" not in sessions
    assert "DescribeContinuousBackups" in sessions["unanswered"]["point_in_time_recovery"]


def test_a_change_is_seen_once_the_cache_has_aged(
    peer: Peer, dynamodb: DynamoDBClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = settings.DYNAMODB_SESSIONS_TABLE
    now = 1000.0
    monkeypatch.setattr(describing, "time", SimpleNamespace(monotonic=lambda: now))
    before = peer.call("dynamodb_info").data["tables"][0]

    dynamodb.tag_resource(ResourceArn=before["arn"], Tags=[{"Key": "Team", "Value": "payments"}])
    dynamodb.update_time_to_live(TableName=name, TimeToLiveSpecification={"Enabled": False, "AttributeName": "ttl"})
    dynamodb.update_table(
        TableName=name, GlobalSecondaryIndexUpdates=[{"Delete": {"IndexName": schema.PRINCIPAL_INDEX.name}}]
    )
    try:
        now += 59
        assert peer.call("dynamodb_info").data["tables"][0] == before
        now += 2
        after = peer.call("dynamodb_info").data["tables"][0]
    finally:
        from sessions_dynamo.tables import setup

        setup.ensure_tables()
    assert after["tags"] == {**before["tags"], "Team": "payments"}
    assert after["time_to_live"]["status"] == "DISABLED"
    assert schema.PRINCIPAL_INDEX.name not in {index["name"] for index in after["indexes"]}


def test_the_description_is_shared_for_a_while(peer: Peer, wire: Wire) -> None:
    peer.call("dynamodb_info")
    wire.clear()
    peer.call("dynamodb_info")
    assert not {operation for operation in wire.operations if operation.startswith(("Describe", "List"))}
