"""A server object's own ``auth=``: asked at every request, and nothing of it dropped."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import logging
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from django.core.checks import Error, run_checks
from mcp.server.auth.provider import AccessToken
from mcp.server.mcpserver import MCPServer
from pytest_django import Settings

from mcpsite.endpoint.access import own
from mcpsite.endpoint.access.own import principal_of_token
from sessions_dynamo.store.sessions import default_store
from tests.mcpsite import site
from tests.mcpsite.guarded_servers import Verifier, guarded, verifier
from tests.mcpsite.peers import JSON_HEADERS, InProcess, LegacyPeer, ModernPeer

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

METADATA = "/.well-known/oauth-protected-resource/mcp"


@pytest.fixture(autouse=True)
def tokens(dynamodb: DynamoDBClient, settings: Settings) -> Iterator[Verifier]:
    """What the verifier of the served server knows; nothing at first."""
    settings.MCP_SERVER, settings.MCP_AUTH, settings.MCP_ALLOW_PUBLIC = (
        "tests.mcpsite.guarded_servers:guarded",
        "",
        False,
    )
    verifier.tokens, verifier.failure, verifier.asked = {}, None, 0
    yield verifier
    verifier.tokens, verifier.failure = {}, None


def _errors() -> dict[str, Error]:
    return {found.id: found for found in run_checks() if (found.id or "").startswith("mcp_endpoint.E")}  # type: ignore[misc]


@pytest.fixture(params=[LegacyPeer, ModernPeer])
def kind(request: pytest.FixtureRequest) -> Any:
    return request.param


def _connected(kind: type[LegacyPeer | ModernPeer], headers: dict[str, str]) -> LegacyPeer | ModernPeer:
    peer = kind(InProcess(), headers)
    return peer.connect() if isinstance(peer, LegacyPeer) else peer


# --- Who gets in --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("debug", [True, False])
def test_the_server_object_decides_where_nobody_else_was_chosen(settings: Settings, debug: bool) -> None:
    settings.DEBUG = debug
    assert _errors() == {}
    assert LegacyPeer(InProcess()).request("ping").status == 401


@pytest.mark.parametrize(
    ("issued", "sent"),
    [
        (None, None),
        (None, "Bearer nobody"),
        (None, "Basic bm9ib2R5"),
        ({}, "token"),
        ({"expires_at": int(time.time()) - 60}, "Bearer token"),
        ({"resource": "http://elsewhere.example.com/mcp"}, "Bearer token"),
        ({"scopes": ["other"]}, "Bearer token"),
    ],
)
@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
def test_a_refusal_is_the_sdks(tokens: Verifier, issued: dict[str, Any] | None, sent: str | None, method: str) -> None:
    if issued is not None:
        tokens.issue("token", **issued)
    headers = JSON_HEADERS | ({"Authorization": sent} if sent else {})
    ours = site.request(method, "/mcp", b"{}", headers)
    sdks = site.request(method, "/mcp", b"{}", headers, app=guarded.streamable_http_app())
    assert ours.status == sdks.status == (403 if issued == {"scopes": ["other"]} else 401)
    assert ours.pieces == sdks.pieces
    assert dict(ours.headers) == dict(sdks.headers)
    assert f'resource_metadata="http://testserver{METADATA}"' in ours.headers["WWW-Authenticate"]


def test_below_a_prefix_a_refusal_names_what_is_served_there() -> None:
    """An API's stage: what is before it in a URL is another API's, or nobody's."""
    refused = site.request("POST", "/prod/mcp", b"{}", JSON_HEADERS, root_path="/prod")
    assert refused.status == 401
    assert f'resource_metadata="http://testserver/prod{METADATA}"' in refused.headers["WWW-Authenticate"]
    assert site.request("GET", f"/prod{METADATA}", root_path="/prod").status == 200


def test_the_metadata_that_a_refusal_names_is_served() -> None:
    found = site.request("GET", METADATA, headers={"Origin": "http://inspector.example.com"})
    assert found.status == 200
    assert found.headers["Access-Control-Allow-Origin"] == "*"
    metadata = json.loads(b"".join(found.pieces))
    assert metadata["resource"] == "http://testserver/mcp"
    assert [url.rstrip("/") for url in metadata["authorization_servers"]] == ["https://issuer.example.com"]
    assert metadata["scopes_supported"] == ["notes"]


def test_tools_see_the_token(kind: Any, tokens: Verifier) -> None:
    peer = _connected(kind, tokens.issue("token"))
    assert peer.call("who").data == {"token": "token", "principal": "token:client=client"}
    assert peer.call("who_in_a_thread").data == {"token": "token", "scopes": ["notes"]}


def test_each_request_has_its_own_token(tokens: Verifier) -> None:
    peer = LegacyPeer(InProcess(), tokens.issue("first")).connect()
    peer.headers |= tokens.issue("second")
    assert peer.call("who").data["token"] == "second"


def test_every_request_is_asked_for(kind: Any, tokens: Verifier) -> None:
    peer = _connected(kind, tokens.issue("token"))
    assert peer.call("who").answer.status == 200
    before = tokens.asked
    tokens.tokens.clear()
    assert peer.request("tools/list").status == 401
    assert tokens.asked == before + 1


# --- Whose a session is -------------------------------------------------------------------------------------------


def test_a_session_stays_its_callers_over_tokens(tokens: Verifier) -> None:
    peer = LegacyPeer(InProcess(), tokens.issue("old", subject="ann")).connect()
    peer.call("note", text="milk")
    peer.headers |= tokens.issue("new", "another client", subject="ann")
    assert peer.call("note", text="eggs").data["notes"] == ["milk", "eggs"]
    stored = default_store().peek(peer.session_id)
    assert stored is not None
    assert stored.principal == "token:subject=ann"
    for other in (tokens.issue("bob", subject="bob"), tokens.issue("client"), tokens.issue("x", "ann")):
        peer.headers |= other
        assert peer.request("tools/list").status == 404


def test_a_handle_is_its_callers(tokens: Verifier) -> None:
    peer = ModernPeer(InProcess(), tokens.issue("ann", subject="ann"))
    handle = peer.call("note", text="milk").answer.result["_meta"]["session_id"]
    assert peer.call("note", text="eggs", session_id=handle).data["notes"] == ["milk", "eggs"]
    peer.headers |= tokens.issue("bob", subject="bob")
    assert peer.call("note", text="eggs", session_id=handle).failed


@pytest.mark.parametrize(
    ("fields", "principal"),
    [
        ({"client_id": "c"}, "token:client=c"),
        ({"client_id": "c", "subject": "s"}, "token:subject=s"),
        ({"client_id": "c", "subject": "s", "claims": {"iss": "https://i"}}, "token:subject=s&issuer=https%3A%2F%2Fi"),
        ({"client_id": "s&issuer=x"}, "token:client=s%26issuer%3Dx"),
        ({"client_id": "c", "subject": ""}, "token:client=c"),
        ({"client_id": "c" * 600}, f"token:sha256={hashlib.sha256(b'token:client=' + b'c' * 600).hexdigest()}"),
    ],
)
def test_a_principal_is_the_subject_or_the_client(fields: dict[str, Any], principal: str) -> None:
    assert principal_of_token(AccessToken(token="t", scopes=[], **fields)) == principal


# --- A verifier that fails ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("failure", [RuntimeError("a secret"), OSError("no network"), TimeoutError(), SystemExit(3)])
def test_a_verifier_that_raises_is_503_and_in_the_log(
    kind: Any, tokens: Verifier, failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    tokens.failure = failure
    with caplog.at_level(logging.ERROR, own.__name__):
        answer = kind(InProcess(), {"Authorization": "Bearer token"}).request("tools/list")
    assert answer.status == 503
    assert answer.headers["Retry-After"]
    assert answer.error["message"] == "The server could not check who calls. Try again later."
    assert b"secret" not in answer.content
    assert any(record.exc_info for record in caplog.records)


def test_a_verifier_that_does_not_answer_is_not_waited_for(tokens: Verifier, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(token: str) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(tokens, "verify_token", never)
    monkeypatch.setattr(own, "CHECK_SECONDS", 0.05)
    assert LegacyPeer(InProcess(), {"Authorization": "Bearer token"}).request("ping").status == 503


# --- With the site's own ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chosen", ["tests.mcpsite.servers.callers_name", "mcpsite.endpoint.access.auth.public"])
def test_two_that_decide_are_refused(settings: Settings, tokens: Verifier, chosen: str) -> None:
    settings.MCP_AUTH, settings.MCP_ALLOW_PUBLIC = chosen, True
    (error,) = _errors().values()
    assert error.id == "mcp_endpoint.E006"
    assert chosen in error.msg
    assert "guarded_servers:guarded" in error.msg
    assert "Unset MCP_AUTH" in (error.hint or "")
    # Even where no check was run.
    peer = LegacyPeer(InProcess(), {"X-Name": "ann", **tokens.issue("token")})
    assert peer.request("ping").status == 500


def test_a_server_without_auth_is_nobodys_choice(settings: Settings) -> None:
    settings.MCP_SERVER = "tests.mcpsite.servers:tools"
    assert set(_errors()) == {"mcp_endpoint.E001"}
    settings.DEBUG = settings.MCP_ALLOW_PUBLIC = True
    assert _errors() == {}
    assert LegacyPeer(InProcess()).connect().call("without_session").text == "plain"


def test_an_auth_that_the_sdk_refuses_is_a_check_error(settings: Settings) -> None:
    settings.MCP_SERVER = "tests.mcpsite.guarded_servers:insecure"
    (error,) = _errors().values()
    assert error.id == "mcp_endpoint.E004"
    assert "Issuer URL must be HTTPS" in error.msg


def test_an_auth_that_guards_in_an_unknown_way_is_refused(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    unguarded = MCPServer("unguarded").streamable_http_app
    monkeypatch.setattr(guarded, "streamable_http_app", unguarded)
    settings.MCP_SERVER = "tests.mcpsite.guarded_servers:verifier.server"
    monkeypatch.setattr(verifier, "server", guarded, raising=False)
    (error,) = _errors().values()
    assert error.id == "mcp_endpoint.E004"
    assert "set MCP_AUTH" in (error.hint or "")


# --- An authorization server --------------------------------------------------------------------------------------


def test_a_client_registers_is_authorized_and_calls(settings: Settings) -> None:
    settings.MCP_SERVER = "tests.mcpsite.guarded_servers:issuing"
    host = {"host": "localhost"}
    settings.ALLOWED_HOSTS = ["localhost"]
    discovered = site.request("GET", "/.well-known/oauth-authorization-server", headers=host)
    assert json.loads(b"".join(discovered.pieces))["token_endpoint"] == "http://localhost/token"

    redirect = "http://localhost:9/callback"
    registered = site.request(
        "POST",
        "/register",
        json.dumps({"redirect_uris": [redirect], "client_name": "x", "token_endpoint_auth_method": "none"}).encode(),
        host | {"Content-Type": "application/json"},
    )
    assert registered.status == 201
    client = json.loads(b"".join(registered.pieces))["client_id"]

    challenge = base64.urlsafe_b64encode(hashlib.sha256(b"v" * 50).digest()).rstrip(b"=").decode()
    query = {"response_type": "code", "client_id": client, "redirect_uri": redirect, "state": "s"}
    query |= {"code_challenge": challenge, "code_challenge_method": "S256"}
    authorized = site.request("GET", f"/authorize?{urlencode(query)}", headers=host)
    assert authorized.status == 302
    (code,) = parse_qs(urlsplit(authorized.headers["Location"]).query)["code"]

    form = {"grant_type": "authorization_code", "code": code, "client_id": client, "redirect_uri": redirect}
    exchanged = site.request(
        "POST",
        "/token",
        urlencode(form | {"code_verifier": "v" * 50}).encode(),
        host | {"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert exchanged.status == 200
    token = json.loads(b"".join(exchanged.pieces))["access_token"]

    bearer = host | {"Authorization": f"Bearer {token}"}
    peer = LegacyPeer(InProcess(), bearer).connect()
    assert peer.call("who").data == {"token": token, "principal": "token:subject=ann"}

    revoked = site.request(
        "POST",
        "/revoke",
        urlencode({"token": token, "client_id": client, "client_secret": ""}).encode(),
        host | {"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert revoked.status == 200
    assert peer.request("tools/list").status == 401
