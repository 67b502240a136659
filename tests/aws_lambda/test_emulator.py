"""``awslambdaric`` in AWS's emulator, frozen after each answer: what was answered is written, and nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.aws_lambda.relay import relayed
from tests.aws_lambda.sandboxes import emulated, function_environment
from tests.engines import on_moto
from tests.mcpsite.peers import LegacyPeer, ModernPeer

pytestmark = on_moto


@pytest.fixture
def settings_of_a_function(engine: tuple[str, str], tmp_path: Path) -> Iterator[dict[str, str]]:
    with function_environment(engine[1], tmp_path, MCP_SERVER="tests.aws_lambda.servers:mcp") as settings:
        yield settings


def _items(settings: dict[str, str], session_id: str | None) -> list[str]:
    """The sort keys of what the events table has of a session."""
    client = boto3.client(
        "dynamodb",
        endpoint_url=settings["AWS_ENDPOINT_URL"],
        region_name="eu-west-1",
        aws_access_key_id="conformance",
        aws_secret_access_key="conformance",
    )
    found = client.query(
        TableName=settings["DYNAMODB_EVENTS_TABLE"],
        KeyConditionExpression="session_id = :session",
        ExpressionAttributeValues={":session": {"S": session_id}},
    )
    return [item["event_id"]["S"] for item in found["Items"]]


def _total(lines: list[dict[str, Any]], metric: str) -> int:
    """Of the service as a whole."""
    return sum(line.get(metric, 0) for line in lines if "Tool" not in line)


def test_what_was_answered_is_written_when_the_process_stands_still(
    settings_of_a_function: dict[str, str], tmp_path: Path
) -> None:
    settings, log = settings_of_a_function, tmp_path / "function.log"
    with emulated(settings, log) as function:
        legacy = LegacyPeer(function).connect()
        # The handshake itself is a record; its notification is none.
        assert len(_items(settings, legacy.session_id)) == 1
        for number in range(1, 4):
            assert legacy.call("store", key="number", value=number).text == str(number)
            assert len(_items(settings, legacy.session_id)) == 1 + number
            assert _total(function.metrics(), "ToolCalls") == number
        counted = legacy.request(
            "tools/call", {"name": "count", "arguments": {"last": 3}, "_meta": {"progressToken": "p"}}
        )
        # Delivered together, in one body.
        assert counted.content.count(b"notifications/progress") == 3
        assert counted.result["content"][0]["text"] == "counted to 3"
        stream = [key for key in _items(settings, legacy.session_id) if not key.startswith("call.")]
        # The priming event, three notifications, the owner's lease and the end.
        assert len(stream) == 6
        assert legacy.send("GET", b"", {**legacy.headers, "Accept": "text/event-stream"}).status == 200

        modern = ModernPeer(function)
        for number in range(1, 4):
            assert not modern.call("store", key="number", value=number).failed
        assert [key[:5] for key in _items(settings, modern.session_id)] == ["call."] * 3
        assert _total(function.metrics(), "ToolCalls") == 7
        assert _total(function.metrics(), "SessionCreated") == 2
    # The processes were killed where they stood still; another takes over.
    with emulated(settings, tmp_path / "other.log") as function:
        legacy.send = modern.send = function
        assert legacy.call("load", key="number").text == "3"
        assert modern.call("load", key="number").text == "3"


def test_connections_that_end_while_the_process_stands_still(engine: tuple[str, str], tmp_path: Path) -> None:
    with relayed(engine[1]) as relay, function_environment(relay.url, tmp_path) as settings:
        log = tmp_path / "function.log"
        with emulated(settings, log) as function:
            function.meanwhile = relay.cut
            peer = LegacyPeer(function).connect()
            for count in range(1, 5):
                made = relay.connections
                executed = peer.call("lambda_operation", operation="resize", input=count)
                # Once each, whatever had to be sent again.
                assert executed.data["execution_count"] == count
                assert relay.connections > made
            assert [line for line in log.read_text().splitlines() if "ERROR" in line or "Traceback" in line] == []
            kept = [key for key in _items(settings, peer.session_id) if key.startswith("call.")]
            assert len(kept) == 5


def test_a_schedule_and_what_is_not_answered(settings_of_a_function: dict[str, str], tmp_path: Path) -> None:
    with emulated(settings_of_a_function, tmp_path / "function.log") as function:
        rule = {"source": "aws.events", "detail-type": "Scheduled Event", "resources": [], "detail": {}}
        assert function.invoke(rule)["result"]["outcome"] == "complete"
        refused = function.invoke({"Records": []})
        assert refused["errorType"] == "UnknownEvent"
        assert refused["errorMessage"].startswith("This function answers HTTP requests")
        # It is alive, and answers the next.
        assert LegacyPeer(function).connect().request("ping").status == 200
