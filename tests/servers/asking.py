"""What is asked of a server, in both eras, and what a client sees of its answer."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import httpx2

from tests.mcpsite.peers import JSON_HEADERS, LEGACY, Answer, LegacyPeer, ModernPeer, Peer

ATTEMPTS: Final = 10
SECONDS: Final = 4.0
"""What is not answered by then is not answered by either."""

_VOLATILE: Final = (
    (re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}"), "<uuid>"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?"), "<time>"),
    (re.compile(r" at 0x[0-9a-f]+"), " at <address>"),
    (re.compile(r"_copy\d+"), ""),
    (re.compile(r"Missing required arguments: \{.*?\}"), "Missing required arguments: <set>"),
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, by the era that asked it and what it is about."""

    era: str
    kind: str
    method: str
    params: Mapping[str, Any] | None = None

    @property
    def named(self) -> str:
        return str((self.params or {}).get("name", ""))


@dataclass(frozen=True, slots=True)
class Seen:
    """The messages of an answer, its own last; none where none came in time."""

    status: int
    messages: tuple[Any, ...]

    @property
    def final(self) -> dict[str, Any]:
        last = self.messages[-1] if self.messages else {}
        return last if isinstance(last, dict) else {}

    @property
    def error(self) -> dict[str, Any]:
        error = self.final.get("error")
        return error if isinstance(error, dict) else {}

    def ending(self, final: Mapping[str, Any], status: int | None = None) -> Seen:
        """The same with another answer."""
        return Seen(self.status if status is None else status, (*self.messages[:-1], dict(final)))


class Line:
    """Carries requests to one side, and refuses what the server asks meanwhile."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.http = httpx2.Client(timeout=SECONDS)
        self.before: list[Any] = []
        """What came before the last answer."""

    def __call__(self, method: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        self.before = []
        with self.http.stream(method, self.url, content=body, headers=dict(headers)) as response:
            if not response.headers.get("content-type", "").startswith("text/event-stream"):
                return Answer(response.status_code, response.headers, response.read())
            for line in response.iter_lines():
                data = line.removeprefix("data:").strip() if line.startswith("data:") else ""
                if not data:
                    continue
                message = json.loads(data)
                if "method" not in message:
                    kept = {**response.headers, "content-type": "application/json"}
                    return Answer(response.status_code, httpx2.Headers(kept), data.encode())
                self.before.append(message)
                if "id" in message:
                    self._refuse(message, headers)
        return Answer(0, {}, b"")

    def _refuse(self, message: Mapping[str, Any], headers: Mapping[str, str]) -> None:
        refusal = {"jsonrpc": "2.0", "id": message["id"], "error": {"code": -32601, "message": "Method not found"}}
        httpx2.post(self.url, content=json.dumps(refusal).encode(), headers={**headers, **JSON_HEADERS})


class Client:
    """One era's client of one side."""

    def __init__(self, url: str, era: str) -> None:
        self.line = Line(url)
        self.peer: Peer = LegacyPeer(self.line) if era == "legacy" else ModernPeer(self.line)
        self.era = era

    def first(self) -> Seen:
        """The handshake, or what stands for it."""
        if not isinstance(self.peer, LegacyPeer):
            return self.ask(Asked(self.era, "discover", "server/discover"))
        params = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": {"name": "asker", "version": "1"}}
        answer = self._patiently("initialize", params)
        self.peer.headers |= {"MCP-Protocol-Version": LEGACY, "Mcp-Session-Id": answer.headers["mcp-session-id"]}
        self.peer.notify("notifications/initialized")
        return self._seen(answer)

    def ask(self, asked: Asked) -> Seen:
        """What is seen of the answer to one request."""
        try:
            return self._seen(self.peer.request(asked.method, dict(asked.params) if asked.params is not None else None))
        except httpx2.TimeoutException:
            return Seen(0, ())
        except httpx2.TransportError as exc:
            return Seen(-1, (type(exc).__name__,))

    def _patiently(self, method: str, params: Any) -> Answer:
        """The answer of a server that may still be busy with what it was asked before, in vain."""
        for _ in range(ATTEMPTS - 1):
            with suppress(httpx2.TimeoutException):
                return self.peer.request(method, params)
        return self.peer.request(method, params)

    def close(self) -> None:
        """Close its connections."""
        self.line.http.close()

    def _seen(self, answer: Answer) -> Seen:
        last = [json.loads(answer.content)] if answer.content.startswith(b"{") else []
        return Seen(answer.status, tuple(steady(message) for message in [*self.line.before, *last]))


def questions(client: Client) -> Iterator[Asked]:
    """What can be asked of a server, told from what it lists to this client."""
    era = client.era

    def listed(kind: str, method: str) -> list[dict[str, Any]]:
        result = client.ask(Asked(era, "list", method)).final.get("result", {})
        return list(result.get(kind, []))

    for method in ("tools/list", "resources/list", "resources/templates/list", "prompts/list"):
        yield Asked(era, "list", method)
    for tool in listed("tools", "tools/list"):
        arguments = example(tool.get("inputSchema", {}), tool.get("inputSchema", {}))
        yield Asked(era, "tool", "tools/call", {"name": tool["name"], "arguments": arguments})
        yield Asked(era, "tool without arguments", "tools/call", {"name": tool["name"], "arguments": {}})
    for resource in listed("resources", "resources/list"):
        yield Asked(era, "resource", "resources/read", {"uri": resource["uri"]})
    for template in listed("resourceTemplates", "resources/templates/list"):
        uri = re.sub(r"\{[^}]*\}", "x", template["uriTemplate"])
        yield Asked(era, "template", "resources/read", {"uri": uri})
    for prompt in listed("prompts", "prompts/list"):
        arguments = {argument["name"]: "x" for argument in prompt.get("arguments", [])}
        yield Asked(era, "prompt", "prompts/get", {"name": prompt["name"], "arguments": arguments})
        if any(argument.get("required") for argument in prompt.get("arguments", [])):
            yield Asked(era, "missing argument", "prompts/get", {"name": prompt["name"], "arguments": {}})
    yield Asked(era, "unknown tool", "tools/call", {"name": "no such tool", "arguments": {}})
    yield Asked(era, "unknown prompt", "prompts/get", {"name": "no such prompt"})
    yield Asked(era, "unknown resource", "resources/read", {"uri": "nosuch://resource"})
    yield Asked(era, "unknown method", "no/such/method")
    yield Asked(era, "ping", "ping")
    yield Asked(era, "level", "logging/setLevel", {"level": "info"})
    yield Asked(era, "subscribe", "resources/subscribe", {"uri": "nosuch://resource"})


def example(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int = 0) -> Any:
    """A value that a schema is likely to take."""
    if (reference := schema.get("$ref")) and depth < 8:
        return example(root.get("$defs", {}).get(reference.rpartition("/")[2], {}), root, depth + 1)
    for name in ("const", "default"):
        if name in schema:
            return schema[name]
    if schema.get("enum"):
        return schema["enum"][0]
    for name in ("anyOf", "oneOf", "allOf"):
        if schema.get(name):
            return example(schema[name][0], root, depth + 1)
    match schema.get("type"):
        case "object":
            properties = schema.get("properties", {})
            return {name: example(properties[name], root, depth + 1) for name in schema.get("required", [])}
        case "array":
            return [example(schema.get("items", {}), root, depth + 1)] if depth < 8 else []
        case "integer" | "number":
            return max(1, schema.get("minimum", 1))
        case "boolean":
            return True
        case "null":
            return None
    return "x"


def steady(value: Any) -> Any:
    """A value without what differs from one run to the next."""
    if isinstance(value, dict):
        return {name: "<sealed>" if name == "requestState" else steady(item) for name, item in value.items()}
    if isinstance(value, list):
        return [steady(item) for item in value]
    if isinstance(value, str):
        for pattern, mark in _VOLATILE:
            value = pattern.sub(mark, value)
    return value
