"""Who gets to which page and action, whatever the page: login, permission, POST, CSRF token, confirmation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest
from botocore.client import BaseClient
from django.test import Client

from sessions_dynamo.store.events import default_store as default_events
from sessions_dynamo.store.sessions import default_store as default_sessions
from tests.engines import on_moto
from tests.sessions_dynamo.staff import urls

pytestmark = pytest.mark.django_db

ALL: Final = ("view_session", "change_session", "delete_session", "manage_tables", "manage_backups")
NEEDS: Final = {
    # What a URL needs besides "view_session", which is what the others need.
    "mcp_staff:backups-complete": "manage_backups",
    "mcp_staff:backups-create": "manage_backups",
    "mcp_staff:backups-delete": "manage_backups",
    "mcp_staff:backups-restore": "manage_backups",
    "mcp_staff:delete-sessions": "delete_session",
    "mcp_staff:session-delete": "delete_session",
    "mcp_staff:session-key-add": "change_session",
    "mcp_staff:session-terminate": "change_session",
    "mcp_staff:session-value-delete": "change_session",
    "mcp_staff:session-value-edit": "change_session",
    "mcp_staff:tables-converge": "manage_tables",
    "mcp_staff:terminate-sessions": "change_session",
    "try-it": "change_session",
}
READS: Final = ("BatchGet", "Describe", "Get", "List", "Query")
"""Operations that change nothing and read no whole table begin so."""

# No test that is refused reaches DynamoDB, so it needs no such thing to exist.
ANY: Final = {"session_id": "some-session", "key": "colour", "event_id": "some-event", "stream_id": "some-stream"}

every_url = pytest.mark.parametrize("name", urls.names())


@pytest.fixture
def arguments(dynamodb: object) -> dict[str, str]:
    """A value for each argument of a staff URL; the session and its things exist."""
    store, events = default_sessions(), default_events()
    session = store.create(principal="alice", client_params={"clientInfo": {"name": "claude-code", "version": "2"}})
    session.state["colour"] = "blue"
    store.save(session)
    event = events.store(session.session_id, "notifications/message", '{"jsonrpc": "2.0"}')
    return {
        "session_id": session.session_id,
        "key": "colour",
        "event_id": event.event_id,
        "stream_id": event.stream_id,
    }


@contextmanager
def aws_operations(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The names of the operations that this process asks of any AWS service meanwhile."""
    asked: list[str] = []
    ask = BaseClient._make_api_call  # type: ignore[attr-defined]  # of every service's client

    def heard(client: BaseClient, operation: str, params: dict[str, Any]) -> Any:
        asked.append(operation)
        return ask(client, operation, params)

    with monkeypatch.context() as patch:
        patch.setattr(BaseClient, "_make_api_call", heard)
        yield asked


def _needed(name: str) -> str:
    return NEEDS.get(name, "view_session")


@every_url
def test_nobody_gets_in_without_a_login(name: str, client: Client) -> None:
    for answer in (client.get(urls.url(name, ANY)), client.post(urls.url(name, ANY))):
        assert answer.status_code == 302
        assert answer["Location"].startswith("/admin/login/")


@every_url
def test_a_staff_account_without_permissions_is_refused_in_the_shell(
    name: str, staff_client: Callable[..., Client]
) -> None:
    newcomer = staff_client()
    for answer in (newcomer.get(urls.url(name, ANY)), newcomer.post(urls.url(name, ANY))):
        assert answer.status_code == 403
        assert "sessions_dynamo." in answer.text
        assert "does not have" in answer.text
        assert "Log out" in answer.text


@every_url
def test_every_other_permission_is_not_enough(
    name: str,
    staff_client: Callable[..., Client],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = staff_client(*(permission for permission in ALL if permission != _needed(name)))
    with aws_operations(monkeypatch) as asked:
        answers = [
            other.get(urls.url(name, ANY)),
            other.post(urls.url(name, ANY), {"confirmed": "yes"}),
        ]
    assert [answer.status_code for answer in answers] == [403, 403]
    assert _needed(name) in answers[1].text
    assert asked == []


@every_url
@on_moto
def test_the_permission_is_enough(name: str, arguments: dict[str, str], staff_client: Callable[..., Client]) -> None:
    answer = staff_client(*{"view_session", _needed(name)}).get(urls.url(name, arguments))
    assert answer.status_code < 500
    assert answer.status_code != 403


@every_url
@on_moto
def test_get_changes_nothing_and_scans_nothing(
    name: str,
    arguments: dict[str, str],
    staff_client: Callable[..., Client],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = staff_client(*ALL)
    with aws_operations(monkeypatch) as asked:
        answer = client.get(urls.url(name, arguments), {"confirmed": "yes"})
        b"".join(getattr(answer, "streaming_content", ()))
    assert answer.status_code in (200, 302, 400, 404, 405, 501, 503)
    assert [operation for operation in asked if not operation.startswith(READS)] == []


@every_url
def test_nothing_is_done_without_a_csrf_token(
    name: str, staff_client: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    forged = staff_client(*ALL, enforce_csrf_checks=True)
    with aws_operations(monkeypatch) as asked:
        answer = forged.post(urls.url(name, ANY), {"confirmed": "yes"})
    assert answer.status_code == 403
    assert asked == []


@every_url
@on_moto
def test_nothing_is_done_before_it_is_confirmed(
    name: str,
    arguments: dict[str, str],
    staff_client: Callable[..., Client],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = staff_client(*ALL)
    with aws_operations(monkeypatch) as asked:
        answer = client.post(urls.url(name, arguments))
    assert answer.status_code in (200, 302, 400, 404, 405)
    assert [operation for operation in asked if not operation.startswith(READS)] == []
