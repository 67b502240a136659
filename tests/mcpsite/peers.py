"""Clients of both eras, reduced to what goes over the wire, so that a test can say anything an SDK would not."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any, Final, Protocol

from mcp.shared.inbound import NAME_BEARING_METHODS, encode_header_value
from mcp_types import CLIENT_CAPABILITIES_META_KEY, CLIENT_INFO_META_KEY, PROTOCOL_VERSION_META_KEY

from tests.mcpsite import site

LEGACY: Final = "2025-11-25"
MODERN: Final = "2026-07-28"
CLIENT_INFO: Final = {"name": "peer", "version": "1"}
JSON_HEADERS: Final = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
HANDSHAKE: Final = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": CLIENT_INFO}
ENVELOPE: Final = {
    PROTOCOL_VERSION_META_KEY: MODERN,
    CLIENT_INFO_META_KEY: CLIENT_INFO,
    CLIENT_CAPABILITIES_META_KEY: {},
}


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def body(self) -> Any:
        """The JSON-RPC message: the body, or the last event of a stream."""
        if self.headers.get("Content-Type", "").startswith("text/event-stream"):
            return json.loads(re.findall(rb"^data: ?(.+?)\r?$", self.content, re.MULTILINE)[-1])
        return json.loads(self.content)

    @property
    def result(self) -> dict[str, Any]:
        body = self.body
        assert "result" in body, body
        result: dict[str, Any] = body["result"]
        return result

    @property
    def error(self) -> dict[str, Any]:
        body = self.body
        assert body["jsonrpc"] == "2.0", body
        assert "error" in body, body
        error: dict[str, Any] = body["error"]
        assert isinstance(error["code"], int), body
        assert isinstance(error["message"], str), body
        return error


@dataclass(frozen=True, slots=True)
class Outcome:
    """A tool's result."""

    answer: Answer

    @property
    def failed(self) -> bool:
        return bool(self.answer.result.get("isError"))

    @property
    def text(self) -> str:
        """What the model reads of a failure."""
        text: str = self.answer.result["content"][0]["text"]
        return text

    @property
    def data(self) -> dict[str, Any]:
        """The structured result of a success."""
        assert not self.failed, self.text
        data: dict[str, Any] = self.answer.result["structuredContent"]
        return data


class Send(Protocol):
    """Carries one HTTP request to the endpoint."""

    def __call__(self, method: str, body: bytes, headers: Mapping[str, str]) -> Answer: ...


class InProcess:
    """The whole site in this process, by its short door."""

    def __init__(self, headers: Mapping[str, str] | None = None, scope: Mapping[str, Any] | None = None) -> None:
        self.headers = dict(headers or {})
        self.scope = dict(scope or {})

    def __call__(self, method: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        served = site.request(method, "/mcp", body, {**self.headers, **headers}, **self.scope)
        return Answer(served.status, served.headers, b"".join(served.pieces))


class Peer:
    """A client; its own headers go with every request."""

    def __init__(self, send: Send, headers: Mapping[str, str] | None = None) -> None:
        self.send = send
        self.headers = dict(headers or {})
        self._ids = count(1)

    def post(self, body: Any, headers: Mapping[str, str | None] | None = None) -> Answer:
        """Post bytes as they are, anything else as JSON; a header that is ``None`` is left out."""
        encoded = body if isinstance(body, bytes) else json.dumps(body).encode()
        merged = {**JSON_HEADERS, **self.headers, **(headers or {})}
        return self.send("POST", encoded, {name: value for name, value in merged.items() if value is not None})

    def message(self, method: str, params: Any = None) -> dict[str, Any]:
        """A request as this era has it."""
        message = {"jsonrpc": "2.0", "id": next(self._ids), "method": method}
        return message if params is None else message | {"params": params}

    def request(self, method: str, params: Any = None, headers: Mapping[str, str | None] | None = None) -> Answer:
        return self.post(self.message(method, params), headers)

    def call(self, tool: str, /, **arguments: Any) -> Outcome:
        return Outcome(self.request("tools/call", {"name": tool, "arguments": arguments}))


class LegacyPeer(Peer):
    """A client with a session (revisions up to 2025-11-25)."""

    era = "legacy"

    def connect(self) -> LegacyPeer:
        """The handshake."""
        answer = self.request("initialize", HANDSHAKE)
        assert answer.status == 200, answer.content
        self.headers |= {"Mcp-Session-Id": answer.headers["Mcp-Session-Id"], "MCP-Protocol-Version": LEGACY}
        assert self.notify("notifications/initialized").status == 202
        return self

    @property
    def session_id(self) -> str:
        return self.headers["Mcp-Session-Id"]

    def notify(self, method: str, params: Any = None) -> Answer:
        return self.post({"jsonrpc": "2.0", "method": method} | ({} if params is None else {"params": params}))

    def end(self) -> Answer:
        return self.send("DELETE", b"", self.headers)


class ModernPeer(Peer):
    """A client without sessions (2026-07-28); it passes on the handle that a tool gave it."""

    era = "modern"
    session_id: str | None = None

    def message(self, method: str, params: Any = None) -> dict[str, Any]:
        return super().message(method, {"_meta": ENVELOPE, **(params or {})})

    def request(self, method: str, params: Any = None, headers: Mapping[str, str | None] | None = None) -> Answer:
        message = self.message(method, params)
        return self.post(message, {**self.routing(message), **(headers or {})})

    def routing(self, message: Mapping[str, Any]) -> dict[str, str]:
        """The headers that repeat what the body says."""
        headers = {"MCP-Protocol-Version": MODERN, "Mcp-Method": message["method"]}
        key = NAME_BEARING_METHODS.get(message["method"])
        if key is not None and isinstance(name := message["params"].get(key), str):
            headers["Mcp-Name"] = encode_header_value(name)
        return headers

    def call(self, tool: str, /, **arguments: Any) -> Outcome:
        if self.session_id is not None:
            arguments = {"session_id": self.session_id, **arguments}
        outcome = super().call(tool, **arguments)
        result = outcome.answer.body.get("result", {})
        self.session_id = (result.get("structuredContent") or {}).get("session_id") or self.session_id
        return outcome
