"""The same requests to the SDK's own Streamable HTTP entry and to ours: status, error and result are equal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from mcp_types import CLIENT_CAPABILITIES_META_KEY, CLIENT_INFO_META_KEY, PROTOCOL_VERSION_META_KEY
from pytest_django import Settings

from tests.mcpsite.peers import ENVELOPE, HANDSHAKE, MODERN, Answer, InProcess, LegacyPeer, ModernPeer, Peer
from tests.mcpsite.reference import Reference
from tests.mcpsite.servers import with_headers

ROUTE = {"name": "route", "arguments": {"region": "eu"}}


@pytest.fixture(scope="module")
def reference() -> Iterator[Reference]:
    reference = Reference(with_headers(), json=False)
    with reference.client:
        yield reference


@pytest.fixture(scope="module")
def json_reference() -> Iterator[Reference]:
    reference = Reference(with_headers(), json=True)
    with reference.client:
        yield reference


@pytest.fixture
def ours(dynamodb: object, settings: Settings) -> InProcess:
    settings.MCP_SERVER = "tests.mcpsite.servers:mirrored"
    return InProcess()


def _shape(answer: Answer) -> Any:
    """What must be equal: the SDK answers some refusals of the transport with a bare status."""
    body = answer.body if answer.content.startswith(b"{") else None
    return answer.status, body


MODERN_REQUESTS: dict[str, tuple[str, dict[str, Any], dict[str, str | None]]] = {
    "list": ("tools/list", {}, {}),
    "call": ("tools/call", ROUTE, {"Mcp-Param-Region": "eu"}),
    "number of a call": (
        "tools/call",
        {"name": "route", "arguments": {"region": "eu", "size": 42}},
        {"Mcp-Param-Region": "eu", "Mcp-Param-Size": "42"},
    ),
    "param header missing": ("tools/call", ROUTE, {}),
    "param header differs": ("tools/call", ROUTE, {"Mcp-Param-Region": "us"}),
    "param header without an argument": ("tools/call", ROUTE, {"Mcp-Param-Region": "eu", "Mcp-Param-Size": "1"}),
    "param header malformed": ("tools/call", ROUTE, {"Mcp-Param-Region": "=?base64?!?="}),
    "crash": ("tools/call", {"name": "crash", "arguments": {}}, {}),
    "refusal": ("tools/call", {"name": "refuse", "arguments": {"code": -32603}}, {}),
    "refusal with a mapped code": ("tools/call", {"name": "refuse", "arguments": {"code": -32601}}, {}),
    "unknown tool": ("tools/call", {"name": "nope", "arguments": {}}, {}),
    "arguments missing": ("tools/call", {"name": "refuse"}, {}),
    "arguments of a wrong type": ("tools/call", {"name": "refuse", "arguments": []}, {}),
    "no name": ("tools/call", {}, {}),
    "number as name": ("tools/call", {"name": 3}, {}),
    "unknown method": ("nope", {}, {}),
    "method of the old era": ("ping", {}, {}),
    "initialize": ("initialize", HANDSHAKE, {}),
    "method header missing": ("tools/list", {}, {"Mcp-Method": None}),
    "method header differs": ("tools/list", {}, {"Mcp-Method": "tools/call"}),
    "name header missing": ("tools/call", ROUTE, {"Mcp-Name": None, "Mcp-Param-Region": "eu"}),
    "name header differs": ("tools/call", ROUTE, {"Mcp-Name": "crash", "Mcp-Param-Region": "eu"}),
    "uri of no resource": ("resources/read", {"uri": "x://nope"}, {}),
    "uri header differs": ("resources/read", {"uri": "x://nope"}, {"Mcp-Name": "x://other"}),
    "version header differs": ("tools/list", {}, {"MCP-Protocol-Version": "2999-01-01"}),
    "version unsupported": (
        "tools/list",
        {"_meta": {**ENVELOPE, PROTOCOL_VERSION_META_KEY: "2999-01-01"}},
        {"MCP-Protocol-Version": "2999-01-01"},
    ),
    "version of a wrong type": ("tools/list", {"_meta": {**ENVELOPE, PROTOCOL_VERSION_META_KEY: 7}}, {}),
    "no envelope": ("tools/list", {"_meta": None}, {}),
    "envelope of a wrong type": ("tools/list", {"_meta": []}, {}),
    "envelope without capabilities": (
        "tools/list",
        {"_meta": {name: value for name, value in ENVELOPE.items() if name != CLIENT_CAPABILITIES_META_KEY}},
        {},
    ),
    "client of a wrong type": ("tools/list", {"_meta": {**ENVELOPE, CLIENT_INFO_META_KEY: 5}}, {}),
    "capabilities of a wrong type": ("tools/list", {"_meta": {**ENVELOPE, CLIENT_CAPABILITIES_META_KEY: "x"}}, {}),
    "cursor of nowhere": ("tools/list", {"cursor": "nope"}, {}),
    "json alone accepted": ("tools/list", {}, {"Accept": "application/json"}),
    "stream alone accepted": ("tools/list", {}, {"Accept": "text/event-stream"}),
    "nothing accepted": ("tools/list", {}, {"Accept": "text/html"}),
    "anything accepted": ("tools/list", {}, {"Accept": "*/*"}),
    "not json": ("tools/list", {}, {"Content-Type": "text/plain"}),
}


@pytest.mark.parametrize(("method", "params", "headers"), MODERN_REQUESTS.values(), ids=MODERN_REQUESTS)
def test_a_request_without_session_is_answered_alike(
    reference: Reference, ours: InProcess, method: str, params: dict[str, Any], headers: dict[str, str | None]
) -> None:
    theirs = ModernPeer(reference).request(method, params, headers)
    answer = ModernPeer(ours).request(method, params, headers)

    assert answer.status == theirs.status
    if theirs.content.startswith(b"{"):
        assert answer.body == theirs.body
        assert answer.headers["Content-Type"] == theirs.headers["Content-Type"]


MODERN_BODIES: dict[str, bytes] = {
    "empty": b"",
    "cut": b"{",
    "not UTF-8": b'{"method": "\xff"}',
    "5000 digits": b"9" * 5000,
    "nested": b"[" * 100_000,
    "number": b"1",
    "null": b"null",
    "batch": b"[]",
    "true as id": b'{"jsonrpc": "2.0", "id": true, "method": "tools/list"}',
    "null as id": b'{"jsonrpc": "2.0", "id": null, "method": "tools/list"}',
    "no params": b'{"jsonrpc": "2.0", "id": 1, "method": "tools/list"}',
    "version 1.0": b'{"jsonrpc": "1.0", "id": 1, "method": "tools/list"}',
    "response": b'{"jsonrpc": "2.0", "id": 1, "result": {}}',
    "notification": b'{"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}',
    "notification without method": b'{"jsonrpc": "2.0"}',
}


@pytest.mark.parametrize("version", [MODERN, "2999-01-01"])
@pytest.mark.parametrize("body", MODERN_BODIES.values(), ids=MODERN_BODIES)
def test_a_body_without_session_has_the_same_status_and_code(
    reference: Reference, ours: InProcess, body: bytes, version: str
) -> None:
    headers = {"MCP-Protocol-Version": version, "Mcp-Method": "tools/list"}
    theirs, answer = Peer(reference).post(body, headers), Peer(ours).post(body, headers)

    assert answer.status == theirs.status
    if theirs.content:
        assert answer.error["code"] == theirs.error["code"]
        assert answer.error.get("data") == theirs.error.get("data")


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
def test_a_method_without_session_has_the_same_status(reference: Reference, ours: InProcess, method: str) -> None:
    headers = {"MCP-Protocol-Version": MODERN, "Accept": "text/event-stream"}
    theirs, answer = reference(method, b"", headers), ours(method, b"", headers)
    assert (answer.status, answer.headers["Allow"]) == (theirs.status, theirs.headers["Allow"])


LEGACY_REQUESTS: dict[str, tuple[str, Any]] = {
    "ping": ("ping", None),
    "list": ("tools/list", None),
    "call": ("tools/call", ROUTE),
    "crash": ("tools/call", {"name": "crash"}),
    "refusal": ("tools/call", {"name": "refuse", "arguments": {"code": -32601}}),
    "unknown tool": ("tools/call", {"name": "nope"}),
    "arguments missing": ("tools/call", {"name": "route"}),
    "arguments of a wrong type": ("tools/call", {"name": "route", "arguments": 1}),
    "no params": ("tools/call", None),
    "unknown method": ("nope", None),
    "method of the new era": ("server/discover", None),
    "wrong handshake": ("initialize", {}),
}


@pytest.mark.parametrize(("method", "params"), LEGACY_REQUESTS.values(), ids=LEGACY_REQUESTS)
def test_a_request_of_a_session_is_answered_alike(
    json_reference: Reference, ours: InProcess, method: str, params: Any
) -> None:
    theirs = LegacyPeer(json_reference).connect().request(method, params)
    answer = LegacyPeer(ours).connect().request(method, params)
    assert (answer.status, answer.body) == (theirs.status, theirs.body)


def test_a_request_before_initialized_is_answered_alike(json_reference: Reference, ours: InProcess) -> None:
    shapes = []
    for send in (json_reference, ours):
        peer = LegacyPeer(send)
        peer.headers["Mcp-Session-Id"] = peer.request("initialize", HANDSHAKE).headers["Mcp-Session-Id"]
        shapes.append(_shape(peer.request("tools/list")))
    assert shapes[0] == shapes[1]


def test_a_session_that_is_missing_unknown_or_ended_has_the_same_status(
    json_reference: Reference, ours: InProcess
) -> None:
    statuses = []
    for send in (json_reference, ours):
        peer = LegacyPeer(send)
        missing = peer.request("ping")
        peer.headers["Mcp-Session-Id"] = "unknown"
        unknown, unended = peer.request("ping"), peer.end()
        del peer.headers["Mcp-Session-Id"]
        ended, gone = peer.connect().end(), peer.request("ping")
        statuses.append([answer.status for answer in (missing, unknown, unended, ended, gone)])
    assert statuses[0] == statuses[1] == [400, 404, 404, 200, 404]
