"""One JSON-RPC message from a body's bytes: what is accepted, and how the rest is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from mcp_types import (
    INVALID_REQUEST,
    PARSE_ERROR,
    JSONRPCError,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
)

from mcpsite.endpoint.wire.messages import MAX_DEPTH, InvalidMessage, Message, parse_message
from tests.mcpsite.bodies import BATCHES, NOT_JSON, SCALARS, WRONG_MEMBERS, nested


def _parse(message: Any) -> Message:
    return parse_message(json.dumps(message).encode())


def _refusal(body: bytes) -> InvalidMessage:
    with pytest.raises(InvalidMessage) as caught:
        parse_message(body)
    return caught.value


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ({"jsonrpc": "2.0", "id": 1, "method": "ping"}, JSONRPCRequest),
        ({"jsonrpc": "2.0", "id": "a", "method": "ping", "params": {}}, JSONRPCRequest),
        ({"jsonrpc": "2.0", "id": 10**30, "method": "ping"}, JSONRPCRequest),
        ({"jsonrpc": "2.0", "method": "notifications/initialized"}, JSONRPCNotification),
        ({"jsonrpc": "2.0", "id": 1, "result": {}}, JSONRPCResponse),
        ({"jsonrpc": "2.0", "id": 1, "error": {"code": 1, "message": "no"}}, JSONRPCError),
        ({"jsonrpc": "2.0", "id": None, "error": {"code": 1, "message": "no"}}, JSONRPCError),
        ({"jsonrpc": "2.0", "id": 1, "method": "ping", "result": {}, "extra": 1}, JSONRPCRequest),
    ],
)
def test_the_members_present_tell_the_kind(message: Any, kind: type[Message]) -> None:
    assert type(_parse(message)) is kind


@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON)
def test_what_is_no_json_is_a_parse_error_without_an_id(body: bytes) -> None:
    refusal = _refusal(body)
    assert refusal.code == PARSE_ERROR
    assert refusal.request_id is None
    assert str(refusal).startswith("Parse error")


def test_bad_utf8_is_located() -> None:
    assert "UTF-8 at byte 4" in str(_refusal(b'"abc\xff"'))


@pytest.mark.parametrize("body", SCALARS.values(), ids=SCALARS)
def test_a_scalar_is_no_message(body: bytes) -> None:
    refusal = _refusal(body)
    assert (refusal.code, refusal.request_id) == (INVALID_REQUEST, None)


@pytest.mark.parametrize("body", BATCHES.values(), ids=BATCHES)
def test_a_batch_is_refused_by_name(body: bytes) -> None:
    refusal = _refusal(body)
    assert refusal.code == INVALID_REQUEST
    assert "batches are not supported" in str(refusal)


@pytest.mark.parametrize(("message", "member", "request_id"), WRONG_MEMBERS.values(), ids=WRONG_MEMBERS)
def test_a_wrong_member_is_named_and_the_id_repeated_where_it_can_be_read(
    message: Any, member: str, request_id: Any
) -> None:
    refusal = _refusal(json.dumps(message).encode())
    assert refusal.code == INVALID_REQUEST
    assert member in str(refusal)
    assert refusal.request_id == request_id


def test_a_refusal_repeats_nothing_of_the_body() -> None:
    message = {"jsonrpc": "2.0", "id": 1, "method": 7, "params": "hunter2", "hunter2": "hunter2"}
    assert "hunter2" not in str(_refusal(json.dumps(message).encode()))


def test_nesting_is_allowed_up_to_the_limit_and_no_further() -> None:
    # The message and its params are levels one and two.
    def message(levels: int) -> bytes:
        return json.dumps({"jsonrpc": "2.0", "id": 5, "method": "x", "params": {"a": nested(levels - 2)}}).encode()

    assert isinstance(parse_message(message(MAX_DEPTH)), JSONRPCRequest)
    refusal = _refusal(message(MAX_DEPTH + 1))
    assert (refusal.code, refusal.request_id) == (INVALID_REQUEST, 5)
    assert f"deeper than {MAX_DEPTH}" in str(refusal)


def test_a_wide_message_is_not_a_deep_one() -> None:
    params = {str(number): [number] * 10 for number in range(10_000)}
    assert isinstance(_parse({"jsonrpc": "2.0", "id": 1, "method": "x", "params": params}), JSONRPCRequest)
