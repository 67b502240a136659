"""The authentication that a server object was given (``auth=``, ``token_verifier=``), asked at every request.

The object's own HTTP application says who comes in, by its middleware; what it refuses with is the refusal.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse
from mcp.server.auth.middleware.auth_context import auth_context_var
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken, principal_components
from mcp_types import INTERNAL_ERROR

from mcpsite.endpoint.server_object.http_app import ADMITTED, served_app
from mcpsite.endpoint.wire.answers import RETRY_AFTER_SECONDS, error_answer

logger = logging.getLogger(__name__)

CHECK_SECONDS: Final = 15
"""What a verdict may take: it may be asked of another service."""

_METADATA: Final = re.compile(r'(resource_metadata="?https?://[^/"\s]+)(/\.well-known/)')

MAX_PRINCIPAL_CHARACTERS: Final = 512
"""Of a principal as it is; a longer one is known by its hash."""


async def own_auth(request: HttpRequest) -> HttpResponse | None:
    """An ``MCP_AUTH``: the refusal of the server object's authentication, or ``None`` for a caller that it knows.

    A handler then finds its token by ``get_access_token()``, and the SDK's user in the request's scope.
    """
    assert isinstance(request, ASGIRequest)
    app = served_app()
    admitted: dict[str, Any] = {}
    path = {"path": app.path, "raw_path": app.path.encode(), "root_path": ""}
    scope = {**request.scope, "method": "POST", **path, ADMITTED: admitted}
    refusal = _Refusal()
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await app.application(scope, _no_body, refusal.take)
    except (Exception, SystemExit):
        # A TimeoutError, too: its verifier's own, or ours. What calls sys.exit() must not end the loop of everybody.
        logger.exception("the server object's own authentication failed")
        return _unavailable()
    user = admitted.get("user")
    if not isinstance(user, AuthenticatedUser):
        return _below_the_prefix(refusal.response, request.scope.get("root_path") or "")
    # Of this request's context, which its handler's begins as.
    auth_context_var.set(user)
    request.scope.update(admitted)  # type: ignore[attr-defined]  # The stubs take it for immutable.
    request.mcp_principal = principal_of_token(user.access_token)  # type: ignore[attr-defined]
    return None


def principal_of_token(token: AccessToken) -> str:
    """Whose a token is: its subject's, where its verifier names one, else its client's; the same for each such token.

    A subject is one's own whatever client acts for it, so that a client which registers anew finds what it had.
    """
    client, issuer, subject = principal_components(token)
    whose = {"subject": subject} if subject else {"client": client}
    principal = f"token:{urlencode(whose | ({'issuer': issuer} if issuer else {}))}"
    if len(principal) <= MAX_PRINCIPAL_CHARACTERS:
        return principal
    return f"token:sha256={hashlib.sha256(principal.encode()).hexdigest()}"


class _Refusal:
    """The response that an application sends, as Django's."""

    def __init__(self) -> None:
        self.response = HttpResponse(status=HTTPStatus.UNAUTHORIZED)

    async def take(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.response = HttpResponse(status=message["status"])
            del self.response["Content-Type"]
            for name, value in message["headers"]:
                self.response[name.decode("latin1")] = value.decode("latin1")
        elif message["type"] == "http.response.body":
            self.response.write(message.get("body", b""))


async def _no_body() -> Any:
    return {"type": "http.request", "body": b"", "more_body": False}


def _below_the_prefix(refusal: HttpResponse, prefix: str) -> HttpResponse:
    """A refusal whose metadata is where this site has it: what is before the prefix goes to somebody else.

    RFC 9728, section 5.1: a client takes the URL that it is given, in place of the well-known one (section 3.1).
    """
    header = "WWW-Authenticate"
    if prefix and refusal.has_header(header):
        refusal[header] = _METADATA.sub(lambda match: f"{match[1]}{prefix}{match[2]}", refusal[header])
    return refusal


def _unavailable() -> HttpResponse:
    answer = error_answer(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "The server could not check who calls. Try again later.",
        INTERNAL_ERROR,
    )
    answer["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return answer
