"""Whatever is sent: no 500, and always a JSON-RPC error, a result, or an accepted notification."""

from __future__ import annotations

import json
from typing import Any, Final

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sessions_dynamo import schema
from tests.mcpsite.peers import ENVELOPE, HANDSHAKE, LEGACY, MODERN, Answer, InProcess, LegacyPeer

FUZZ: Final = settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)

# With lone surrogates, which JSON can spell and UTF-8 cannot carry.
TEXTS = st.text(max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=10,
)
TOOLS = st.sampled_from(["store_app_state", "get_app_state", "lambda_operation", "global_state", "dynamodb_info"])
ARGUMENT_NAMES = ("key", "data", "operation", "input", "region", "session_id", "ctx", "session", "sent")
ARGUMENTS = st.fixed_dictionaries({}, optional=dict.fromkeys(ARGUMENT_NAMES, JSON))
# Not subscriptions/listen, whose answer is a stream that stays open.
METHODS = st.sampled_from(
    [
        "initialize",
        "ping",
        "tools/list",
        "tools/call",
        "server/discover",
        "prompts/list",
        "prompts/get",
        "resources/list",
        "resources/read",
        "resources/subscribe",
        "resources/templates/list",
        "completion/complete",
        "logging/setLevel",
        "notifications/initialized",
        "notifications/cancelled",
        "notifications/progress",
    ]
)
PARAMS = (
    JSON
    | st.fixed_dictionaries({"name": TOOLS | JSON, "arguments": ARGUMENTS | JSON}, optional={"_meta": JSON})
    | st.fixed_dictionaries({"_meta": st.just(ENVELOPE), "name": TOOLS, "arguments": ARGUMENTS})
    | st.just(HANDSHAKE)
    | st.dictionaries(st.sampled_from([*HANDSHAKE, "_meta", "cursor", "uri", "level", "requestId"]), JSON, max_size=4)
)
MESSAGES = st.fixed_dictionaries(
    {},
    optional={
        "jsonrpc": st.just("2.0") | JSON,
        "id": st.integers() | TEXTS | JSON,
        "method": METHODS | JSON,
        "params": PARAMS,
        "result": JSON,
        "error": JSON | st.fixed_dictionaries({"code": st.integers(), "message": TEXTS}),
    },
)
REQUESTS = st.fixed_dictionaries(
    {"jsonrpc": st.just("2.0"), "id": st.integers() | TEXTS, "method": METHODS, "params": PARAMS}
)
BODIES = st.binary(max_size=200) | (JSON | MESSAGES | REQUESTS | st.lists(MESSAGES, max_size=2)).map(
    lambda message: json.dumps(message).encode()
)
# What any server lets through: visible ASCII, and bytes that it decodes as Latin-1.
HEADER_VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=40)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "Accept": st.sampled_from(["application/json", "text/event-stream", "*/*", "text/html"]) | HEADER_VALUES,
        "MCP-Protocol-Version": st.sampled_from([LEGACY, MODERN, "2024-11-05", "2999-01-01"]) | HEADER_VALUES,
        "Mcp-Method": METHODS | HEADER_VALUES,
        "Mcp-Name": TOOLS | HEADER_VALUES,
        "Mcp-Param-Region": HEADER_VALUES,
        "Mcp-Session-Id": HEADER_VALUES,
        "Last-Event-ID": HEADER_VALUES,
        "Host": st.sampled_from(["testserver", "localhost"]) | HEADER_VALUES,
        "Origin": st.sampled_from(["http://testserver", "null"]) | HEADER_VALUES,
        "Cookie": HEADER_VALUES,
        "Authorization": HEADER_VALUES,
        "X-Forwarded-Host": HEADER_VALUES,
    },
)


def check(answer: Answer) -> None:
    """The form that every answer has."""
    assert answer.status < 500, answer
    if answer.status == 202 or (answer.status == 200 and not answer.content):
        assert answer.content == b""
        return
    assert answer.headers["Content-Type"] in ("application/json", "text/event-stream"), answer
    body = answer.body
    assert body["jsonrpc"] == "2.0"
    assert ("result" in body) != ("error" in body)
    assert "id" in body
    if "error" in body:
        assert answer.error["code"]
    else:
        assert answer.status == 200


@FUZZ
@given(body=BODIES)
@example(body=b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"\\ud800"}}')
@example(body=b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_app_state","arguments":{"":0}}}')
@example(body=b'{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"progressToken":[]}}}')
@example(body=b'{"jsonrpc":"2.0","id":"\\udfff","method":"\\ud800"}')
@example(body=b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":{}}}')
@example(body=b'{"jsonrpc":"2.0","id":1,"error":{"code":' + b"9" * 400 + b',"message":""}}')
@example(body=b'{"jsonrpc":"2.0","id":' + b"9" * 4000 + b',"method":"ping"}')
def test_any_body_of_a_session_is_answered_in_form(legacy: LegacyPeer, body: bytes) -> None:
    check(legacy.post(body))


@FUZZ
@given(body=BODIES)
def test_any_body_without_a_session_is_answered_in_form(legacy: LegacyPeer, body: bytes) -> None:
    check(legacy.post(body, {"Mcp-Session-Id": None, "MCP-Protocol-Version": None}))


@FUZZ
@given(message=REQUESTS, version=st.sampled_from([MODERN, "2999-01-01"]))
def test_any_request_with_matching_headers_is_answered_in_form(
    legacy: LegacyPeer, message: dict[str, Any], version: str
) -> None:
    name = (message["params"] or {}).get("name") if isinstance(message["params"], dict) else None
    headers = {"MCP-Protocol-Version": version, "Mcp-Method": message["method"], "Mcp-Session-Id": None}
    if isinstance(name, str) and name.isascii() and name.isprintable():
        headers["Mcp-Name"] = name
    check(legacy.post(message, headers))


@FUZZ
@given(body=REQUESTS.map(lambda message: json.dumps(message).encode()) | BODIES, headers=HEADERS)
def test_any_headers_are_answered_in_form(legacy: LegacyPeer, body: bytes, headers: dict[str, str]) -> None:
    check(legacy.post(body, headers))


@FUZZ
@given(method=st.sampled_from(["GET", "DELETE", "PUT", "PATCH", "OPTIONS", "X"]), headers=HEADERS)
def test_any_method_is_answered_in_form(legacy: LegacyPeer, method: str, headers: dict[str, str]) -> None:
    # Never the client's own session, whose stream would stay open.
    check(InProcess()(method, b"", {"Mcp-Session-Id": schema.new_session_id(), **headers}))


@FUZZ
@given(tool=TOOLS, arguments=ARGUMENTS, modern=st.booleans())
def test_any_arguments_are_answered_in_form(
    legacy: LegacyPeer, tool: str, arguments: dict[str, Any], modern: bool
) -> None:
    params = {"name": tool, "arguments": arguments, **({"_meta": ENVELOPE} if modern else {})}
    headers = {"MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/call", "Mcp-Name": tool} if modern else {}
    answer = legacy.request("tools/call", params, headers)
    check(answer)
    # NaN and infinities, which json.dumps writes and JSON has not.
    assert answer.status == 200 or answer.error["message"].startswith("Parse error")
