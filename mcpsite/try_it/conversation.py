"""What a client of each era says to list the tools and to call one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mcp.shared.inbound import encode_header_value
from mcp_types import CLIENT_CAPABILITIES_META_KEY, CLIENT_INFO_META_KEY, PROTOCOL_VERSION_META_KEY

from mcpsite.endpoint.wire.headers import SESSION_HEADER
from mcpsite.try_it.exchange import Caller, Exchange
from sessions_dynamo import schema

LEGACY: Final = "2025-11-25"
MODERN: Final = "2026-07-28"
CLIENT_INFO: Final = {"name": "staff page", "version": "1"}
MAX_PAGES: Final = 20
"""Of ``tools/list``; a server that never ends its list does not hold the page for ever."""

Tool = dict[str, Any]


class ListingFailed(Exception):
    """The server did not list its tools; the message is its error's."""


def list_tools(caller: Caller) -> list[Tool]:
    """Every tool of the served server, as a client without a session sees them. Raises ``ListingFailed``."""
    tools: list[Tool] = []
    cursor: str | None = None
    for _ in range(MAX_PAGES):
        params = {"cursor": cursor} if cursor else {}
        exchange = _modern(caller, "List the tools", "tools/list", params)
        result = exchange.answer.get("result")
        if result is None:
            error = exchange.answer.get("error", {})
            raise ListingFailed(str(error.get("message") or f"HTTP {exchange.status} {exchange.reason}"))
        tools += result.get("tools", [])
        cursor = result.get("nextCursor")
        if not cursor:
            break
    return tools


def call_modern(caller: Caller, tool: str, arguments: Mapping[str, Any]) -> list[Exchange]:
    """Call a tool at 2026-07-28: one request that stands alone."""
    params = {"name": tool, "arguments": arguments}
    return [_modern(caller, "Call the tool", "tools/call", params, {"Mcp-Name": encode_header_value(tool)})]


def call_legacy(caller: Caller, tool: str, arguments: Mapping[str, Any], session_id: str = "") -> list[Exchange]:
    """Call a tool at 2025-11-25, in a session: a new one where none is named. Ends early where a step fails."""
    exchanges: list[Exchange] = []
    if not session_id:
        params = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": CLIENT_INFO}
        opened = caller.post("Open a session", _request(0, "initialize", params), {})
        exchanges.append(opened)
        session_id = opened.response_headers.get(SESSION_HEADER, "")
        if not session_id or "result" not in opened.answer:
            return exchanges
    headers = {SESSION_HEADER: encode_header_value(session_id), "MCP-Protocol-Version": LEGACY}
    if exchanges:
        note = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        exchanges.append(caller.post("Say that it is open", note, headers))
    called = caller.post("Call the tool", _request(1, "tools/call", {"name": tool, "arguments": arguments}), headers)
    exchanges.append(called)
    if called.cut and not called.answer:
        # The page does not wait any longer, and a session's tool would run on without it.
        reason = {"requestId": 1, "reason": "the staff page waits no longer"}
        cancelled = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": reason}
        exchanges.append(caller.post("Cancel the call", cancelled, headers))
    return exchanges


def touched_session(exchanges: list[Exchange]) -> str:
    """The id of the session that took part: the client's own, or the handle that the tool returned; else empty."""
    for exchange in reversed(exchanges):
        result = exchange.answer.get("result")
        structured = result.get("structuredContent") if isinstance(result, dict) else None
        handle = structured.get("session_id") if isinstance(structured, dict) else None
        own = exchange.request_headers.get(SESSION_HEADER)
        for candidate in (handle, own):
            if isinstance(candidate, str) and schema.is_session_id(candidate):
                return candidate
    return ""


def _modern(
    caller: Caller, title: str, method: str, params: Mapping[str, Any], headers: Mapping[str, str] | None = None
) -> Exchange:
    envelope = {
        PROTOCOL_VERSION_META_KEY: MODERN,
        CLIENT_INFO_META_KEY: CLIENT_INFO,
        CLIENT_CAPABILITIES_META_KEY: {},
    }
    message = _request(1, method, {"_meta": envelope, **params})
    return caller.post(title, message, {"MCP-Protocol-Version": MODERN, "Mcp-Method": method, **(headers or {})})


def _request(request_id: int, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}
