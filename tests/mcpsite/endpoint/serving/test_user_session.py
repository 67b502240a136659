"""A user's own session: the same whatever client and conversation a call comes from, and no client's to name."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import pytest
from mcp.server.mcpserver import Context, MCPServer, Resolve
from mcp.server.mcpserver.exceptions import ToolError
from pytest_django import Settings

from mcpsite.endpoint.tools import Session, current_session, user_session
from sessions_dynamo import schema
from sessions_dynamo.store.sessions import default_store
from tests.mcpsite.conftest import Wire
from tests.mcpsite.peers import InProcess, LegacyPeer, ModernPeer, Peer

diary = MCPServer("diary")
UserSession = Annotated[Session, Resolve(user_session)]
CurrentSession = Annotated[Session, Resolve(current_session)]

ANN = {"X-Name": "ann"}


@diary.tool()
def write(line: str, mine: UserSession) -> list[str]:
    mine.state["lines"] = [*mine.state.get("lines", []), line]
    return list(mine.state["lines"])


@diary.tool()
def read(mine: UserSession) -> list[str]:
    return list(mine.state.get("lines", []))


@diary.tool()
def count(mine: UserSession) -> int:
    return mine.incr("counted")


@diary.tool()
def read_and_count(mine: UserSession) -> int:
    """It reads before the session begins, and writes after."""
    lines = mine.state.get("lines", [])
    number = mine.incr("counted")
    mine.state["lines"] = [*lines, str(number)]
    return number


@diary.tool()
def fail(mine: UserSession) -> None:
    mine.state["lines"] = ["lost"]
    raise ToolError("no")


@diary.tool()
def both(line: str, mine: UserSession, session: CurrentSession) -> dict[str, list[str]]:
    for kept in (mine, session):
        kept.state["lines"] = [*kept.state.get("lines", []), line]
    return {"mine": mine.state["lines"], "session": session.state["lines"]}


@diary.tool()
async def write_at_once(ctx: Context, session_id: str = "") -> None:
    """Parts of a tool that each ask for the sessions themselves, at the same time."""

    async def part(key: str) -> None:
        mine, session = await asyncio.gather(user_session(ctx), current_session(ctx))
        mine.state[key] = session.state[key] = True

    await asyncio.gather(part("one"), part("two"))


@diary.tool()
def name(mine: UserSession) -> str:
    return mine.session_id


@diary.tool()
async def overtaken(line: str, key: str, blindly: bool, mine: UserSession) -> str:
    """Another call of the same user begins the session while this one runs."""
    if not blindly:
        mine.state.get(key)
    mine.state[key] = line
    principal = "ann"
    store = default_store()
    begun = await asyncio.to_thread(store.create, schema.user_session_id(principal), principal=principal)
    begun.state["lines"] = ["theirs"]
    await asyncio.to_thread(store.save, begun)
    return line


@pytest.fixture(autouse=True)
def users(settings: Settings) -> None:
    settings.MCP_SERVER = f"{__name__}:diary"
    settings.MCP_AUTH = "tests.mcpsite.servers.callers_name"


@pytest.fixture
def ann(dynamodb: Any) -> Any:
    yield ModernPeer(InProcess(ANN))
    default_store().delete(schema.user_session_id("ann"))


def conversation(peer: Peer) -> LegacyPeer:
    """A session of a client's own, for a user."""
    return LegacyPeer(InProcess(peer.send.headers)).connect()  # type: ignore[attr-defined]


def test_it_is_the_same_in_every_conversation_and_both_eras(ann: ModernPeer) -> None:
    assert ann.call("write", line="one").data["result"] == ["one"]
    first = conversation(ann)
    assert first.call("write", line="two").data["result"] == ["one", "two"]
    first.end()
    assert conversation(ann).call("read").data["result"] == ["one", "two"]
    assert ann.call("read").data["result"] == ["one", "two"]


def test_each_user_has_their_own(ann: ModernPeer) -> None:
    ann.call("write", line="secret")
    assert ModernPeer(InProcess({"X-Name": "bob"})).call("read").data["result"] == []


def test_the_public_is_told_why_there_is_none(settings: Settings, modern: ModernPeer) -> None:
    settings.MCP_AUTH = "mcpsite.endpoint.access.auth.public"
    outcome = modern.call("write", line="one")
    assert outcome.failed
    assert "does not know users" in outcome.text
    assert "MCP_AUTH" in outcome.text


def test_it_needs_no_argument_and_returns_no_handle(ann: ModernPeer) -> None:
    tools = {tool["name"]: tool for tool in ann.request("tools/list").result["tools"]}
    assert "session_id" not in tools["write"]["inputSchema"]["properties"]
    result = ann.call("write", line="one").answer.result
    assert result["structuredContent"] == {"result": ["one"]}
    assert len(result["content"]) == 1


def test_no_client_can_name_it(ann: ModernPeer) -> None:
    ann.call("write", line="one")
    session_id = ann.call("name").data["result"]
    assert default_store().peek(session_id) is not None
    assert ann.call("both", line="two", session_id=session_id).failed
    peer = conversation(ann)
    peer.headers["Mcp-Session-Id"] = session_id
    assert peer.request("ping").status == 404
    assert peer.end().status == 404
    assert ann.call("read").data["result"] == ["one"]


def test_a_call_that_fails_changes_nothing(ann: ModernPeer) -> None:
    assert ann.call("fail").failed
    assert default_store().peek(schema.user_session_id("ann")) is None
    ann.call("write", line="one")
    assert ann.call("fail").failed
    assert ann.call("read").data["result"] == ["one"]


def test_what_is_only_read_stores_nothing(ann: ModernPeer, wire: Wire) -> None:
    wire.clear()
    assert ann.call("read").data["result"] == []
    assert wire.operations == ["GetItem"]
    wire.clear()
    ann.call("write", line="one")
    assert wire.operations == ["GetItem", "PutItem"]
    wire.clear()
    ann.call("write", line="two")
    assert wire.operations == ["GetItem", "UpdateItem"]


def test_counters_begin_it_too(ann: ModernPeer) -> None:
    assert [ann.call("count").data["result"] for _ in range(3)] == [1, 2, 3]
    assert ann.call("read_and_count").data["result"] == 4
    assert ann.call("read").data["result"] == ["4"]


def test_it_takes_part_beside_the_clients_own(ann: ModernPeer) -> None:
    peer = conversation(ann)
    assert peer.call("both", line="one").data == {"mine": ["one"], "session": ["one"]}
    other = conversation(ann)
    assert other.call("both", line="two").data == {"mine": ["one", "two"], "session": ["two"]}
    assert dict(default_store().load(peer.session_id, "ann").state) == {"lines": ["one"]}


def test_parts_of_a_call_that_ask_at_once_change_one_and_the_same(ann: ModernPeer) -> None:
    named = default_store().create(principal="ann")
    assert not ann.call("write_at_once", session_id=named.session_id).failed
    assert dict(default_store().load(named.session_id, "ann").state) == {"one": True, "two": True}
    mine = default_store().peek(schema.user_session_id("ann"))
    assert mine is not None
    assert dict(mine.state) == {"one": True, "two": True}


# --- Two calls begin it at once -------------------------------------------------------------------------------


@pytest.mark.parametrize("blindly", [True, False])
def test_a_call_goes_on_in_the_session_that_another_began(ann: ModernPeer, blindly: bool) -> None:
    assert not ann.call("overtaken", line="ours", key="other", blindly=blindly).failed
    stored = default_store().peek(schema.user_session_id("ann"))
    assert stored is not None
    assert dict(stored.state) == {"lines": ["theirs"], "other": "ours"}


def test_what_was_read_before_another_wrote_it_is_a_conflict(ann: ModernPeer) -> None:
    outcome = ann.call("overtaken", line="ours", key="lines", blindly=False)
    assert outcome.failed
    assert "retry" in outcome.text
    assert ann.call("read").data["result"] == ["theirs"]


def test_what_was_not_read_is_the_later_ones(ann: ModernPeer) -> None:
    assert not ann.call("overtaken", line="ours", key="lines", blindly=True).failed
    stored = default_store().peek(schema.user_session_id("ann"))
    assert stored is not None
    assert dict(stored.state) == {"lines": "ours"}


# --- Staff end it ---------------------------------------------------------------------------------------------


def test_one_that_staff_ended_begins_anew(ann: ModernPeer) -> None:
    ann.call("write", line="one")
    ann.call("count")
    default_store().terminate(schema.user_session_id("ann"))
    assert ann.call("read").data["result"] == []
    assert ann.call("write", line="two").data["result"] == ["two"]
    assert ann.call("count").data["result"] == 1
