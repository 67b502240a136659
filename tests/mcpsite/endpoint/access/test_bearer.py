"""Bearer tokens that are remembered: good answers alone, for a bounded time, and never past what ended them here."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.contrib.messages.storage.fallback import FallbackStorage
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from django.utils import timezone
from django_mcpz.bearer_tokens import auth
from django_mcpz.bearer_tokens.models import Token
from pytest_django import Settings

from mcpsite.endpoint.access import bearer
from mcpsite.endpoint.access.auth import load_authenticator
from tests.mcpsite import site

# A check runs in a thread, whose connection sees what was committed.
pytestmark = pytest.mark.django_db(transaction=True)


class Clock:
    def __init__(self) -> None:
        self.now = time.monotonic()

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(bearer, "time", SimpleNamespace(monotonic=clock.monotonic))
    return clock


@pytest.fixture(autouse=True)
def checks(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Every check that asked the database."""
    settings.MCP_AUTH = "django_mcpz.bearer_tokens.auth.token_auth"
    asked: list[str] = []
    check = auth.token_auth

    def counted(request: HttpRequest) -> HttpResponse | None:
        asked.append(request.headers.get("Authorization", ""))
        return check(request)

    monkeypatch.setattr(auth, "token_auth", counted)
    bearer.remembered.forget()
    yield asked
    bearer.remembered.forget()


def made(**fields: Any) -> tuple[Token, str]:
    user = User.objects.create(username=f"user-{User.objects.count()}")
    return Token.create(name="laptop", user=user, **fields)


def status(value: str | None, scheme: str = "Bearer") -> int:
    """What a request with this token is answered: 200 where it may go on."""

    async def ask() -> int:
        request = RequestFactory().post("/mcp", headers={"Authorization": f"{scheme} {value}"} if value else {})
        rejection = await load_authenticator()(request)
        if rejection is None:
            assert request.user.is_authenticated
            assert request.mcp_token.user == request.user  # type: ignore[attr-defined]
        return rejection.status_code if rejection is not None else 200

    return site.on_the_loop(ask())


def test_a_good_answer_is_asked_for_once(checks: list[str]) -> None:
    (_, mine), (_, other) = made(), made()
    assert [status(mine), status(mine), status(other), status(mine)] == [200] * 4
    assert checks == [f"Bearer {mine}", f"Bearer {other}"]


@pytest.mark.parametrize("value", ["wrong", None])
def test_a_bad_answer_is_asked_for_again(checks: list[str], value: str | None) -> None:
    assert [status(value), status(value)] == [401, 401]
    assert len(checks) == 2


def test_another_scheme_is_another_answer(checks: list[str]) -> None:
    _, value = made()
    assert [status(value), status(value, "Basic"), status(value, "bearer")] == [200, 401, 200]


def test_each_request_has_a_user_of_its_own() -> None:
    _, value = made()
    users = []

    async def ask() -> None:
        for _ in range(3):
            request = RequestFactory().post("/mcp", headers={"Authorization": f"Bearer {value}"})
            assert await load_authenticator()(request) is None
            users.append(request.user)

    site.on_the_loop(ask())
    assert len({id(user) for user in users}) == 3


def test_it_is_asked_again_after_a_time(checks: list[str], settings: Settings, clock: Clock) -> None:
    settings.AUTH_RECHECK_SECONDS = 30
    _, value = made()
    assert status(value) == 200
    clock.now += 29
    assert status(value) == 200
    clock.now += 2
    assert status(value) == 200
    assert len(checks) == 2


def test_it_can_be_asked_at_every_request(checks: list[str], settings: Settings) -> None:
    settings.AUTH_RECHECK_SECONDS = 0
    _, value = made()
    assert [status(value), status(value)] == [200, 200]
    assert len(checks) == 2


def test_a_token_is_never_remembered_past_its_expiry(checks: list[str], clock: Clock) -> None:
    _, value = made(expires_at=timezone.now() + timedelta(seconds=10))
    assert status(value) == 200
    clock.now += 9
    assert status(value) == 200
    clock.now += 2
    status(value)
    assert len(checks) == 2


def test_what_is_revoked_here_is_refused_at_once() -> None:
    token, value = made()
    assert status(value) == 200
    token.revoke()
    assert status(value) == 401


def test_what_is_revoked_on_the_staff_pages_is_refused_at_once() -> None:
    token, value = made()
    assert status(value) == 200
    request: Any = RequestFactory().post("/admin/")
    request.session = {}
    request._messages = FallbackStorage(request)
    page: Any = admin.site._registry[Token]
    page.revoke(request, Token.objects.filter(pk=token.pk))
    assert status(value) == 401


def test_a_token_that_is_deleted_is_refused_at_once() -> None:
    token, value = made()
    assert status(value) == 200
    token.delete()
    assert status(value) == 401


@pytest.mark.parametrize("how", ["deactivated", "deleted"])
def test_a_user_who_is_gone_is_refused_at_once(how: str) -> None:
    token, value = made()
    assert status(value) == 200
    if how == "deleted":
        token.user.delete()
    else:
        token.user.is_active = False
        token.user.save()
    assert status(value) == 401


def test_what_another_process_revoked_is_refused_at_the_next_check(settings: Settings, clock: Clock) -> None:
    settings.AUTH_RECHECK_SECONDS = 30
    token, value = made()
    assert status(value) == 200
    Token.objects.filter(pk=token.pk).update(revoked_at=timezone.now())
    assert status(value) == 200
    clock.now += 31
    assert status(value) == 401


def test_a_revocation_during_a_check_is_not_forgotten(monkeypatch: pytest.MonkeyPatch, checks: list[str]) -> None:
    token, value = made()
    check = auth.token_auth

    def revoked_meanwhile(request: HttpRequest) -> HttpResponse | None:
        rejection = check(request)
        token.revoke()
        return rejection

    with monkeypatch.context() as patch:
        patch.setattr(auth, "token_auth", revoked_meanwhile)
        status(value)
    assert status(value) == 401


def test_they_are_bounded_in_number(monkeypatch: pytest.MonkeyPatch, checks: list[str]) -> None:
    monkeypatch.setattr(bearer, "MAX_REMEMBERED", 2)
    values = [value for _, value in (made() for _ in range(3))]
    for value in values:
        assert status(value) == 200
    assert len(bearer.remembered) == 2
    checks.clear()
    assert [status(value) for value in reversed(values)] == [200, 200, 200]
    assert checks == [f"Bearer {values[0]}"]


def test_the_last_use_is_recorded(clock: Clock) -> None:
    token, value = made()
    assert status(value) == 200
    token.refresh_from_db()
    assert token.last_used_at is not None
    assert timezone.now() - token.last_used_at < timedelta(minutes=1)
