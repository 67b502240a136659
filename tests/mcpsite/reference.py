"""The SDK's own Streamable HTTP app, asked as a peer asks this site: what ours is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from starlette.testclient import TestClient

from tests.mcpsite.peers import Answer


class Reference:
    """A server's app, asked while ``client`` is entered; with ``json``, answers of the old era are JSON as ours are."""

    def __init__(self, server: MCPServer[Any], *, json: bool) -> None:
        security = TransportSecuritySettings(enable_dns_rebinding_protection=False)
        self.client = TestClient(server.streamable_http_app(json_response=json, transport_security=security))

    def __call__(self, method: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        response = self.client.request(method, "/mcp", content=body, headers=dict(headers))
        return Answer(response.status_code, response.headers, response.content)
