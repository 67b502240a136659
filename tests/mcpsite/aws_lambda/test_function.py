"""The site as a Lambda function behind an HTTP API, a function URL or an ALB."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from django.test import override_settings

from tests.mcpsite.peers import Answer, LegacyPeer

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

CONTEXT = SimpleNamespace(function_name="sessions", aws_request_id="6bc28136-xmpl", memory_limit_in_mb="512")


def _send(method: str, body: bytes, headers: Mapping[str, str]) -> Answer:
    """One event of payload format 2.0."""
    # A production start would refuse the tests' settings.
    with override_settings(DEBUG=True):
        from mcpsite.lambda_handler import handler

    event = {
        "version": "2.0",
        "rawPath": "/mcp",
        "rawQueryString": "",
        "headers": {"host": "testserver", "content-length": str(len(body)), **headers},
        "requestContext": {
            "http": {"method": method, "path": "/mcp", "protocol": "HTTP/1.1", "sourceIp": "203.0.113.7"}
        },
        "body": body.decode(),
        "isBase64Encoded": False,
    }
    answer: dict[str, Any] = handler(event, CONTEXT)
    content = b64decode(answer["body"]) if answer["isBase64Encoded"] else answer["body"].encode()
    return Answer(answer["statusCode"], _titled(answer["headers"]), content)


def _titled(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.title(): value for name, value in headers.items()}


@pytest.fixture
def peer(dynamodb: DynamoDBClient) -> LegacyPeer:
    return LegacyPeer(_send).connect()


def test_a_session_lives_from_one_invocation_to_the_next(peer: LegacyPeer) -> None:
    assert peer.call("store_app_state", key="colour", data="blue").data["stored"] is True
    assert peer.call("get_app_state", key="colour").data["data"] == "blue"


def test_a_tool_tells_where_it_ran(peer: LegacyPeer) -> None:
    executed = peer.call("lambda_operation", operation="resize", input=None).data
    assert executed["runtime"] == {
        "function_name": "sessions",
        "request_id": "6bc28136-xmpl",
        "memory_limit_mb": 512,
    }


def test_a_stream_replays_and_closes(peer: LegacyPeer, settings: Any) -> None:
    settings.STREAM_SECONDS = 0
    answer = peer.send("GET", b"", {**peer.headers, "Accept": "text/event-stream"})
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/event-stream"
