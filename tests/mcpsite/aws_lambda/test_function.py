"""What a function that answers whole does, whatever front door is before it."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Final

import pytest
from pytest_django import Settings

from mcpsite.aws_lambda.doors import MalformedEvent
from mcpsite.aws_lambda.function import UnknownEvent
from mcpsite.door.buffered import in_buffered_function
from sessions_dynamo import metrics
from tests.mcpsite.aws_lambda.conftest import Handler
from tests.mcpsite.aws_lambda.events import CONTEXT, Front, alb, http_api, received, rest
from tests.mcpsite.peers import ENVELOPE, LegacyPeer, ModernPeer, Send

pytestmark = pytest.mark.usefixtures("dynamodb")

HTTP: Final = Front("http-api", "", http_api())
REST: Final = Front("rest", "/prod", rest("prod"))
STREAM: Final = {"Accept": "text/event-stream"}


@pytest.fixture
def send(behind: Callable[[Front], Send]) -> Send:
    return behind(HTTP)


@pytest.fixture
def streams_server(settings: Settings) -> None:
    settings.MCP_SERVER = "tests.aws_lambda.servers:mcp"


def test_a_tool_tells_where_it_ran(send: Send) -> None:
    executed = LegacyPeer(send).connect().call("lambda_operation", operation="resize", input=None).data
    assert executed["runtime"] == {
        "function_name": "sessions",
        "request_id": "6bc28136-xmpl",
        "memory_limit_mb": 512,
    }


# --- Streams ------------------------------------------------------------------------------------------------------


def test_a_get_ends_at_once_and_asks_to_come_back_seldom(send: Send) -> None:
    peer = LegacyPeer(send).connect()
    answer = peer.send("GET", b"", {**peer.headers, **STREAM})
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/event-stream"
    assert answer.content.endswith(b"retry: 30000\n\n")


def test_how_long_a_get_waits_can_be_set(send: Send, settings: Settings) -> None:
    settings.STREAM_SECONDS = 0.2
    peer = LegacyPeer(send).connect()
    assert peer.send("GET", b"", {**peer.headers, **STREAM}).content.endswith(b"retry: 1000\n\n")


def test_progress_comes_with_the_answer_and_again_to_who_resumes(send: Send, streams_server: None) -> None:
    peer = LegacyPeer(send).connect()
    params = {"name": "count", "arguments": {"last": 3}, "_meta": {"progressToken": "p"}}
    answer = peer.request("tools/call", params)
    assert answer.headers["Content-Type"] == "text/event-stream"
    assert answer.content.count(b"notifications/progress") == 3
    assert answer.result["content"][0]["text"] == "counted to 3"

    first = answer.content.split(b"\n", 1)[0].removeprefix(b"id: ").decode()
    again = peer.send("GET", b"", {**peer.headers, **STREAM, "Last-Event-ID": first})
    assert again.content.count(b"notifications/progress") == 3
    assert again.result == answer.result


def test_a_subscription_is_acknowledged_and_ended(send: Send) -> None:
    peer = ModernPeer(send)
    wanted = {"notifications": {"toolsListChanged": True}, "_meta": ENVELOPE}
    answer = peer.request("subscriptions/listen", wanted)
    frames = [json.loads(line[6:]) for line in answer.content.splitlines() if line.startswith(b"data: ")]
    acknowledged, ended = frames
    assert acknowledged["method"] == "notifications/subscriptions/acknowledged"
    assert ended["id"] == acknowledged["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"]
    assert ended["result"]["resultType"] == "complete"
    assert ended["result"]["_meta"] == {"io.modelcontextprotocol/subscriptionId": ended["id"]}


def test_a_tool_that_would_ask_its_client_is_told_what_to_use_instead(send: Send, streams_server: None) -> None:
    peer = LegacyPeer(send).connect()
    refused = peer.call("ask", question="Which colour?")
    assert refused.failed
    assert refused.text.startswith("This server cannot ask its client (elicitation/create) while a call runs")
    assert "2026-07-28" in refused.text
    assert "docs/lambda.md" in refused.text


def test_a_client_without_sessions_is_asked_between_two_rounds(send: Send, settings: Settings) -> None:
    settings.MCP_SERVER = "tests.live.servers_for_streams:mcp"
    capable = {**ENVELOPE, "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}}}
    peer = ModernPeer(send)
    params = {"name": "paint", "arguments": {"what": "a wall"}, "_meta": capable}
    asked = peer.request("tools/call", params).result
    assert asked["resultType"] == "input_required"
    (name,) = asked["inputRequests"]
    answers = {name: {"action": "accept", "content": {"colour": "blue"}}}
    again = {**params, "inputResponses": answers, "requestState": asked["requestState"]}
    assert "blue" in peer.request("tools/call", again).result["content"][0]["text"]


@pytest.mark.parametrize(
    ("variables", "is_buffered"),
    [
        ({}, False),
        ({"AWS_LAMBDA_FUNCTION_NAME": "sessions"}, True),
        ({"AWS_LAMBDA_FUNCTION_NAME": "sessions", "AWS_LWA_INVOKE_MODE": "buffered"}, True),
        ({"AWS_LAMBDA_FUNCTION_NAME": "sessions", "AWS_LWA_INVOKE_MODE": "RESPONSE_STREAM"}, False),
    ],
)
def test_what_tells_that_a_server_answers_whole(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], is_buffered: bool
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert in_buffered_function() is is_buffered


def test_a_site_that_fails_is_a_500_and_the_log_has_why(
    handler: Handler, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def site(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("no reason")

    monkeypatch.setattr(handler, "_site", site)
    event, _ = REST.ask("GET", "/x")
    answer = received(handler(event, CONTEXT))
    assert (answer.status, answer.error["message"]) == (500, "Internal server error")
    assert "no reason" in caplog.text


# --- Other events -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "event",
    [{}, {"Records": []}, [], "text", None, {"requestContext": {"eventType": "CONNECT", "connectionId": "x"}}],
)
def test_an_event_that_is_not_answered(handler: Handler, event: Any, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(UnknownEvent, match="This function answers HTTP requests of API Gateway") as refused:
        handler(event, CONTEXT)
    assert refused.value.__cause__ is None
    assert [record.levelno for record in caplog.records if record.name.startswith("mcpsite")] == [logging.ERROR]


@pytest.mark.parametrize(
    ("front", "change"),
    [
        (HTTP, {"requestContext": {"http": {}}}),
        (HTTP, {"isBase64Encoded": True, "body": "abcde"}),
        (HTTP, {"isBase64Encoded": True, "body": "%%%%"}),
        (HTTP, {"body": {"jsonrpc": "2.0"}}),
        (HTTP, {"headers": ["host"]}),
        (HTTP, {"cookies": [None]}),
        (HTTP, {"rawPath": 5}),
        (REST, {"httpMethod": None}),
        (Front("alb", "", alb(many=False)), {"httpMethod": 1}),
    ],
)
def test_an_event_that_no_front_door_makes_says_so(handler: Handler, front: Front, change: dict[str, Any]) -> None:
    event, _ = front.ask("GET", "/healthz")
    with pytest.raises(MalformedEvent, match="has the form of a front door's, but a part is missing or not as it"):
        handler({**event, **change}, CONTEXT)


def test_what_a_health_check_of_a_balancer_lacks_is_not_needed(handler: Handler) -> None:
    """Its event, as AWS documents it."""
    event = {
        "requestContext": {"elb": {"targetGroupArn": "arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/x/y"}},
        "httpMethod": "GET",
        "path": "/healthz",
        "queryStringParameters": {},
        "headers": {"user-agent": "ELB-HealthChecker/2.0"},
        "body": "",
        "isBase64Encoded": False,
    }
    assert received(handler(event, CONTEXT)).status == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_an_event_that_keeps_a_sandbox_warm(handler: Handler, path: str) -> None:
    """As docs/lambda.md has it, for a schedule."""
    event = {"requestContext": {"http": {"method": "GET"}}, "rawPath": path}
    assert received(handler(event, CONTEXT)).status == 200


@pytest.mark.parametrize("path", ["/healthz", "/admin/login/", "/mcp"])
def test_head_has_the_headers_of_an_answer_and_no_body(handler: Handler, path: str) -> None:
    event, _ = HTTP.ask("HEAD", path)
    answer = received(handler(event, CONTEXT))
    assert answer.content == b""
    assert int(answer.headers["Content-Length"]) > 0


@pytest.fixture
def output(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What the process writes, with metrics on."""
    settings.METRICS = "emf"
    output = io.StringIO()
    monkeypatch.setattr("sessions_dynamo.metrics.emf.sys", SimpleNamespace(stdout=output))
    metrics.flush()
    yield output
    metrics.flush()


def test_metrics_are_written_before_the_answer_leaves(send: Send, output: io.StringIO) -> None:
    peer = LegacyPeer(send).connect()
    peer.call("store_app_state", key="colour", data="blue")
    lines = [json.loads(line) for line in output.getvalue().splitlines()]
    assert sum(line.get("ToolCalls", 0) for line in lines if "Tool" not in line) == 1


def test_a_project_of_ones_own(handler: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As docs/lambda.md writes it."""
    page = (Path(__file__).parents[3] / "docs" / "lambda.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.setitem(sys.modules, "mysite", ModuleType("mysite"))
    monkeypatch.setitem(sys.modules, "mysite.asgi", module := ModuleType("mysite.asgi"))
    module.site = handler._site  # type: ignore[attr-defined]
    # What it registers is of this test.
    for registry in ("_before_snapshot_registry", "_after_restore_registry"):
        monkeypatch.setattr(f"snapshot_restore_py.{registry}", [])
    names: dict[str, Any] = {}
    exec(code, names)
    event, _ = REST.ask("GET", "/healthz")
    assert received(names["handler"](event, CONTEXT)).status == 200
    names["handler"].close()
