"""What a person sees who asks for a page that is not there, or that fails."""

from __future__ import annotations

import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.db import InterfaceError, OperationalError, ProgrammingError
from django.test import Client


def test_an_unknown_page_names_those_that_exist(client: Client) -> None:
    answer = client.get("/nothing/here")
    assert answer.status_code == 404
    assert b"/mcp" in answer.content
    assert b"/admin/" in answer.content


def _sign_in(monkeypatch: pytest.MonkeyPatch, error: Exception) -> Client:
    """A client that is signed in, as far as the database, which raises, could say."""

    def fail(_: SessionStore) -> None:
        raise error

    monkeypatch.setattr(SessionStore, "load", fail)
    client = Client(raise_request_exception=False)
    client.cookies["sessionid"] = "a" * 32
    return client


@pytest.mark.parametrize(
    "error", [RuntimeError("a secret"), ProgrammingError("a secret")], ids=lambda error: type(error).__name__
)
def test_a_page_that_fails_says_where_the_reason_is(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    answer = _sign_in(monkeypatch, error).get("/admin/")
    assert answer.status_code == 500
    assert b"/readyz" in answer.content
    assert b"a secret" not in answer.content


@pytest.mark.parametrize(
    "error", [OperationalError("a secret"), InterfaceError("a secret")], ids=lambda error: type(error).__name__
)
@pytest.mark.parametrize("path", ["/admin/", "/admin/sessions/", "/admin/auth/user/", "/admin/login/"])
def test_a_database_that_is_away_is_no_fault_of_the_page(
    monkeypatch: pytest.MonkeyPatch, path: str, error: Exception
) -> None:
    answer = _sign_in(monkeypatch, error).get(path)
    assert answer.status_code == 503
    assert int(answer["Retry-After"]) > 0
    assert b"The database is not available" in answer.content
    assert b"a secret" not in answer.content
