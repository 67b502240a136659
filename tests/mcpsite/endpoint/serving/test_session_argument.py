"""The argument by which a client without sessions names its own: offered, taken off, answered, and never invented."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import pytest
from jsonschema import Draft202012Validator
from mcp.server.mcpserver import Context, Elicit, MCPServer, Resolve
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import CLIENT_CAPABILITIES_META_KEY, CallToolResult, TextContent
from pydantic import BaseModel, ConfigDict
from pytest_django import Settings

from mcpsite.endpoint.serving.dependencies import current_session, sent_arguments
from mcpsite.endpoint.serving.session import Session
from sessions_dynamo.store.sessions import default_store
from tests.mcpsite.conftest import Wire
from tests.mcpsite.faults import failing
from tests.mcpsite.peers import ENVELOPE, LegacyPeer, ModernPeer, Outcome

noted = MCPServer("noted")
CurrentSession = Annotated[Session, Resolve(current_session)]


class Strict(BaseModel):
    """An output that takes no further property."""

    model_config = ConfigDict(extra="forbid")
    notes: list[str]


@noted.tool()
def note(text: str, session: CurrentSession) -> list[str]:
    """A tool as the README has it: nothing of sessions but the parameter."""
    session.state["notes"] = [*session.state.get("notes", []), text]
    return list(session.state["notes"])


@noted.tool()
def note_strictly(text: str, session: CurrentSession) -> Strict:
    return Strict(notes=note(text, session))


@noted.tool()
def notes_by_number(text: str, session: CurrentSession) -> dict[str, int]:
    return {one: number for number, one in enumerate(note(text, session))}


@noted.tool()
def note_plainly(text: str, session: CurrentSession) -> CallToolResult:
    note(text, session)
    return CallToolResult(content=[TextContent(type="text", text="noted")])


@noted.tool()
def notes(session: CurrentSession) -> list[str]:
    return list(session.state.get("notes", []))


def count_of(session: CurrentSession) -> int:
    return len(session.state.get("notes", []))


@noted.tool()
def count(number: Annotated[int, Resolve(count_of)]) -> int:
    """It takes the session by way of another dependency."""
    return number


@noted.tool()
def fail(session: CurrentSession, count_first: bool = False) -> str:
    if count_first:
        session.incr("failures")
    session.state["notes"] = ["lost"]
    raise ToolError("no")


@noted.tool()
def own(text: str, session: CurrentSession, session_id: str | None = None) -> dict[str, Any]:
    """It has the argument itself."""
    return {"notes": note(text, session), "session_id": session.session_id, "sent": session_id}


@noted.tool()
def sent(session: CurrentSession, arguments: Annotated[dict[str, Any], Resolve(sent_arguments)]) -> dict[str, Any]:
    session.state["notes"] = ["sent"]
    return arguments


class Sure(BaseModel):
    sure: bool


async def first_sure(session: CurrentSession) -> Elicit[Sure]:
    """It runs again in each round, as the SDK has it."""
    await session.aincr("asked")
    return Elicit("Sure?", Sure)


async def then_sure(first: Annotated[Sure, Resolve(first_sure)]) -> Elicit[Sure]:
    return Elicit("Really?", Sure)


@noted.tool()
def note_surely(text: str, session: CurrentSession, really: Annotated[Sure, Resolve(then_sure)]) -> list[str]:
    if not really.sure:
        raise ToolError("not sure")
    return note(text, session)


@noted.tool()
def own_surely(
    session: CurrentSession, really: Annotated[Sure, Resolve(then_sure)], session_id: str | None = None
) -> str:
    return session.session_id


@dataclass
class Noting:
    """A tool that is an object; this one cannot be hashed."""

    notes: list[str]
    __name__ = "noting"

    async def __call__(self, text: str, session: CurrentSession) -> list[str]:
        session.state["notes"] = [*self.notes, text]
        return [*self.notes, text]


noted.add_tool(Noting(["eggs"]), name="note_by_object", description="It notes.")


@noted.tool()
def plain(ctx: Context) -> str:
    return "no session"


@pytest.fixture
def client(modern: ModernPeer, settings: Settings) -> ModernPeer:
    settings.MCP_SERVER = f"{__name__}:noted"
    return modern


def listed(peer: Any) -> dict[str, dict[str, Any]]:
    return {tool["name"]: tool for tool in peer.request("tools/list").result["tools"]}


def handle_of(outcome: Outcome, name: str = "session_id") -> str | None:
    """What a result gave: in ``_meta`` and, for a model that sees nothing else, in a text."""
    result = outcome.answer.result
    handle: str | None = result["_meta"].get(name)
    texts = [block["text"] for block in result["content"] if block["text"].startswith(f"{name}: ")]
    assert texts == [] if handle is None else [text.split()[1] for text in texts] == [handle]
    return handle


def call(peer: ModernPeer, tool: str, **arguments: Any) -> Outcome:
    """As a client that passes on nothing by itself."""
    peer.session_id = None
    return peer.call(tool, **arguments)


# --- What is offered ------------------------------------------------------------------------------------------


def test_it_is_offered_with_the_tools_that_take_the_session_and_no_other(client: ModernPeer) -> None:
    tools = listed(client)
    offered = {name for name, tool in tools.items() if "session_id" in tool["inputSchema"]["properties"]}
    assert offered == tools.keys() - {"plain"}
    schema = tools["note"]["inputSchema"]
    Draft202012Validator.check_schema(schema)
    assert schema["required"] == ["text"]
    assert schema["properties"]["session_id"]["type"] == "string"
    assert "Leave it out the first time" in schema["properties"]["session_id"]["description"]


def test_a_tool_that_has_it_itself_is_left_alone(client: ModernPeer) -> None:
    [tool] = [tool for tool in noted._tool_manager.list_tools() if tool.name == "own"]
    assert listed(client)["own"]["inputSchema"] == tool.parameters
    first = call(client, "own", text="milk")
    assert handle_of(first) is None, "it says so itself"
    second = call(client, "own", text="bread", session_id=first.data["session_id"])
    assert second.data["notes"] == ["milk", "bread"]
    assert second.data["sent"] == first.data["session_id"]


def test_clients_with_sessions_see_and_get_none_of_it(legacy: LegacyPeer, settings: Settings) -> None:
    settings.MCP_SERVER = f"{__name__}:noted"
    assert "session_id" not in listed(legacy)["note"]["inputSchema"]["properties"]
    result = legacy.call("note", text="milk").answer.result
    assert result["structuredContent"] == {"result": ["milk"]}
    assert len(result["content"]) == 1
    assert "_meta" not in result
    assert legacy.call("note", text="bread").data["result"] == ["milk", "bread"]


# --- What is kept ---------------------------------------------------------------------------------------------


def test_the_call_that_begins_a_session_returns_its_id_once(client: ModernPeer) -> None:
    first = call(client, "note", text="milk")
    handle = handle_of(first)
    assert handle is not None
    assert first.data == {"result": ["milk"], "session_id": handle}
    second = call(client, "note", text="bread", session_id=handle)
    assert second.data == {"result": ["milk", "bread"]}
    assert handle_of(second) is None
    assert call(client, "count", session_id=handle).data == {"result": 2}
    assert default_store().load(handle).state["notes"] == ["milk", "bread"]


@pytest.mark.parametrize("tool", ["note_strictly", "notes_by_number", "note_plainly", "note_by_object"])
def test_a_result_stays_what_its_schema_says(client: ModernPeer, tool: str) -> None:
    outcome = call(client, tool, text="milk")
    handle = handle_of(outcome)
    assert handle is not None
    result = outcome.answer.result
    if (schema := listed(client)[tool].get("outputSchema")) is not None:
        Draft202012Validator(schema).validate(result["structuredContent"])
    assert ("session_id" in result.get("structuredContent", {})) is (tool == "note_by_object")
    assert call(client, "notes", session_id=handle).data["result"][-1] == "milk"


def test_what_a_tool_only_reads_begins_no_session(client: ModernPeer, wire: Wire) -> None:
    wire.clear()
    for missing in ({}, {"session_id": None}, {"session_id": ""}):
        outcome = call(client, "notes", **missing)
        assert outcome.data == {"result": []}
        assert handle_of(outcome) is None
    assert wire.operations == []


def test_a_session_that_a_failing_tool_has_begun_is_not_lost(client: ModernPeer) -> None:
    outcome = call(client, "fail", count_first=True)
    assert outcome.failed
    handle = handle_of(outcome)
    assert handle is not None
    stored = default_store().load(handle)
    assert (stored.counters, dict(stored.state)) == ({"failures": 1}, {})
    assert handle_of(call(client, "fail")) is None


def test_what_could_not_be_stored_has_no_id(client: ModernPeer) -> None:
    with failing("PutItem"):
        outcome = call(client, "note", text="milk")
    assert outcome.failed
    assert handle_of(outcome) is None


@pytest.mark.parametrize("invented", ["my-session", "default", 7, ["a"], "x" * 5000])
@pytest.mark.parametrize("tool", ["note", "own"])
def test_an_invented_one_is_an_error_and_no_new_session(
    client: ModernPeer, wire: Wire, tool: str, invented: Any
) -> None:
    wire.clear()
    outcome = call(client, tool, text="milk", session_id=invented)
    assert outcome.failed
    assert "session" in outcome.text.lower()
    assert set(wire.operations) <= {"GetItem"}


def test_one_that_ended_is_an_error_that_says_what_to_do(client: ModernPeer) -> None:
    handle = handle_of(call(client, "note", text="milk"))
    assert handle is not None
    default_store().terminate(handle)
    outcome = call(client, "note", text="bread", session_id=handle)
    assert outcome.failed
    assert "leave session_id out to begin a new session" in outcome.text


def test_it_is_none_of_the_tools_arguments(client: ModernPeer) -> None:
    handle = handle_of(call(client, "note", text="milk"))
    assert call(client, "sent", session_id=handle).data == {}


# --- A call in several rounds ---------------------------------------------------------------------------------


def rounds(
    peer: ModernPeer, sure: bool, tool: str = "note_surely", **arguments: Any
) -> tuple[list[dict[str, Any]], Outcome]:
    """What a call asked for, round by round, and its result, as a client that sends the same arguments each time."""
    envelope = {**ENVELOPE, CLIENT_CAPABILITIES_META_KEY: {"elicitation": {}}}
    params: dict[str, Any] = {"name": tool, "arguments": {"text": "milk", **arguments}, "_meta": envelope}
    asked = []
    while (answer := peer.request("tools/call", params)).result["resultType"] == "input_required":
        asked.append(answer.result)
        answers = {key: {"action": "accept", "content": {"sure": sure}} for key in answer.result["inputRequests"]}
        params |= {"inputResponses": answers, "requestState": answer.result["requestState"]}
    return asked, Outcome(answer)


@pytest.mark.parametrize("sure", [True, False])
def test_a_session_that_a_round_has_begun_is_that_of_the_next(client: ModernPeer, wire: Wire, sure: bool) -> None:
    wire.clear()
    asked, outcome = rounds(client, sure)
    assert len(asked) == 2
    assert wire.operations.count("PutItem") == 1
    assert [result.keys() & {"content", "structuredContent"} for result in asked] == [set(), set()]
    assert outcome.failed is not sure
    handle = handle_of(outcome)
    assert handle is not None
    stored = default_store().load(handle)
    assert (stored.counters, dict(stored.state)) == ({"asked": 3}, {"notes": ["milk"]} if sure else {})


def test_rounds_of_a_call_that_names_its_session_return_nothing(client: ModernPeer) -> None:
    handle = handle_of(call(client, "note", text="bread"))
    asked, outcome = rounds(client, True, session_id=handle)
    assert len(asked) == 2
    assert outcome.data == {"result": ["bread", "milk"]}
    assert handle_of(outcome) is None


@pytest.mark.parametrize("is_named", [True, False])
def test_rounds_of_a_tool_that_has_the_argument_itself(client: ModernPeer, is_named: bool) -> None:
    named = {"session_id": handle_of(call(client, "note", text="milk"))} if is_named else {}
    asked, outcome = rounds(client, True, "own_surely", **named)
    assert len(asked) == 2
    assert handle_of(outcome) is None
    stored = default_store().load(outcome.data["result"])
    assert stored.counters == {"asked": 3}
    assert dict(stored.state) == ({"notes": ["milk"]} if is_named else {})


def test_a_session_that_ends_between_rounds_is_an_error(client: ModernPeer, wire: Wire) -> None:
    envelope = {**ENVELOPE, CLIENT_CAPABILITIES_META_KEY: {"elicitation": {}}}
    params: dict[str, Any] = {"name": "note_surely", "arguments": {"text": "milk"}, "_meta": envelope}
    wire.clear()
    asked = client.request("tools/call", params).result
    [begun] = [sent.params["Item"]["session_id"]["S"] for sent in wire.requests if sent.operation == "PutItem"]
    default_store().terminate(begun)
    outcome = Outcome(client.request("tools/call", {**params, "requestState": asked["requestState"]}))
    assert outcome.failed
    assert "leave session_id out to begin a new session" in outcome.text


# --- The setting ----------------------------------------------------------------------------------------------


def test_it_can_have_another_name(client: ModernPeer, settings: Settings) -> None:
    settings.MCP_SESSION_ARGUMENT = "notebook"
    assert "session_id" not in (properties := listed(client)["note"]["inputSchema"]["properties"])
    assert "notebook" in properties
    handle = handle_of(call(client, "note", text="milk"), "notebook")
    assert call(client, "note", text="bread", notebook=handle).data == {"result": ["milk", "bread"]}


def test_another_meaning_of_the_name_is_the_tools_own_then(client: ModernPeer, settings: Settings) -> None:
    settings.MCP_SESSION_ARGUMENT = "notebook"
    first = call(client, "own", text="milk", session_id="of a training")
    assert first.data["sent"] == "of a training"
    handle = handle_of(first, "notebook")
    assert call(client, "own", text="bread", notebook=handle).data["notes"] == ["milk", "bread"]


def test_it_can_be_switched_off(client: ModernPeer, settings: Settings) -> None:
    settings.MCP_SESSION_ARGUMENT = ""
    assert "session_id" not in listed(client)["note"]["inputSchema"]["properties"]
    outcome = call(client, "note", text="milk")
    assert outcome.data == {"result": ["milk"]}
    assert handle_of(outcome) is None
    assert call(client, "own", text="milk").data["notes"] == ["milk"]
