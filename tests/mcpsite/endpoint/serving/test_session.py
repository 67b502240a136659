"""The session as a tool has it: the client's own, or one by handle, saved as one unit when the call succeeds."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from pytest_django import Settings

from mcpsite.endpoint.serving.session import Session
from sessions_dynamo import schema
from sessions_dynamo.errors import SessionNotFound, StorageUnavailable
from sessions_dynamo.store.session_operations import SessionOperations, default_operations
from sessions_dynamo.store.sessions import default_store
from tests.mcpsite.conftest import Wire
from tests.mcpsite.faults import before
from tests.mcpsite.peers import HANDSHAKE, InProcess, LegacyPeer, ModernPeer

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

Peer = LegacyPeer | ModernPeer
LARGE = "x" * 5000
"""Over 4 KiB: kept apart from its session, and read when it is asked for."""
HERE = "eu-west-1"
WRITES = {"PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "TransactWriteItems"}


@pytest.fixture
def tools(peer: Peer, settings: Settings) -> Peer:
    """A client of a server that uses the session as the README shows."""
    settings.MCP_SERVER = "tests.mcpsite.servers:tools"
    return peer


# --- State and counters ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("tool", ["add_note", "add_note_async"])
def test_a_tool_keeps_state_and_counts(tools: Peer, tool: str) -> None:
    assert tools.call(tool, text="milk").data["notes"] == ["milk"]
    second = tools.call(tool, text="bread").data
    assert (second["notes"], second["number"]) == (["milk", "bread"], 2)
    stored = default_store().load(second["session_id"])
    assert (stored.state["notes"], stored.counters) == (["milk", "bread"], {"added": 2})


def test_two_tasks_of_a_call_may_count_at_once(tools: Peer) -> None:
    session_id = tools.call("count_at_once").data["session_id"]
    assert default_store().load(session_id).counters == {"left": 1, "right": 1}


@pytest.mark.parametrize("allowed", [False, True], ids=["", "DJANGO_ALLOW_ASYNC_UNSAFE"])
def test_incr_in_an_async_tool_fails_and_the_log_says_what_to_write(
    tools: Peer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, allowed: bool
) -> None:
    if allowed:
        monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
    outcome = tools.call("incr_in_async")
    assert outcome.failed
    assert "await session.aincr(...)" in caplog.text


@pytest.mark.parametrize("tool", ["use_regions", "use_regions_async"])
@pytest.mark.parametrize("colour", ["blue", LARGE], ids=["small", "large"])
def test_a_tool_writes_a_regions_entry_and_reads_a_replica(tools: Peer, tool: str, colour: str) -> None:
    tools.call("remember", value=colour)
    used = tools.call(tool, region=HERE, value="warm").data
    assert (used["keys"], used["colour"]) == (["colour"], colour)
    store = default_store()
    assert store.get_global_state(store.load(used["session_id"]), HERE) == "warm"


@pytest.mark.parametrize("tool", ["recall", "recall_async"])
def test_a_large_value_is_read_by_every_kind_of_tool(tools: Peer, wire: Wire, tool: str) -> None:
    tools.call("remember", value=LARGE)
    wire.clear()
    assert tools.call(tool).data == {"by_key": LARGE, "by_get": LARGE, "all": {"colour": LARGE}, "none": 7}
    # The session, and the value once.
    assert wire.operations == ["GetItem", "GetItem"]


@pytest.mark.parametrize("allowed", [False, True], ids=["", "DJANGO_ALLOW_ASYNC_UNSAFE"])
@pytest.mark.parametrize(
    ("how", "instead"),
    [
        ("set_global_state", "await session.aset_global_state(...)"),
        ("replica_state", "await session.areplica_state(...)"),
        ("state[]", "await session.aget(key)"),
        ("state.get", "await session.aget(key)"),
        ("state.items", "await session.aget(key)"),
    ],
)
def test_what_would_hold_the_loop_fails_and_the_log_says_what_to_write(
    tools: Peer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    how: str,
    instead: str,
    allowed: bool,
) -> None:
    if allowed:
        # It lets code run that holds the loop; this would hold it for ever.
        monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
    tools.call("remember", value=LARGE)
    assert tools.call("hold_the_loop", how=how).failed
    assert instead in caplog.text


def test_a_small_value_is_read_in_an_async_tool_as_in_any(tools: Peer) -> None:
    tools.call("remember", value="blue")
    assert tools.call("hold_the_loop", how="state[]").data == {"result": "blue"}


def test_storage_that_fails_is_an_error_of_the_tool_that_waits(tools: Peer) -> None:
    tools.call("remember", value=LARGE)
    throttled = StorageUnavailable("DynamoDB throttled GetItem: try again.")
    for operation, tool, arguments in (
        ("large_value", "recall", {}),
        ("large_value", "recall_async", {}),
        ("set_global_state", "use_regions", {"region": HERE, "value": "warm"}),
        ("peek", "use_regions", {"region": HERE, "value": "warm"}),
        ("incr", "add_note", {"text": "milk"}),
    ):
        # ``load`` is a ``peek``, too: the session's own is let pass.
        seen = count(1)
        passes = 1 if operation == "peek" else 0

        def fail(*_: object, seen: Iterator[int] = seen, passes: int = passes) -> None:
            if next(seen) > passes:
                raise throttled

        with before(SessionOperations, operation, fail):
            outcome = tools.call(tool, **arguments)
        assert outcome.failed
        assert "throttled" in outcome.text


def test_a_tool_without_session_is_served(tools: Peer) -> None:
    assert tools.call("without_session").data == {"result": "plain"}


@pytest.mark.parametrize("how", ["tool error", "crash", "protocol error"])
def test_a_tool_that_fails_changes_nothing(tools: Peer, how: str) -> None:
    session_id = tools.call("remember", value="blue").data["session_id"]
    store = default_store()
    stored = store.load(session_id)
    stored.state["kept"] = [1]
    store.save(stored)

    answer = tools.call("write_and_fail", how=how).answer

    assert "error" in answer.body or answer.result["isError"]
    assert b"a secret" not in answer.content
    assert dict(store.load(session_id).state) == {"colour": "blue", "kept": [1]}


@pytest.mark.parametrize("counted", [False, True])
def test_a_failing_tool_of_a_new_session_stores_no_state(
    modern: ModernPeer, settings: Settings, wire: Wire, counted: bool
) -> None:
    settings.MCP_SERVER = "tests.mcpsite.servers:tools"
    assert modern.call("write_and_fail", how="tool error", counted=counted).failed
    if not counted:
        assert wire.operations == []
    # A counter is written at once, and needs its session; the state beside it is not.
    for sent in wire.requests:
        assert "red" not in str(sent.params)


def test_a_protocol_error_of_a_tool_keeps_its_code_and_data(tools: Peer) -> None:
    error = tools.call("write_and_fail", how="protocol error").answer.error
    assert error == {"code": -32050, "message": "on purpose", "data": {"why": "test"}}


def test_a_call_that_loses_a_race_is_a_tool_error_that_says_to_retry(tools: Peer) -> None:
    session_id = tools.call("remember", value="red").data["session_id"]
    outcome = tools.call("lose_a_race")

    assert outcome.failed
    assert "'colour'" in outcome.text
    assert "retry" in outcome.text
    assert default_store().load(session_id).state["colour"] == "green"
    if tools.era == "modern":
        assert outcome.answer.result["resultType"] == "complete"
        assert outcome.answer.result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"] == "tools"
    else:
        assert "_meta" not in outcome.answer.result


def test_a_session_that_ends_during_a_call_takes_no_writes_from_it(tools: Peer) -> None:
    tools.call("remember", value="red")
    outcome = tools.call("end_own_session", write=True)
    assert outcome.failed
    assert "has ended" in outcome.text


def test_a_session_that_ends_during_a_call_still_answers_what_was_read(tools: Peer) -> None:
    tools.call("remember", value="red")
    assert tools.call("end_own_session", write=False).data == {"result": "done"}


# --- Handles --------------------------------------------------------------------------------------------------


def test_a_call_that_stores_makes_a_handle_and_later_ones_use_it(modern: ModernPeer) -> None:
    stored = modern.call("store_app_state", key="colour", data="blue").data
    assert len(stored["session_id"]) >= 22
    assert default_store().load(stored["session_id"]).state["colour"] == "blue"
    assert modern.call("store_app_state", key="size", data=7).data["session_id"] == stored["session_id"]
    assert modern.call("get_app_state", key="colour").data["data"] == "blue"
    assert modern.call("lambda_operation", operation="x", input=1).data["execution_count"] == 1
    assert modern.call("lambda_operation", operation="x", input=1).data["execution_count"] == 2


def test_each_call_without_a_handle_has_a_session_of_its_own(modern: ModernPeer) -> None:
    first = modern.call("store_app_state", key="colour", data="blue").data["session_id"]
    modern.session_id = None
    assert modern.call("get_app_state", key="colour").data["found"] is False
    assert modern.call("store_app_state", key="colour", data="red").data["session_id"] != first


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [("get_app_state", {"key": "a"}), ("dynamodb_info", {}), ("get_app_state", {"key": "a", "session_id": None})],
)
def test_a_call_that_only_reads_writes_nothing(
    modern: ModernPeer, wire: Wire, tool: str, arguments: dict[str, Any]
) -> None:
    assert not modern.call(tool, **arguments).failed
    assert not WRITES & set(wire.operations)


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("store_app_state", {"key": "a"}),
        ("store_app_state", {"key": "", "data": 1}),
        ("store_app_state", {"key": "a", "data": "\ud800"}),
        ("store_app_state", {"key": "a", "data": "x" * 500_000}),
        ("lambda_operation", {"operation": "x", "input": "\ud800"}),
        ("lambda_operation", {"operation": "", "input": 1}),
        ("global_state", {"region": "nowhere", "data": 1}),
        ("global_state", {"region": "us-west-2", "data": "\ud800"}),
        ("global_state", {"region": "us-west-2", "data": "x" * 500_000}),
    ],
    ids=lambda value: str(value)[:60].encode("ascii", "replace").decode(),
)
def test_a_call_that_is_refused_makes_no_session(
    modern: ModernPeer, wire: Wire, tool: str, arguments: dict[str, Any]
) -> None:
    assert modern.call(tool, **arguments).failed
    assert not WRITES & set(wire.operations)


@pytest.mark.parametrize("handle", ["unknown", "a" * 500, "#bus", "x#y#z", "ü", "null", "12", '"a"'])
def test_a_handle_of_nobody_is_a_tool_error(peer: Peer, handle: str) -> None:
    for tool, arguments in (
        ("get_app_state", {"key": "a"}),
        ("store_app_state", {"key": "a", "data": 1}),
        ("lambda_operation", {"operation": "a", "input": 1}),
    ):
        outcome = peer.call(tool, session_id=handle, **arguments)
        assert outcome.failed
        assert "does not exist" in outcome.text


@pytest.mark.parametrize("handle", [0, 1, 1.5, True, False, [], ["a"], {}, {"a": 1}], ids=str)
def test_a_handle_that_is_no_string_is_a_tool_error(peer: Peer, wire: Wire, handle: Any) -> None:
    assert peer.call("store_app_state", key="a", data=1, session_id=handle).failed
    assert not WRITES & set(wire.operations)


@pytest.mark.parametrize("handle", [0, False, [], {}, 1, ["a"]], ids=str)
def test_a_tool_that_declares_no_handle_refuses_one_that_is_no_string_too(tools: Peer, wire: Wire, handle: Any) -> None:
    outcome = tools.call("remember", value="red", session_id=handle)
    assert outcome.failed
    assert "names no session of yours" in outcome.text
    assert not WRITES & set(wire.operations)


def test_a_session_that_its_client_has_ended_takes_what_it_returned_with_it(
    legacy: LegacyPeer, modern: ModernPeer
) -> None:
    """LangChain's tools open a session for each call and end it: a model that passes its id on is told what to do."""
    stored = legacy.call("store_app_state", key="a", data=1).data
    assert "names nothing from then on" in legacy.request("initialize", HANDSHAKE).result["instructions"]
    legacy.end()
    again = LegacyPeer(InProcess()).connect()
    refused = again.call("get_app_state", key="a", session_id=stored["session_id"])
    assert refused.failed
    assert "Leave session_id out to use the session of this client" in refused.text
    assert "tell the user" in refused.text
    refused = modern.call("get_app_state", key="a", session_id=stored["session_id"])
    assert "leave session_id out to begin a new session" in refused.text


@pytest.mark.parametrize("handle", [None, ""])
def test_an_empty_handle_is_none(legacy: LegacyPeer, handle: str | None) -> None:
    stored = legacy.call("store_app_state", key="a", data=1, session_id=handle).data
    assert stored["session_id"] == legacy.session_id


def test_a_client_with_a_session_may_name_it_or_another(legacy: LegacyPeer, modern: ModernPeer) -> None:
    other = modern.call("store_app_state", key="colour", data="blue").data["session_id"]
    own = legacy.session_id

    assert legacy.call("store_app_state", key="colour", data="red", session_id=own).data["session_id"] == own
    assert legacy.call("get_app_state", key="colour", session_id=other).data["data"] == "blue"
    assert legacy.call("store_app_state", key="colour", data="green", session_id=other).data["session_id"] == other
    assert legacy.call("get_app_state", key="colour").data["data"] == "red"
    assert modern.call("get_app_state", key="colour").data["data"] == "green"


def test_a_terminated_session_has_no_handle(modern: ModernPeer) -> None:
    handle = modern.call("store_app_state", key="colour", data="blue").data["session_id"]
    default_store().terminate(handle)
    assert modern.call("get_app_state", key="colour").failed
    assert modern.call("store_app_state", key="colour", data="red").failed
    with pytest.raises(SessionNotFound):
        default_store().load(handle)


def test_a_tool_outside_the_endpoint_is_told_that_there_is_no_session() -> None:
    import anyio
    from mcp.client import Client

    from tests.mcpsite.servers import tools

    async def call() -> Any:
        async with Client(tools) as client:
            return await client.call_tool("remember", {"value": "red"})

    result = anyio.run(call)
    assert result.is_error
    assert "needs the site's own endpoint" in result.content[0].text


# --- In itself ------------------------------------------------------------------------------------------------


async def test_a_new_session_is_stored_with_the_first_thing_that_is_written(dynamodb: DynamoDBClient) -> None:
    store = default_store()
    session = Session(default_operations(), "ann")
    assert schema.is_session_id(session.session_id)
    await session.save()
    assert store.peek(session.session_id) is None

    session.state["colour"] = "blue"
    await session.save()
    assert session.is_stored
    assert store.load(session.session_id, "ann").state["colour"] == "blue"


async def test_a_new_session_that_counts_first_keeps_its_buffered_state_apart(dynamodb: DynamoDBClient) -> None:
    store = default_store()
    session = Session(default_operations(), "")
    session.state["colour"] = "blue"
    assert await session.aincr("runs") == 1
    assert "colour" not in store.load(session.session_id).state

    assert session.state["colour"] == "blue"
    await session.save()
    assert store.load(session.session_id).state["colour"] == "blue"


async def test_state_is_a_mapping(dynamodb: DynamoDBClient) -> None:
    session = Session(default_operations(), "")
    session.state.update({"a": 1, "b": [2]})
    assert (len(session.state), set(session.state), "a" in session.state) == (2, {"a", "b"}, True)
    del session.state["a"]
    assert dict(session.state) == {"b": [2]}
    assert session.state.get("a") is None
