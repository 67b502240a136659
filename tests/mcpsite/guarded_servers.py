"""Server objects with an authentication and with routes of their own, as their authors write them for the SDK."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any, TypeVar

from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import (
    AccessToken,
    AuthorizationCode,
    AuthorizationParams,
    OAuthAuthorizationServerProvider,
    RefreshToken,
    construct_redirect_uri,
)
from mcp.server.auth.settings import AuthSettings, ClientRegistrationOptions, RevocationOptions
from mcp.server.mcpserver import Context, MCPServer, Resolve
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken
from pydantic import AnyHttpUrl
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

from mcpsite.endpoint.tools import Session, current_session

T = TypeVar("T")
CurrentSession = Annotated[Session, Resolve(current_session)]


def whoami(server: MCPServer[Any]) -> MCPServer[Any]:
    """Give a server tools that say who calls."""

    @server.tool()
    async def who(ctx: Context) -> dict[str, Any]:
        token = get_access_token()
        request: Any = ctx.request_context.request
        return {"token": token.token if token else None, "principal": request.principal}

    @server.tool()
    def who_in_a_thread() -> dict[str, Any]:
        token = get_access_token()
        return {"token": token.token if token else None, "scopes": token.scopes if token else None}

    @server.tool()
    def note(text: str, session: CurrentSession) -> dict[str, Any]:
        session.state["notes"] = [*session.state.get("notes", []), text]
        return {"notes": session.state["notes"]}

    return server


# --- A token verifier ---------------------------------------------------------------------------------------------

RESOURCE = "http://testserver/mcp"


class Verifier:
    """Knows the tokens of a list, which a test may change."""

    def __init__(self) -> None:
        self.tokens: dict[str, AccessToken] = {}
        self.failure: BaseException | None = None
        self.asked = 0

    def issue(self, token: str, client: str = "client", **fields: Any) -> dict[str, str]:
        """A header with a token that is known from now on."""
        fields = {"scopes": ["notes"], "resource": RESOURCE, **fields}
        self.tokens[token] = AccessToken(token=token, client_id=client, **fields)
        return {"Authorization": f"Bearer {token}"}

    async def verify_token(self, token: str) -> AccessToken | None:
        self.asked += 1
        await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure
        return self.tokens.get(token)


verifier = Verifier()

guarded = whoami(
    MCPServer(
        "guarded",
        token_verifier=verifier,
        auth=AuthSettings(
            issuer_url=AnyHttpUrl("https://issuer.example.com"),
            resource_server_url=AnyHttpUrl(RESOURCE),
            required_scopes=["notes"],
            validate_token_resource=True,
        ),
    )
)

guarded_route: Callable[..., Callable[[T], T]] = guarded.custom_route


@guarded_route("/hello", methods=["GET"])
async def hello(request: Request) -> Response:
    return PlainTextResponse(f"hello {request.user.display_name or 'stranger'}")


# --- An authorization server --------------------------------------------------------------------------------------


class Provider(OAuthAuthorizationServerProvider[AuthorizationCode, RefreshToken, AccessToken]):
    """The least that OAuth asks for; whoever asks for a code is Ann."""

    def __init__(self) -> None:
        self.clients: dict[str, OAuthClientInformationFull] = {}
        self.codes: dict[str, AuthorizationCode] = {}
        self.tokens: dict[str, AccessToken] = {}

    async def get_client(self, client_id: str) -> OAuthClientInformationFull | None:
        return self.clients.get(client_id)

    async def register_client(self, client_info: OAuthClientInformationFull) -> None:
        assert client_info.client_id is not None
        self.clients[client_info.client_id] = client_info

    async def authorize(self, client: OAuthClientInformationFull, params: AuthorizationParams) -> str:
        assert client.client_id is not None
        code = AuthorizationCode(
            code=secrets.token_hex(16),
            scopes=params.scopes or [],
            expires_at=time.time() + 60,
            client_id=client.client_id,
            code_challenge=params.code_challenge,
            redirect_uri=params.redirect_uri,
            redirect_uri_provided_explicitly=params.redirect_uri_provided_explicitly,
            resource=params.resource,
            subject="ann",
        )
        self.codes[code.code] = code
        return construct_redirect_uri(str(params.redirect_uri), code=code.code, state=params.state)

    async def load_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: str
    ) -> AuthorizationCode | None:
        return self.codes.get(authorization_code)

    async def exchange_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: AuthorizationCode
    ) -> OAuthToken:
        token = secrets.token_hex(16)
        self.tokens[token] = AccessToken(
            token=token,
            client_id=authorization_code.client_id,
            scopes=authorization_code.scopes,
            subject=authorization_code.subject,
        )
        return OAuthToken(access_token=token, token_type="Bearer", expires_in=3600)

    async def load_refresh_token(self, client: OAuthClientInformationFull, refresh_token: str) -> RefreshToken | None:
        return None

    async def exchange_refresh_token(
        self, client: OAuthClientInformationFull, refresh_token: RefreshToken, scopes: list[str]
    ) -> OAuthToken:
        raise NotImplementedError

    async def load_access_token(self, token: str) -> AccessToken | None:
        return self.tokens.get(token)

    async def revoke_token(self, token: AccessToken | RefreshToken) -> None:
        self.tokens.pop(token.token, None)


provider = Provider()

issuing = whoami(
    MCPServer(
        "issuing",
        auth_server_provider=provider,
        auth=AuthSettings(
            issuer_url=AnyHttpUrl("http://localhost"),
            resource_server_url=AnyHttpUrl("http://localhost/mcp"),
            validate_token_resource=False,
            client_registration_options=ClientRegistrationOptions(enabled=True),
            revocation_options=RevocationOptions(enabled=True),
        ),
    )
)

insecure: MCPServer[Any] = MCPServer(
    "insecure",
    auth_server_provider=provider,
    auth=AuthSettings(
        issuer_url=AnyHttpUrl("http://issuer.example.com"), resource_server_url=None, validate_token_resource=False
    ),
)

# --- Routes -------------------------------------------------------------------------------------------------------

routed = whoami(MCPServer("routed"))
done_later: list[str] = []
# The SDK's decorator has no type.
route: Callable[..., Callable[[T], T]] = routed.custom_route


@route("/hooks/{name}/{number:int}", methods=["GET", "POST"], include_in_schema=False)
async def hook(request: Request) -> Response:
    body = (await request.body()).decode()
    return JSONResponse(
        {"name": request.path_params["name"], "number": request.path_params["number"], "body": body}, status_code=201
    )


@route("/plain", methods=["GET"])
def plain(request: Request) -> Response:
    return PlainTextResponse("plain", background=BackgroundTask(done_later.append, request.query_params["say"]))


@route("/stream", methods=["GET"])
async def stream(request: Request) -> Response:
    async def pieces() -> AsyncIterator[str]:
        for piece in ("one ", "two"):
            yield piece
            await asyncio.sleep(0)

    return StreamingResponse(pieces(), media_type="text/plain")


@route("/fails", methods=["GET"])
async def fails(request: Request) -> Response:
    raise RuntimeError("a secret")


@route("/breaks", methods=["GET"])
async def breaks(request: Request) -> Response:
    async def pieces() -> AsyncIterator[str]:
        yield "one "
        raise RuntimeError("a secret")

    return StreamingResponse(pieces(), media_type="text/plain")


for path in ("/mcp", "/healthz", "/readyz", "/admin", "/admin/{page}", "/static/own.css", "/"):

    @route(path, methods=["GET", "POST"])
    async def usurper(request: Request) -> Response:
        return PlainTextResponse("usurped")
