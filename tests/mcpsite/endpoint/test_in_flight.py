"""Calls under way while their session ends, and several under one id."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from mcpsite.endpoint.loop import close_loop
from tests.mcpsite.peers import JSON_HEADERS, Answer, LegacyPeer
from tests.mcpsite.site import Connection, on_the_loop

PATIENCE_SECONDS = 30


@pytest.fixture(autouse=True)
def _waiting_tools(settings: Settings) -> None:
    settings.MCP_SERVER = "tests.live.servers_for_streams:mcp"


def posted(peer: LegacyPeer, message: dict[str, Any]) -> Connection:
    body = json.dumps({"jsonrpc": "2.0", **message}).encode()
    return Connection("POST", "/mcp", body, {**JSON_HEADERS, **peer.headers})


def call(peer: LegacyPeer, request_id: int, tool: str, **arguments: Any) -> Connection:
    params = {"name": tool, "arguments": arguments}
    return posted(peer, {"id": request_id, "method": "tools/call", "params": params})


async def begun(connection: Connection, mark: Path) -> asyncio.Task[None]:
    """Serve a request, and wait until its tool has made a file."""
    serving = asyncio.create_task(connection.run())
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not mark.exists():
            await asyncio.sleep(0.01)
    return serving


def answer_of(connection: Connection) -> Answer:
    return Answer(connection.status, connection.headers, b"".join(connection.pieces))


def test_a_session_that_its_client_ends_ends_the_answers_that_it_waits_for(legacy: LegacyPeer, tmp_path: Path) -> None:
    """Python's client before 2 has closed its session by then, and raises for an answer."""
    gate = tmp_path / "gate"

    async def end() -> Connection:
        silent = call(legacy, 1, "block_until", path=str(gate))
        serving = await begun(silent, Path(f"{gate}.begun"))
        await Connection("DELETE", "/mcp", b"", legacy.headers).run()
        # Whether the tool heeds it or not: this one holds a thread.
        async with asyncio.timeout(PATIENCE_SECONDS):
            await serving
        return silent

    silent = on_the_loop(end())
    gate.touch()
    assert (silent.status, silent.headers["Content-Type"]) == (200, "text/event-stream")
    assert silent.pieces == []


def test_a_stream_that_has_begun_ends_without_a_response_then(legacy: LegacyPeer) -> None:
    async def end() -> Connection:
        counting = call(legacy, 1, "count_to", last=1000, pause=0.02)
        serving = asyncio.create_task(counting.run())
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(counting.pieces) < 3:
                await asyncio.sleep(0.01)
            await Connection("DELETE", "/mcp", b"", legacy.headers).run()
            await serving
        return counting

    content = b"".join(on_the_loop(end()).pieces)
    assert b"notifications/message" in content
    assert b'"result"' not in content
    assert b'"error"' not in content


def test_a_call_that_its_process_cuts_off_when_it_stops_is_answered(legacy: LegacyPeer, settings: Settings) -> None:
    """At once, and for whoever comes back: nobody waits for a lease to lapse."""
    settings.SHUTDOWN_GRACE_SECONDS = 0.05

    async def stop() -> Connection:
        counting = call(legacy, 1, "count_to", last=1000, pause=0.02)
        serving = asyncio.create_task(counting.run())
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(counting.pieces) < 3:
                await asyncio.sleep(0.01)
            await close_loop()
            await serving
        return counting

    cut = answer_of(on_the_loop(stop()))
    assert cut.error["message"] == "The server process that ran this request ended before it answered."
    first = cut.content.partition(b"id: ")[2].partition(b"\n")[0].decode()
    back = legacy.send("GET", b"", {**legacy.headers, "Accept": "text/event-stream", "Last-Event-ID": first})
    assert back.error == cut.error


def test_several_calls_under_one_id_are_each_answered(legacy: LegacyPeer) -> None:
    """claude.ai has them; JSON-RPC 2.0 and "Requests" of 2025-11-25 want ids that are used once."""

    async def together() -> list[Connection]:
        calls = [call(legacy, 1, "count_to", last=number, pause=0.02) for number in range(1, 6)]
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.gather(*(each.run() for each in calls))
        return calls

    answers = [answer_of(each) for each in on_the_loop(together())]
    texts = [answer.result["content"][0]["text"] for answer in answers]
    assert texts == [f"counted to {number}" for number in range(1, 6)]


def test_a_cancellation_answers_every_call_under_its_id(legacy: LegacyPeer) -> None:
    async def cancel() -> tuple[list[Connection], Connection]:
        calls = [call(legacy, 7, "count_to", last=2000, pause=0.02) for _ in range(3)]
        serving = [asyncio.create_task(each.run()) for each in calls]
        other = call(legacy, 8, "count_to", last=3, pause=0.1)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not all(each.pieces for each in calls):
                await asyncio.sleep(0.01)
            serving.append(asyncio.create_task(other.run()))
            await posted(legacy, {"method": "notifications/cancelled", "params": {"requestId": 7}}).run()
            await asyncio.gather(*serving)
        return calls, other

    calls, other = on_the_loop(cancel())
    assert [answer_of(each).error["message"] for each in calls] == ["Request cancelled"] * 3
    assert answer_of(other).result["content"][0]["text"] == "counted to 3"
    assert legacy.request("ping").status == 200
