"""Clients with as little cost of their own as can be: one blocking connection each."""

from __future__ import annotations

import http.client
import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

HEADERS = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
MODERN = "2026-07-28"


class Client:
    """A client of one process, in one era; keeps its connection for calls."""

    def __init__(self, url: str, *, modern: bool = False) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._address = parts.hostname, parts.port
        self._modern = modern
        self._ids = itertools.count(1)
        self._connection = http.client.HTTPConnection(*self._address, timeout=60)
        self.session_id: str | None = None
        self.last_id = 0
        """Of the last request."""

    def begin(self, capabilities: Mapping[str, Any] | None = None) -> Client:
        """Begin a session, of a client that can do this."""
        params = {
            "protocolVersion": "2025-11-25",
            "capabilities": dict(capabilities or {}),
            "clientInfo": {"name": "benchmark", "version": "1"},
        }
        response = self._send(self._connection, "initialize", params)
        response.read()
        self.session_id = response.headers["Mcp-Session-Id"]
        self._connection.request(
            "POST",
            "/mcp",
            json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}),
            self._headers("notifications/initialized", {}),
        )
        self._connection.getresponse().read()
        return self

    def on(self, url: str) -> Client:
        """The same session through another process."""
        other = Client(url, modern=self._modern)
        other.session_id = self.session_id
        return other

    def request(self, method: str, params: Mapping[str, Any] | None = None) -> Any:
        """The result of a request; an answer that streams is read to its end."""
        response = self._send(self._connection, method, params or {})
        body = response.read()
        if response.headers.get_content_type() == "text/event-stream":
            body = [line[6:] for line in body.splitlines() if line.startswith(b"data: {")][-1]
        answer = json.loads(body)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["result"]

    def call(self, tool: str, **arguments: Any) -> Any:
        """A tool's result."""
        return self.request("tools/call", {"name": tool, "arguments": arguments})

    def open(self, method: str, params: Mapping[str, Any]) -> http.client.HTTPResponse:
        """The answer to a request as it comes, over a connection of its own."""
        return self._send(http.client.HTTPConnection(*self._address, timeout=60), method, params)

    def post(self, message: Mapping[str, Any]) -> None:
        """Send what has no answer: a notification, or an answer of the client's own."""
        body = json.dumps({"jsonrpc": "2.0", **message})
        self._connection.request("POST", "/mcp", body, self._headers(message.get("method", ""), {}))
        response = self._connection.getresponse()
        response.read()
        if response.status != 202:
            raise RuntimeError(f"{response.status} {response.reason}")

    def stream(self) -> http.client.HTTPResponse:
        """The session's standalone stream."""
        connection = http.client.HTTPConnection(*self._address, timeout=3600)
        connection.request("GET", "/mcp", headers={**self._headers("", {}), "Accept": "text/event-stream"})
        return connection.getresponse()

    def listen(self, uri: str) -> http.client.HTTPResponse:
        """A ``subscriptions/listen`` stream for one resource."""
        connection = http.client.HTTPConnection(*self._address, timeout=3600)
        return self._send(connection, "subscriptions/listen", {"notifications": {"resourceSubscriptions": [uri]}})

    def _send(
        self, connection: http.client.HTTPConnection, method: str, params: Mapping[str, Any]
    ) -> http.client.HTTPResponse:
        params = dict(params)
        if self._modern:
            params["_meta"] = {
                "io.modelcontextprotocol/protocolVersion": MODERN,
                "io.modelcontextprotocol/clientInfo": {"name": "benchmark", "version": "1"},
                "io.modelcontextprotocol/clientCapabilities": {},
            }
        self.last_id = next(self._ids)
        body = {"jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params}
        connection.request("POST", "/mcp", json.dumps(body), self._headers(method, params))
        return connection.getresponse()

    def _headers(self, method: str, params: Mapping[str, Any]) -> dict[str, str]:
        headers = dict(HEADERS)
        if self._modern:
            headers |= {"MCP-Protocol-Version": MODERN, "Mcp-Method": method}
            if "name" in params:
                headers["Mcp-Name"] = params["name"]
        if self.session_id:
            headers |= {"Mcp-Session-Id": self.session_id, "MCP-Protocol-Version": "2025-11-25"}
        return headers


def messages(response: http.client.HTTPResponse) -> Iterator[Any]:
    """The JSON-RPC messages of an event stream, as they come."""
    for line in response:
        if line.startswith(b"data: {"):
            yield json.loads(line[6:])
