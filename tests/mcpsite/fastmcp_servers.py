"""Server objects of FastMCP 4, as their authors write them. It is not among this site's requirements."""

from __future__ import annotations

from typing import Any

from fastmcp import FastMCP
from fastmcp.server.auth import RemoteAuthProvider, require_scopes
from fastmcp.server.auth.providers.jwt import StaticTokenVerifier
from fastmcp.server.dependencies import get_access_token
from mcp.server.auth.middleware.auth_context import get_access_token as sdks_access_token
from pydantic import AnyHttpUrl
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

_TOKENS = {
    "ann-token": {"client_id": "ann", "scopes": ["notes"]},
    "bob-token": {"client_id": "bob", "scopes": []},
}

guarded: Any = FastMCP(
    "guarded",
    auth=RemoteAuthProvider(
        token_verifier=StaticTokenVerifier(_TOKENS, required_scopes=["notes"]),
        authorization_servers=[AnyHttpUrl("https://issuer.example.com")],
        base_url="http://testserver",
    ),
)


def _seen() -> dict[str, Any]:
    sdks, fastmcps = sdks_access_token(), get_access_token()
    return {"sdk": sdks.token if sdks else None, "fastmcp": fastmcps.token if fastmcps else None}


@guarded.tool
async def who() -> dict[str, Any]:
    """Who calls."""
    return _seen()


@guarded.tool
def who_in_a_thread() -> dict[str, Any]:
    """The same, in a thread."""
    return _seen()


@guarded.tool(auth=require_scopes("admin"))
async def for_admins() -> str:
    """Of a tool's own authorization."""
    return "admitted"


@guarded.custom_route("/hello/{name}", methods=["GET"])
async def hello(request: Request) -> Response:
    return PlainTextResponse(f"hello {request.path_params['name']}")
