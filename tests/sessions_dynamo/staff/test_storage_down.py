"""The staff pages while DynamoDB does not answer: the shell stays, and the page says what is wrong, within seconds."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from sessions_dynamo.client import dynamodb
from sessions_dynamo.reading import tails
from tests.engines import free_port
from tests.sessions_dynamo.staff import urls

pytestmark = pytest.mark.django_db

ARGUMENTS = {"session_id": "some-session", "key": "colour", "event_id": "some-event", "stream_id": "some-stream"}
PROMISED_SECONDS = 3.0
MACHINE_SECONDS = 5.0
"""What a busy machine may take besides waiting."""


def _point_at(port: int, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    # Less than people are promised, so that these tests are soon done.
    settings.DYNAMODB_PAGE_SECONDS = 0.5
    # Tells the clients and the stores that a setting has changed.
    settings.DYNAMODB_SESSIONS_TABLE = "unreachable"


@pytest.fixture
def refusing(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing listens where DynamoDB should."""
    _point_at(free_port(), settings, monkeypatch)


@pytest.fixture
def silent(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What listens takes connections, and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        _point_at(listener.getsockname()[1], settings, monkeypatch)
        yield


@pytest.fixture(params=["refusing", "silent"])
def unreachable(request: pytest.FixtureRequest) -> str:
    """Each way in which DynamoDB may be unreachable."""
    request.getfixturevalue(request.param)
    return str(request.param)


@pytest.mark.parametrize("name", urls.names())
def test_a_page_says_so_soon_and_keeps_its_shell(
    name: str, unreachable: str, staff_client: Callable[..., Client]
) -> None:
    client = staff_client("view_session", "change_session", "delete_session", "manage_tables", "manage_backups")
    # For the parts of pages that ask for what is new: as if the page had been read a moment ago.
    query = {"after": tails.begin([]).encode()} if name.endswith("-live") else {}
    began = time.monotonic()
    answer = client.get(urls.url(name, ARGUMENTS), query)
    took = time.monotonic() - began

    assert took < PROMISED_SECONDS + MACHINE_SECONDS
    if name.endswith("-live"):
        assert 'role="alert"' in answer.text
    elif answer.status_code != 405:
        assert "Log out" in answer.text
    if answer.status_code >= 500:
        assert answer.status_code == 503
        assert "Cannot reach" in answer.text


def test_the_pages_client_waits_for_one_answer_and_less_than_is_promised(settings: Settings) -> None:
    settings.DYNAMODB_PAGE_SECONDS = 2.0
    config: Any = dynamodb(quick=True).meta.config
    assert config.connect_timeout + config.read_timeout <= PROMISED_SECONDS
    assert config.retries["total_max_attempts"] == 1
