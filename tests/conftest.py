"""Fixtures that give a test a DynamoDB of its own: an engine, unique table names, and the tables."""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission, User
from django.test import Client
from pytest_django import Settings

from sessions_dynamo.client import dynamodb as dynamodb_client
from sessions_dynamo.tables.setup import ensure_tables
from tests.engines import DYNAMODB_LOCAL, ENGINES, EngineMissing
from tests.iam import session as aws_calls
from tests.sessions_dynamo.drivers import ASYNCIO

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_missing: dict[str, str] = {}


def pytest_configure(config: pytest.Config) -> None:
    aws_calls.begin(config)


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    if items:
        aws_calls.note_deselected(items[0].config)


# Tests that need more than Python: Java, Node.js, a browser, a package registry, or the whole of a run.
NEED_MORE = ("browser", "conformance", "iam", "live", "release", "test_iam.py", "test_packaging.py", "test_readme.py")
# The slowest of the others, half of their time: many rows, kills behind every write, commands and servers as
# processes, models that are walked at random.
SLOW = frozenset(
    {
        "sessions_dynamo/asgi_server/test_slow_clients.py",
        "sessions_dynamo/asgi_server/test_stopping.py",
        "sessions_dynamo/backups/test_restores.py",
        "sessions_dynamo/management/test_export_commands.py",
        "sessions_dynamo/management/test_restore_command.py",
        "sessions_dynamo/management/test_runserver.py",
        "sessions_dynamo/management/test_teardown_command.py",
        "sessions_dynamo/reading/test_session_filters.py",
        "sessions_dynamo/reading/test_session_list.py",
        "sessions_dynamo/staff/sessions/test_listing.py",
        "sessions_dynamo/staff/test_access.py",
        "sessions_dynamo/staff/test_fuzz.py",
        "sessions_dynamo/staff/test_storage_down.py",
        "sessions_dynamo/tables/test_convergence.py",
        "sessions_dynamo/test_embedded.py",
        "sessions_dynamo/transfer/test_exports.py",
        "sessions_dynamo/upkeep/test_expiry.py",
        "mcpsite/endpoint/streams/test_model.py",
        "mcpsite/endpoint/streams/test_worker.py",
        "mcpsite/endpoint/test_exact_values.py",
        "mcpsite/endpoint/test_fuzz.py",
    }
)
# Of what runs on moto with boto3, what runs on the event loop as well: a few of each kind of request.
QUICK_ON_A_LOOP = frozenset(
    {
        "sessions_dynamo/store/test_batches.py",
        "sessions_dynamo/store/test_budget.py",
        "sessions_dynamo/store/test_drivers.py",
        "sessions_dynamo/store/test_sessions.py",
    }
)
TESTS = Path(__file__).parent


def is_slow(item: pytest.Item) -> bool:
    """Whether ``make check`` leaves a test out."""
    path = item.path.relative_to(TESTS).as_posix()
    parameters: dict[str, object] = item.callspec.params if hasattr(item, "callspec") else {}
    return (
        path in SLOW
        or path.partition("/")[0] in NEED_MORE
        or parameters.get("engine") == DYNAMODB_LOCAL
        or (parameters.get("driver") == ASYNCIO and path not in QUICK_ON_A_LOOP)
    )


@pytest.hookimpl(tryfirst=True)
def pytest_itemcollected(item: pytest.Item) -> None:
    if is_slow(item):
        item.add_marker(pytest.mark.slow)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Hold the calls against the policies when all of them have been made."""
    items.sort(key=lambda item: item.path.name == "test_iam.py")


# A shell that starts the tests in the background has them ignore SIGINT, and so the commands that they interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def start_engine() -> Iterator[Callable[[str], str]]:
    """Start engines by name, each once a session, and return their URLs."""
    urls: dict[str, str] = {}
    with ExitStack() as running:

        def start(name: str) -> str:
            if name not in urls:
                urls[name] = running.enter_context(ENGINES[name]())
            return urls[name]

        yield start


@pytest.fixture(scope="session", params=list(ENGINES))
def engine(request: pytest.FixtureRequest, start_engine: Callable[[str], str]) -> tuple[str, str]:
    """Name and URL of each engine in turn; without what it needs a test is skipped, and on CI fails."""
    return start_or_skip(request.param, start_engine)


def start_or_skip(name: str, start: Callable[[str], str]) -> tuple[str, str]:
    """Name and URL of an engine that ``start`` has started."""
    try:
        return name, start(name)
    except EngineMissing as exc:
        _missing[name] = str(exc)
        if os.environ.get("CI") == "true":
            pytest.fail(str(exc))
        pytest.skip(str(exc))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for name, reason in _missing.items():
        terminalreporter.write_line(f"NOT TESTED on {name}: {reason}", red=True, bold=True)


@pytest.fixture
def bare_dynamodb(
    engine: tuple[str, str], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[DynamoDBClient]:
    """The service's own client, pointed at the engine, with table names of this test's own and no tables yet."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", engine[1])
    unique = secrets.token_hex(4)
    settings.DYNAMODB_SESSIONS_TABLE = f"sessions-{unique}"
    settings.DYNAMODB_EVENTS_TABLE = f"events-{unique}"
    dynamodb = dynamodb_client()
    yield dynamodb
    for name in (f"sessions-{unique}", f"events-{unique}"):
        try:
            dynamodb.update_table(TableName=name, DeletionProtectionEnabled=False)
        except dynamodb.exceptions.ResourceNotFoundException:
            continue
        dynamodb.delete_table(TableName=name)


@pytest.fixture
def tables(bare_dynamodb: DynamoDBClient) -> None:
    """Both tables, of this test's own, under the names in the settings."""
    ensure_tables(client=bare_dynamodb)


@pytest.fixture
def dynamodb(bare_dynamodb: DynamoDBClient, tables: None) -> DynamoDBClient:
    """The service's own client, pointed at the engine, with both tables created."""
    return bare_dynamodb


@pytest.fixture
def staff_user(db: None) -> Callable[..., User]:
    """Make a staff account with permissions of ``sessions_dynamo`` by codename, such as ``"view_session"``."""
    numbers = count(1)

    def make(*permissions: str) -> User:
        user: User = get_user_model().objects.create_user(f"staff-{next(numbers)}", is_staff=True)
        granted = Permission.objects.filter(content_type__app_label="sessions_dynamo", codename__in=permissions)
        assert granted.count() == len(permissions), f"no such permission among {permissions}"
        user.user_permissions.set(granted)
        return user

    return make


@pytest.fixture
def staff_client(staff_user: Callable[..., User]) -> Callable[..., Client]:
    """Log a staff account in that has permissions by codename."""

    def make(*permissions: str, enforce_csrf_checks: bool = False) -> Client:
        client = Client(enforce_csrf_checks=enforce_csrf_checks)
        client.force_login(staff_user(*permissions))
        return client

    return make
