from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core.checks import run_checks
from pytest_django import Settings

from mcpsite.checks import check_deployment
from sessions_dynamo import checks
from sessions_dynamo.checks import check_connections, check_dynamodb, refuse_to_start

SQLITE = "django.db.backends.sqlite3"
POSTGRES = "django.db.backends.postgresql"


def ids(check: Callable[[], list[Any]]) -> list[str | None]:
    return [found.id for found in check()]


@pytest.fixture
def deployed(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings as a deployment has them: nothing to complain of."""
    settings.DEBUG = False
    settings.SECRET_KEY = "long and random"
    settings.DATABASE_URL_IS_SET = True
    monkeypatch.setitem(settings.DATABASES["default"], "ENGINE", POSTGRES)
    settings.DYNAMODB_EMBEDDED = False
    return settings


def test_a_deployment_that_chose_everything_passes(deployed: Settings) -> None:
    assert ids(check_deployment) == []
    assert ids(check_dynamodb) == []
    assert ids(check_connections) == []


def test_debug_needs_no_choice(settings: Settings) -> None:
    settings.DEBUG = True
    settings.SECRET_KEY = settings.DEVELOPMENT_SECRET_KEY
    settings.DATABASE_URL_IS_SET = False
    settings.DYNAMODB_EMBEDDED = True

    assert ids(check_deployment) == []
    assert ids(check_dynamodb) == []


def test_the_development_secret_key_is_refused(deployed: Settings) -> None:
    deployed.SECRET_KEY = deployed.DEVELOPMENT_SECRET_KEY

    assert ids(check_deployment) == ["sessions_dynamo.E001"]


def test_a_missing_database_url_is_refused(deployed: Settings) -> None:
    deployed.DATABASE_URL_IS_SET = False

    assert ids(check_deployment) == ["sessions_dynamo.E002"]


def test_sqlite_is_a_warning(deployed: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(deployed.DATABASES["default"], "ENGINE", SQLITE)

    assert ids(check_deployment) == ["sessions_dynamo.W001"]


def test_the_embedded_dynamodb_is_refused(deployed: Settings) -> None:
    deployed.DYNAMODB_EMBEDDED = True

    assert ids(check_dynamodb) == ["sessions_dynamo.E003"]


@pytest.mark.parametrize("port", [-1, 0, 65536])
def test_a_port_of_the_embedded_dynamodb_that_is_none_is_refused(deployed: Settings, port: int) -> None:
    deployed.DYNAMODB_EMBEDDED_PORT = port

    assert ids(check_dynamodb) == ["sessions_dynamo.E011"]


def test_equal_table_names_are_refused(deployed: Settings) -> None:
    deployed.DYNAMODB_EVENTS_TABLE = deployed.DYNAMODB_SESSIONS_TABLE

    assert ids(check_dynamodb) == ["sessions_dynamo.E004"]


@pytest.mark.parametrize(
    ("name", "id_"),
    [
        ("SESSION_TTL_HOURS", "sessions_dynamo.E005"),
        ("EVENT_TTL_HOURS", "sessions_dynamo.E006"),
        ("MAX_EVENTS_PER_SESSION", "sessions_dynamo.E007"),
    ],
)
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_limits_of_zero_or_less_are_refused(deployed: Settings, name: str, id_: str, value: float) -> None:
    setattr(deployed, name, value)

    assert ids(check_dynamodb) == [id_]


@pytest.mark.parametrize("seconds", [600, None])
@pytest.mark.parametrize("engine", [SQLITE, POSTGRES])
def test_connections_that_threads_would_keep_are_a_warning(
    deployed: Settings, monkeypatch: pytest.MonkeyPatch, seconds: int | None, engine: str
) -> None:
    monkeypatch.setitem(deployed.DATABASES["default"], "ENGINE", engine)
    monkeypatch.setitem(deployed.DATABASES["default"], "CONN_MAX_AGE", seconds)

    (warning,) = check_connections()
    assert warning.id == "sessions_dynamo.W002"
    assert warning.hint is not None
    assert 'Set DATABASES["default"]["CONN_MAX_AGE"] to 0' in warning.hint


def test_a_pool_beside_connections_that_threads_keep_is_refused(
    deployed: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Django would raise at the first request."""
    monkeypatch.setitem(deployed.DATABASES["default"], "CONN_MAX_AGE", 600)
    monkeypatch.setitem(deployed.DATABASES["default"], "OPTIONS", {"pool": True})

    assert ids(check_connections) == ["sessions_dynamo.E009"]


def test_a_project_that_serves_no_asgi_may_keep_its_connections(
    deployed: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(deployed.DATABASES["default"], "CONN_MAX_AGE", 600)
    deployed.ASGI_APPLICATION = None

    assert ids(check_connections) == []


def test_every_message_says_what_to_set(settings: Settings) -> None:
    settings.DEBUG = False
    settings.SECRET_KEY = settings.DEVELOPMENT_SECRET_KEY
    settings.DATABASE_URL_IS_SET = False
    settings.DYNAMODB_EMBEDDED = True
    settings.SESSION_TTL_HOURS = settings.EVENT_TTL_HOURS = settings.MAX_EVENTS_PER_SESSION = 0

    for found in [*check_deployment(), *check_dynamodb()]:
        assert found.hint
        assert "et " in found.hint


def test_the_table_commands_run_only_the_checks_of_tables(deployed: Settings) -> None:
    deployed.SECRET_KEY = deployed.DEVELOPMENT_SECRET_KEY

    assert run_checks(tags=[checks.DYNAMODB]) == []


def test_a_start_with_errors_is_refused_in_one_readable_message(
    deployed: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    deployed.SECRET_KEY = deployed.DEVELOPMENT_SECRET_KEY
    deployed.DATABASE_URL_IS_SET = False

    with pytest.raises(SystemExit) as ended:
        refuse_to_start()

    printed = capsys.readouterr().err
    assert printed.startswith("This service cannot start with its settings:\n* SECRET_KEY is not set.")
    assert "* DATABASE_URL is not set. (sessions_dynamo.E002)" in printed
    assert ended.value.code == 4  # ends gunicorn; another status would have it start the worker again


def test_a_silenced_error_does_not_refuse_a_start(deployed: Settings) -> None:
    deployed.SECRET_KEY = deployed.DEVELOPMENT_SECRET_KEY
    deployed.SILENCED_SYSTEM_CHECKS = ["sessions_dynamo.E001"]

    refuse_to_start()
