"""What each kind of request costs in DynamoDB requests, besides the touch once a minute."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sessions_dynamo.store import session_items
from tests.mcpsite.conftest import Wire, on_both_engines
from tests.mcpsite.peers import HANDSHAKE, InProcess, LegacyPeer, ModernPeer

pytestmark = on_both_engines


def test_initialize_is_one_write(wire: Wire) -> None:
    LegacyPeer(InProcess()).request("initialize", HANDSHAKE)
    assert wire.operations == ["PutItem"]


def test_a_refused_handshake_is_free(wire: Wire) -> None:
    LegacyPeer(InProcess()).request("initialize", {})
    assert wire.operations == []


def test_initialized_is_a_read_and_a_write_the_first_time(wire: Wire) -> None:
    peer = LegacyPeer(InProcess())
    peer.headers["Mcp-Session-Id"] = peer.request("initialize", HANDSHAKE).headers["Mcp-Session-Id"]
    wire.clear()
    peer.notify("notifications/initialized")
    peer.notify("notifications/initialized")
    assert wire.operations == ["GetItem", "UpdateItem", "GetItem"]


@pytest.mark.parametrize("method", ["ping", "tools/list", "nope"])
def test_a_request_without_state_is_one_consistent_read(legacy: LegacyPeer, wire: Wire, method: str) -> None:
    wire.clear()
    legacy.request(method)
    assert wire.operations == ["GetItem"]
    assert wire.requests[0].params["ConsistentRead"] is True


@pytest.mark.parametrize("key", ["colour", "nothing"])
def test_a_call_that_only_reads_is_one_read(legacy: LegacyPeer, wire: Wire, key: str) -> None:
    legacy.call("store_app_state", key="colour", data="blue")
    wire.clear()
    legacy.call("get_app_state", key=key)
    assert wire.operations == ["GetItem"]


def test_a_large_value_is_one_read_more(legacy: LegacyPeer, wire: Wire) -> None:
    legacy.call("store_app_state", key="big", data="x" * 5000)
    wire.clear()
    legacy.call("get_app_state", key="big")
    assert wire.operations == ["GetItem", "GetItem"]
    assert all(sent.params["ConsistentRead"] is True for sent in wire.requests)


def test_a_call_that_changes_state_is_a_read_and_a_write(legacy: LegacyPeer, wire: Wire) -> None:
    wire.clear()
    legacy.call("store_app_state", key="colour", data="blue")
    legacy.call("store_app_state", key="colour", data="red")
    assert wire.operations == ["GetItem", "UpdateItem"] * 2


def test_a_call_that_counts_is_one_write_more(legacy: LegacyPeer, wire: Wire) -> None:
    wire.clear()
    legacy.call("lambda_operation", operation="x", input=1)
    assert wire.operations == ["GetItem", "UpdateItem", "UpdateItem"]


@pytest.mark.parametrize(
    ("tool", "arguments"), [("nope", {}), ("store_app_state", {}), ("store_app_state", {"key": 7})]
)
def test_a_call_that_fails_is_one_read(legacy: LegacyPeer, wire: Wire, tool: str, arguments: dict[str, object]) -> None:
    wire.clear()
    assert legacy.call(tool, **arguments).failed
    assert wire.operations == ["GetItem"]


def test_delete_is_one_write_and_three_requests_for_who_else_serves_the_session(legacy: LegacyPeer, wire: Wire) -> None:
    wire.clear()
    legacy.end()
    assert wire.operations == ["UpdateItem", "PutItem", "Query", "GetItem"]


def test_what_is_refused_before_its_session_is_looked_for_is_free(legacy: LegacyPeer, wire: Wire) -> None:
    wire.clear()
    legacy.post(b"{")
    legacy.post([])
    legacy.request("ping", headers={"Accept": "text/html"})
    legacy.request("ping", headers={"Mcp-Session-Id": None})
    legacy.request("ping", headers={"Mcp-Session-Id": "no such id!"})
    legacy.request("ping", headers={"Origin": "https://evil.example.com"})
    assert wire.operations == []


def test_activity_is_written_once_a_minute(legacy: LegacyPeer, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    later = session_items.floor(datetime.now(UTC)) + timedelta(minutes=1)
    monkeypatch.setattr(session_items, "floor", lambda _: later)
    wire.clear()
    legacy.request("ping")
    legacy.request("ping")
    assert wire.operations == ["GetItem", "UpdateItem", "GetItem"]


# --- Without sessions -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["tools/list", "server/discover", "nope"])
def test_a_request_without_session_is_free(modern: ModernPeer, wire: Wire, method: str) -> None:
    modern.request(method)
    assert wire.operations == []


def test_a_notification_without_session_is_free(modern: ModernPeer, wire: Wire) -> None:
    modern.post({"jsonrpc": "2.0", "method": "notifications/cancelled"}, {"MCP-Protocol-Version": "2026-07-28"})
    assert wire.operations == []


def test_a_read_without_handle_is_free(modern: ModernPeer, wire: Wire) -> None:
    modern.call("get_app_state", key="a")
    assert wire.operations == []


def test_a_handle_costs_one_write_and_its_use_what_a_session_costs(modern: ModernPeer, wire: Wire) -> None:
    modern.call("store_app_state", key="a", data=1)
    assert wire.operations == ["PutItem"]
    wire.clear()
    modern.call("store_app_state", key="a", data=2)
    modern.call("get_app_state", key="a")
    assert wire.operations == ["GetItem", "UpdateItem", "GetItem"]


def test_a_first_count_is_the_session_the_count_and_the_state(modern: ModernPeer, wire: Wire) -> None:
    modern.call("lambda_operation", operation="x", input=1)
    assert wire.operations == ["PutItem", "UpdateItem", "UpdateItem"]
