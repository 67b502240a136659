"""Server objects with an authentication, for processes: ``MCP_SERVER=tests.live.server_with_auth:known``, ``:issuing``.

``OWN_URL`` is where the site is, without a path.
"""

from __future__ import annotations

import os
from typing import Any

from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings, ClientRegistrationOptions
from mcp.server.mcpserver import MCPServer
from pydantic import AnyHttpUrl
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from tests.mcpsite.guarded_servers import Provider, whoami

URL = os.environ.get("OWN_URL", "http://localhost")


class Tokens:
    """Every token is good that names its subject, and after a dot its scope."""

    async def verify_token(self, token: str) -> AccessToken | None:
        subject, dot, scope = token.partition(".")
        return AccessToken(token=token, client_id="client", scopes=[scope], subject=subject) if dot else None


known = whoami(
    MCPServer(
        "known",
        token_verifier=Tokens(),
        auth=AuthSettings(
            issuer_url=AnyHttpUrl("https://issuer.example.com"),
            resource_server_url=AnyHttpUrl(f"{URL}/mcp"),
            required_scopes=["notes"],
            validate_token_resource=False,
        ),
    )
)


@known.custom_route("/about", methods=["GET"])  # type: ignore[untyped-decorator]
async def about(request: Request) -> Response:
    """A page of the server's own."""
    return PlainTextResponse(f"process {os.getpid()}")


issuing: MCPServer[Any] = whoami(
    MCPServer(
        "issuing",
        auth_server_provider=Provider(),
        auth=AuthSettings(
            issuer_url=AnyHttpUrl(URL),
            resource_server_url=AnyHttpUrl(f"{URL}/mcp"),
            client_registration_options=ClientRegistrationOptions(enabled=True),
            validate_token_resource=False,
        ),
    )
)
