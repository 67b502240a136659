"""An MCP client over one asyncio connection, alike for every server that is compared."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from typing import Any

from benchmarks.connections import Connection, Message, read_head

REVISION = "2025-11-25"
_HEADERS = "Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"


class Caller:
    """A session and its connection."""

    def __init__(self, url: str, source: str | None = None) -> None:
        self.connection = Connection(url, source)
        self._ids = itertools.count(1)
        self._headers = _HEADERS

    async def begin(self) -> Caller:
        """Begin a session."""
        params = {"protocolVersion": REVISION, "capabilities": {}, "clientInfo": {"name": "benchmark", "version": "1"}}
        answer = await self._post({"id": next(self._ids), "method": "initialize", "params": params})
        self._headers += f"Mcp-Session-Id: {answer.headers['mcp-session-id']}\r\nMCP-Protocol-Version: {REVISION}\r\n"
        await self._post({"method": "notifications/initialized"})
        return self

    async def request(self, method: str, params: Mapping[str, Any] | None = None) -> Any:
        """A request's result; an answer that streams is read to its end. Raises ``RuntimeError`` for an error."""
        answer = (await self.messages(method, params))[-1]
        if "error" in answer or answer["result"].get("isError"):
            raise RuntimeError(str(answer))
        return answer["result"]

    async def messages(self, method: str, params: Mapping[str, Any] | None = None) -> list[Any]:
        """All that comes in answer to a request, the answer last."""
        answer = await self._post({"id": next(self._ids), "method": method, "params": params or {}})
        if not answer.headers.get("content-type", "").startswith("text/event-stream"):
            return [json.loads(answer.body)]
        return [json.loads(line[6:]) for line in answer.body.splitlines() if line.startswith(b"data: {")]

    async def stream(self) -> None:
        """Open the session's GET stream on the connection, which is then for nothing else."""
        lines = self._headers.replace("application/json, text/event-stream", "text/event-stream")
        answer = await read_head(await self.connection.send("GET", lines))
        if answer.status != 200:
            raise RuntimeError(f"no stream: {answer.first}")

    async def _post(self, message: Mapping[str, Any]) -> Message:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        answer = await self.connection.request("POST", self._headers, body)
        if answer.status >= 400:
            raise RuntimeError(f"{answer.first}: {answer.body[:500]!r}")
        return answer
