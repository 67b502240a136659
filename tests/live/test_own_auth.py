"""A server object's own authentication over gunicorn: tokens on processes that are not sticky, and the SDK's OAuth
client from its first 401 to a call."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import anyio
import httpx2
from mcp.client import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientInformationFull, OAuthClientMetadata, OAuthToken
from pydantic import AnyUrl

from tests.conformance.processes import Children, site_environment
from tests.engines import free_port, on_moto
from tests.live.servers import Server, gunicorn
from tests.mcpsite.peers import JSON_HEADERS, LegacyPeer, ModernPeer

pytestmark = on_moto

ANN = {"Authorization": "Bearer ann.notes"}


@contextmanager
def _serving(engine: tuple[str, str], directory: Path, name: str, processes: int) -> Iterator[list[Server]]:
    """gunicorns of one of the servers with an authentication, and of no ``MCP_AUTH``."""
    children, ports = Children(), [free_port() for _ in range(processes)]
    settings = site_environment(engine[1], directory) | {
        "MCP_SERVER": f"tests.live.server_with_auth:{name}",
        "MCP_AUTH": "",
        "MCP_ALLOW_PUBLIC": "false",
        "DYNAMODB_CREATE_TABLES": "true",
        "DYNAMODB_SESSIONS_TABLE": f"own-auth-{name}-sessions",
        "DYNAMODB_EVENTS_TABLE": f"own-auth-{name}-events",
        "OWN_URL": f"http://127.0.0.1:{ports[0]}",
    }
    servers = [Server(port, gunicorn(port), settings, directory / f"{port}.log", children) for port in ports]
    try:
        for server in servers:
            server.start()
        yield servers
    finally:
        children.close()


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=30) as answer:
        body: bytes = answer.read()
        return body


def test_tokens_are_asked_for_on_every_process(engine: tuple[str, str], tmp_path: Path) -> None:
    with _serving(engine, tmp_path, "known", 2) as (first, second):
        refused = first.connect()("POST", b"{}", JSON_HEADERS)
        assert refused.status == 401
        url = f"http://127.0.0.1:{first.port}/.well-known/oauth-protected-resource/mcp"
        assert f'resource_metadata="{url}"' in refused.headers["WWW-Authenticate"]
        assert json.loads(_get(url))["resource"] == first.url
        assert second.connect()("POST", b"{}", JSON_HEADERS | {"Authorization": "Bearer ann.other"}).status == 403

        legacy, modern = LegacyPeer(first.connect(), ANN).connect(), ModernPeer(first.connect(), ANN)
        for peer in (legacy, modern):
            assert peer.call("who").data == {"token": "ann.notes", "principal": "token:subject=ann"}
            assert peer.call("who_in_a_thread").data == {"token": "ann.notes", "scopes": ["notes"]}
        legacy.call("note", text="milk")
        legacy.send = second.connect()
        assert legacy.call("note", text="eggs").data["notes"] == ["milk", "eggs"]
        legacy.headers["Authorization"] = "Bearer bob.notes"
        assert legacy.request("tools/list").status == 404

        pages = {_get(f"http://127.0.0.1:{server.port}/about") for server in (first, second)}
        assert len(pages) == 2
        assert all(page.startswith(b"process ") for page in pages)
        for server in (first, second):
            assert "Traceback" not in server.log.read_text()


class _Storage:
    """A client's memory."""

    tokens: OAuthToken | None = None
    client: OAuthClientInformationFull | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info


async def _signed_in(url: str) -> dict[str, object]:
    """What a tool says of the SDK's OAuth client, whose user agrees to everything."""
    codes: list[dict[str, list[str]]] = []

    async def agree(authorize: str) -> None:
        async with httpx2.AsyncClient() as browser:
            answer = await browser.get(authorize)
        codes.append(parse_qs(urlsplit(answer.headers["location"]).query))

    async def come_back() -> AuthorizationCodeResult:
        came = {name: values[0] for name, values in codes.pop().items()}
        return AuthorizationCodeResult.model_validate(came)

    auth = OAuthClientProvider(
        url,
        OAuthClientMetadata(client_name="test", redirect_uris=[AnyUrl("http://localhost:9/callback")]),
        _Storage(),
        agree,
        come_back,
    )
    async with httpx2.AsyncClient(auth=auth) as http, Client(streamable_http_client(url, http_client=http)) as client:
        result = await client.call_tool("who", {})
        said: dict[str, object] = result.structured_content
        return said


def test_the_sdks_oauth_client_signs_in(engine: tuple[str, str], tmp_path: Path) -> None:
    with _serving(engine, tmp_path, "issuing", 1) as (server,):
        said = anyio.run(_signed_in, server.url)
        assert said["principal"] == "token:subject=ann"
        assert said["token"]
        assert "Traceback" not in server.log.read_text()
