"""The image's command behind the AWS Lambda Web Adapter, answering whole and streaming. ``make lambda`` builds it."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest

from tests.aws_lambda.sandboxes import FUNCTION_URL, Adapted, adapted, function_environment
from tests.engines import on_moto
from tests.mcpsite.aws_lambda.events import Front, http_api, received, rest
from tests.mcpsite.peers import HANDSHAKE, JSON_HEADERS, LEGACY, Answer, LegacyPeer, ModernPeer

pytestmark = on_moto

Start = Callable[..., Adapted]
PROGRESS: Final = b"notifications/progress"


@pytest.fixture
def start(engine: tuple[str, str], tmp_path: Path) -> Iterator[Start]:
    """Begin sandboxes over the same tables."""
    with ExitStack() as running:
        given = function_environment(engine[1], tmp_path, MCP_SERVER="tests.aws_lambda.servers:mcp")
        settings = running.enter_context(given)

        def begin(name: str, *, streams: bool, **env: str) -> Adapted:
            return running.enter_context(adapted(settings | env, tmp_path / f"{name}.log", streams=streams))

        yield begin


class Through:
    """A client's way to a sandbox: what came, and when it came (monotonic s)."""

    def __init__(self, sandbox: Adapted, front: Front = FUNCTION_URL, *, streams: bool) -> None:
        self.sandbox, self.front, self.streams = sandbox, front, streams
        self.came: list[float] = []

    def __call__(self, method: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        event, _ = self.front.ask(method, "/mcp", body, headers)
        if not self.streams:
            return received(self.sandbox.whole(event))
        head, *pieces = self._pieces(event)
        prelude = json.loads(head)
        named = {name.title(): value for name, value in prelude["headers"].items()}
        return Answer(prelude["statusCode"], named, b"".join(pieces))

    def _pieces(self, event: Any) -> Iterator[bytes]:
        self.came = []
        for piece in self.sandbox.stream(event):
            self.came.append(time.monotonic())
            yield piece


def _count(peer: LegacyPeer | ModernPeer, pause: float) -> Answer:
    meta = {"progressToken": "p"}
    params = peer.message("tools/call", {"name": "count"})["params"]
    arguments = {"last": 3, "pause": pause}
    return peer.request("tools/call", {**params, "arguments": arguments, "_meta": {**params.get("_meta", {}), **meta}})


def test_answering_whole(start: Start) -> None:
    through = Through(start("buffered", streams=False), streams=False)
    legacy, modern = LegacyPeer(through).connect(), ModernPeer(through)
    for peer in (legacy, modern):
        assert not peer.call("store", key="colour", value="blue").failed
        assert peer.call("load", key="colour").text == "blue"
        assert _count(peer, 0).content.count(PROGRESS) == 3
    assert legacy.send("GET", b"", {**legacy.headers, "Accept": "text/event-stream"}).status == 200
    refused = legacy.call("ask", question="Which colour?")
    assert refused.failed
    assert "cannot ask its client (elicitation/create)" in refused.text


def test_streaming_and_standing_still(start: Start) -> None:
    sandbox = start("streaming", streams=True)
    through = Through(sandbox, streams=True)
    legacy = LegacyPeer(through).connect()
    pieces = []
    event, _ = FUNCTION_URL.ask(
        "POST",
        "/mcp",
        json.dumps(
            legacy.message(
                "tools/call",
                {"name": "count", "arguments": {"last": 3, "pause": 0.5}, "_meta": {"progressToken": "p"}},
            )
        ).encode(),
        {**JSON_HEADERS, **legacy.headers},
    )
    for piece in sandbox.stream(event):
        # The first notification is here while the tool has yet to send the last.
        pieces.append((piece.count(PROGRESS), sandbox.api.is_idle.is_set()))
    assert sum(number for number, _ in pieces) == 3
    assert max(number for number, _ in pieces) == 1
    assert [idle for number, idle in pieces if number] == [False] * 3

    for seconds in (0.5, 3):
        assert sandbox.api.is_idle.wait(10)
        sandbox.signal(signal.SIGSTOP)
        calls = sum("ToolCalls" in line for line in sandbox.log.read_text().splitlines())
        time.sleep(seconds)
        sandbox.signal(signal.SIGCONT)
        assert legacy.call("store", key="seconds", value=seconds).text == str(seconds)
        assert sandbox.api.is_idle.wait(10)
        lines = sandbox.log.read_text().splitlines()
        # Written before the answer had ended: two lines, of the service and of the tool.
        assert sum("ToolCalls" in line for line in lines) == calls + 2
    assert "WORKER TIMEOUT" not in sandbox.log.read_text()


def test_a_call_that_takes_all_of_the_functions_time(start: Start) -> None:
    sandbox = start("streaming", streams=True)
    legacy = LegacyPeer(Through(sandbox, streams=True)).connect()
    sandbox.api.function_seconds = 3
    arguments = {"last": 1000, "pause": 0.1}
    cut = legacy.request("tools/call", {"name": "count", "arguments": arguments, "_meta": {"progressToken": "p"}})
    assert PROGRESS in cut.content
    assert cut.error["message"].startswith("The call was ended after 3 s, which is all that its function had.")
    first = cut.content.partition(b"id: ")[2].partition(b"\n")[0].decode()
    resumed = {**legacy.headers, "Accept": "text/event-stream", "Last-Event-ID": first}
    assert legacy.send("GET", b"", resumed).error == cut.error
    assert legacy.call("sleep", seconds=60).answer.error == cut.error


def test_a_question_in_mid_call_goes_by_two_sandboxes(start: Start) -> None:
    """The call keeps its sandbox, so the client's answer comes to another."""
    asking, answering = start("asking", streams=True), start("answering", streams=True)
    client = LegacyPeer(Through(asking, streams=True))
    handshake = client.request("initialize", {**HANDSHAKE, "capabilities": {"elicitation": {}}})
    client.headers |= {
        "Mcp-Session-Id": handshake.headers["Mcp-Session-Id"],
        "MCP-Protocol-Version": LEGACY,
    }
    event, _ = FUNCTION_URL.ask(
        "POST",
        "/mcp",
        json.dumps(client.message("tools/call", {"name": "ask", "arguments": {"question": "Which?"}})).encode(),
        {**JSON_HEADERS, **client.headers},
    )
    pieces: list[bytes] = []
    asked = threading.Event()

    def call() -> None:
        for piece in asking.stream(event):
            pieces.append(piece)
            if b"elicitation/create" in piece:
                asked.set()

    caller = threading.Thread(target=call)
    caller.start()
    assert asked.wait(30)
    question = json.loads(next(piece for piece in pieces if b"elicitation/create" in piece).split(b"data: ")[-1])
    other = LegacyPeer(Through(answering, streams=True), client.headers)
    answer = {"action": "accept", "content": {"colour": "blue"}}
    assert other.post({"jsonrpc": "2.0", "id": question["id"], "result": answer}).status == 202
    caller.join(30)
    last = json.loads(b"".join(pieces).split(b"data: ")[-1])
    assert last["result"]["content"][0]["text"] == "blue"


@pytest.mark.parametrize(
    "front", [Front("http-api-stage", "/prod", http_api("prod")), Front("rest", "/prod", rest("prod"))], ids=str
)
def test_a_stage_is_told_by_its_setting(start: Start, front: Front) -> None:
    """The adapter passes the path on as the event has it: with the stage, or without."""
    sandbox = start(front.name, streams=False, MCP_BASE_PATH="/prod")
    peer = LegacyPeer(Through(sandbox, front, streams=False)).connect()
    assert peer.request("ping").status == 200
    event, _ = front.ask("GET", "/admin/mcp/")
    assert received(sandbox.whole(event)).headers["Location"].startswith("/prod/admin/login/?next=/prod/admin/mcp/")
