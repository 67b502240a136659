"""Who may call, and that a session belongs to the principal that began it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.db import InterfaceError, OperationalError, connection
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.utils import timezone
from django_mcpz.bearer_tokens import auth as mcpz
from django_mcpz.bearer_tokens.models import Token
from mcp_types import INTERNAL_ERROR
from pytest_django import Settings

from mcpsite.blocking import database
from mcpsite.endpoint.access import bearer as tokens
from mcpsite.endpoint.access.auth import principal_of
from sessions_dynamo.store.sessions import default_store
from tests.mcpsite.peers import HANDSHAKE, InProcess, LegacyPeer, ModernPeer

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

TOKENS = "django_mcpz.bearer_tokens.auth.token_auth"
NAMES = "tests.mcpsite.servers.callers_name"

# A callable that blocks runs in a thread, whose connection sees what was committed.
pytestmark = pytest.mark.django_db(transaction=True)


def _headers(username: str, **fields: Any) -> dict[str, str]:
    user, _ = User.objects.get_or_create(username=username)
    _, value = Token.create(name="test", user=user, **fields)
    return {"Authorization": f"Bearer {value}"}


def _owner(peer: LegacyPeer) -> str:
    session = default_store().peek(peer.session_id)
    assert session is not None
    return session.principal


@pytest.fixture
def bearer(dynamodb: DynamoDBClient, settings: Settings) -> None:
    settings.MCP_AUTH = TOKENS


# --- Bearer tokens --------------------------------------------------------------------------------------------


def test_a_token_serves_both_eras(bearer: None) -> None:
    legacy = LegacyPeer(InProcess(), _headers("ann")).connect()
    legacy.call("store_app_state", key="colour", data="blue")
    assert legacy.call("get_app_state", key="colour").data["data"] == "blue"
    modern = ModernPeer(InProcess(), _headers("ann"))
    modern.call("store_app_state", key="colour", data="red")
    assert modern.call("get_app_state", key="colour").data["data"] == "red"


@pytest.mark.parametrize(
    ("header", "challenge"),
    [
        (None, "Bearer"),
        ("Bearer", "Bearer"),
        ("Basic YTpi", "Bearer"),
        ("Bearer wrong", 'Bearer error="invalid_token"'),
    ],
)
def test_without_a_valid_token_there_is_a_challenge(bearer: None, header: str | None, challenge: str) -> None:
    peer = LegacyPeer(InProcess())
    for answer in (
        peer.request("initialize", HANDSHAKE, {"Authorization": header}),
        ModernPeer(InProcess()).request("tools/list", headers={"Authorization": header}),
    ):
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"] == challenge


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
def test_every_method_is_challenged(bearer: None, method: str) -> None:
    assert InProcess()(method, b"", {"Mcp-Session-Id": "x"}).status == 401


def test_a_token_that_was_revoked_or_expired_or_whose_user_is_inactive_is_refused(bearer: None) -> None:
    expired = _headers("ann", expires_at=timezone.now())
    revoked, inactive = _headers("bob"), _headers("cay")
    Token.objects.get(user__username="bob").revoke()
    User.objects.filter(username="cay").update(is_active=False)
    for headers in (expired, revoked, inactive):
        assert LegacyPeer(InProcess(), headers).request("initialize", HANDSHAKE).status == 401


def test_another_users_session_is_as_gone_as_an_unknown_one(bearer: None) -> None:
    ann = LegacyPeer(InProcess(), _headers("ann")).connect()
    ann.call("store_app_state", key="colour", data="blue")
    bob = LegacyPeer(InProcess(), {**_headers("bob"), "Mcp-Session-Id": ann.session_id})
    nobody = LegacyPeer(InProcess(), {**_headers("bob"), "Mcp-Session-Id": "a" * len(ann.session_id)})

    foreign, unknown = bob.request("tools/list"), nobody.request("tools/list")
    assert foreign.status == unknown.status == 404
    assert foreign.error["message"].replace(ann.session_id, "") == unknown.error["message"].replace(
        nobody.session_id, ""
    )
    assert bob.notify("notifications/initialized").status == 404
    assert bob.end().status == 404
    # Nothing of that touched it.
    assert ann.call("get_app_state", key="colour").data["data"] == "blue"


def test_another_users_handle_is_a_tool_error_in_both_eras(bearer: None) -> None:
    ann = ModernPeer(InProcess(), _headers("ann"))
    handle = ann.call("store_app_state", key="colour", data="blue").data["session_id"]

    for bob in (ModernPeer(InProcess(), _headers("bob")), LegacyPeer(InProcess(), _headers("bob")).connect()):
        for outcome in (
            bob.call("get_app_state", key="colour", session_id=handle),
            bob.call("store_app_state", key="colour", data="red", session_id=handle),
            bob.call("lambda_operation", operation="x", input=1, session_id=handle),
            bob.call("global_state", region="us-west-2", data=1, session_id=handle),
        ):
            assert outcome.failed
            assert "does not exist, has ended, or belongs to another caller" in outcome.text
    assert ann.call("get_app_state", key="colour").data["data"] == "blue"


def test_a_users_tokens_share_their_sessions(bearer: None) -> None:
    laptop = LegacyPeer(InProcess(), _headers("ann")).connect()
    phone = LegacyPeer(InProcess(), {**_headers("ann"), "Mcp-Session-Id": laptop.session_id})
    assert phone.request("tools/list").status == 200


def test_a_session_of_the_public_is_no_users_and_a_users_is_not_the_publics(
    dynamodb: DynamoDBClient, settings: Settings
) -> None:
    public = LegacyPeer(InProcess()).connect()
    settings.MCP_AUTH = TOKENS
    ann = LegacyPeer(InProcess(), _headers("ann")).connect()
    assert LegacyPeer(InProcess(), {**ann.headers, "Mcp-Session-Id": public.session_id}).request("ping").status == 404
    settings.MCP_AUTH = "mcpsite.endpoint.access.auth.public"
    assert LegacyPeer(InProcess(), {"Mcp-Session-Id": ann.session_id}).request("ping").status == 404


# --- A browser's cookie ---------------------------------------------------------------------------------------


def _browser(user: User) -> InProcess:
    client = Client()
    client.force_login(user)
    return InProcess({"Cookie": client.cookies.output(header="", sep=";").strip()})


def test_a_staff_members_cookie_is_no_identity(dynamodb: DynamoDBClient, settings: Settings) -> None:
    staff = User.objects.create_superuser("root", password="x")
    browser = _browser(staff)

    peer = LegacyPeer(browser).connect()
    assert _owner(peer) == ""

    settings.MCP_AUTH = TOKENS
    assert peer.request("tools/list").status == 401
    assert peer.end().status == 401


def test_a_cookie_does_not_stand_in_for_the_tokens_user(bearer: None) -> None:
    peer = LegacyPeer(_browser(User.objects.create_superuser("root", password="x")), _headers("ann")).connect()
    ann = User.objects.get(username="ann")
    assert _owner(peer) == f"user:{ann.pk}"


# --- A callable of one's own ----------------------------------------------------------------------------------


@pytest.fixture
def named(dynamodb: DynamoDBClient, settings: Settings) -> Callable[[str], InProcess]:
    settings.MCP_AUTH = NAMES
    settings.MCP_SERVER = "tests.mcpsite.servers:tools"
    return lambda name: InProcess({"X-Name": name, "User-Agent": f"agent of {name}"})


def test_a_callable_may_name_a_principal(named: Callable[[str], InProcess]) -> None:
    ann = LegacyPeer(named("ann")).connect()
    assert _owner(ann) == "ann"
    assert LegacyPeer(named("bob"), {"Mcp-Session-Id": ann.session_id}).request("ping").status == 404
    assert LegacyPeer(named("ann"), {"Mcp-Session-Id": ann.session_id}).request("ping").status == 200


def test_a_callables_refusal_is_the_answer(named: Callable[[str], InProcess]) -> None:
    answer = LegacyPeer(named("")).request("initialize", HANDSHAKE)
    assert (answer.status, answer.content, answer.headers["WWW-Authenticate"]) == (401, b"Say your name", "Name")


@pytest.mark.parametrize("peer", [LegacyPeer, ModernPeer])
def test_what_a_callable_sets_reaches_the_handler(named: Callable[[str], InProcess], peer: type[Any]) -> None:
    for name in ("ann", "bob"):
        caller = peer(named(name))
        if peer is LegacyPeer:
            caller.connect()
        seen = caller.call("who").data
        assert (seen["variable"], seen["principal"], seen["agent"]) == (name, name, f"agent of {name}")


def _principal(**attributes: Any) -> str:
    request = HttpRequest()
    for name, value in attributes.items():
        setattr(request, name, value)
    return principal_of(request)


def test_the_principal_is_the_name_that_was_set_else_the_user() -> None:
    user = User(pk=7)
    assert _principal(user=user) == "user:7"
    assert _principal(user=user, mcp_principal="ann") == "ann"
    assert _principal(user=user, mcp_principal=12) == "12"
    assert _principal(user=user, mcp_principal=0) == "0"
    assert _principal(user=user, mcp_principal="") == "user:7"
    assert _principal(user=AnonymousUser()) == ""


def test_a_callable_that_fails_lets_nobody_in(
    dynamodb: DynamoDBClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(request: HttpRequest) -> HttpResponse | None:
        raise RuntimeError("a secret")

    monkeypatch.setattr("tests.mcpsite.servers.callers_name", fail)
    settings.MCP_AUTH = NAMES
    answer = LegacyPeer(InProcess()).request("initialize", HANDSHAKE)
    assert answer.status == 500
    assert b"a secret" not in answer.content


# --- A database that is away ----------------------------------------------------------------------------------


def _unavailable(caplog: pytest.LogCaptureFixture) -> None:
    """Both eras, in the protocol's own form."""
    headers = {"Authorization": "Bearer any"}
    for answer in (
        LegacyPeer(InProcess(), headers).request("initialize", HANDSHAKE),
        ModernPeer(InProcess(), headers).request("tools/list"),
    ):
        assert answer.status == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert answer.error["code"] == INTERNAL_ERROR
        assert "database" in answer.error["message"]
        assert "a secret" not in answer.error["message"]
    assert "the database could not say who calls" in caplog.text


@pytest.mark.parametrize("error", [OperationalError("a secret"), InterfaceError("a secret")])
def test_without_the_database_nobody_can_say_who_calls(
    bearer: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    def fail(_: HttpRequest) -> None:
        raise error

    monkeypatch.setattr(mcpz, "token_auth", fail)
    _unavailable(caplog)


def test_a_database_that_hangs_is_not_waited_for(
    bearer: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    over = threading.Event()
    monkeypatch.setattr(mcpz, "token_auth", lambda _: over.wait(30))
    monkeypatch.setattr(tokens, "CHECK_SECONDS", 0.1)
    try:
        _unavailable(caplog)
    finally:
        over.set()


def test_an_async_callable_gives_its_connection_back(
    dynamodb: DynamoDBClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.MCP_AUTH = "tests.mcpsite.servers.callers_account"
    User.objects.create(username="ann")
    closed: list[int] = []

    def close() -> None:
        closed.append(threading.get_ident())
        connection.connection = None  # The tests' own database is in memory and stays open.

    monkeypatch.setattr(database, "close_old_connections", close)
    assert LegacyPeer(InProcess(), {"X-Name": "nobody"}).request("initialize", HANDSHAKE).status == 401
    # No answer waits for it.
    ends = time.monotonic() + 30
    while not closed and time.monotonic() < ends:
        time.sleep(0.01)
    assert len(closed) == 1
    assert LegacyPeer(InProcess(), {"X-Name": "ann"}).request("initialize", HANDSHAKE).status == 200
    assert len(set(closed)) == 1
