"""A DynamoDB of its own for a test: an engine, unique table names, and the tables. Coroutines are tests, too."""

from __future__ import annotations

import asyncio
import inspect
import os
import secrets
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission, User
from django.test import Client, override_settings
from pytest_django import Settings

from sessions_dynamo.client import dynamodb as dynamodb_client
from sessions_dynamo.dataplane.loops import close_planes_of_this_loop
from sessions_dynamo.embedded_data.folder import MEMORY_ONLY
from sessions_dynamo.tables.setup import ensure_tables
from tests.engines import DYNAMODB_LOCAL, ENGINES, EngineMissing
from tests.iam import session as aws_calls
from tests.scheduling import LAST, TURNS, SharedScheduling
from tests.sessions_dynamo.drivers import ASYNCIO

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from xdist.remote import Producer
    from xdist.workermanage import WorkerController

NOT_TESTED = "NOT TESTED"
"""A test that skips for this reason is named again at the end."""
SHOWN = "shown"
"""A property of a test, by ``record_property``: a text for the end of the run."""


def pytest_configure(config: pytest.Config) -> None:
    aws_calls.begin(config)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: WorkerController) -> None:
    aws_calls.hand_over(node.config, node.workerinput)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> SharedScheduling | None:
    """Under ``-n`` alone; with a ``--dist`` besides, which is that of ``make check``, as that has it."""
    return SharedScheduling(config, log) if config.getoption("dist") == "load" else None


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    if items:
        aws_calls.note_deselected(items[0].config)


# Tests that need more than Python: Java, Node.js, a browser, a package registry, or the whole of a run.
NEED_MORE = (*TURNS, *LAST, "iam", "servers")
# The slowest of the others, half of their time: many rows, kills behind every write, commands and servers as
# processes, models that are walked at random.
SLOW = frozenset(
    {
        "deploy/test_sam_build.py",
        "deploy/test_serverless.py",
        "deploy/test_ecs_site.py",
        "deploy/test_ecs_template.py",
        "deploy/test_terraform.py",
        "sessions_dynamo/asgi_server/test_slow_clients.py",
        "sessions_dynamo/asgi_server/test_stopping.py",
        "sessions_dynamo/backups/test_restores.py",
        "sessions_dynamo/embedded_data/test_processes.py",
        "sessions_dynamo/management/test_export_commands.py",
        "sessions_dynamo/management/test_restore_command.py",
        "sessions_dynamo/management/test_runserver.py",
        "sessions_dynamo/management/test_session_restore_command.py",
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
        "mcpsite/aws_lambda/test_cold.py",
        "mcpsite/endpoint/peers/test_bell.py",
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
    items.sort(key=lambda item: item.path.name in LAST)


PATIENCE_SECONDS = 90


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a coroutine function on an event loop of its own, for a bounded time."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None

    async def bounded(**arguments: Any) -> None:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await pyfuncitem.obj(**arguments)
        finally:
            await close_planes_of_this_loop()

    names = inspect.signature(pyfuncitem.obj).parameters
    asyncio.run(bounded(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


# Whatever a test starts keeps nothing beside manage.py; what tests that names a folder of its own.
os.environ["DYNAMODB_EMBEDDED_DATA"] = MEMORY_ONLY[-1]

# A shell that starts the tests in the background has them ignore SIGINT, and so the commands that they interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _collected_static_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An empty directory: tests run without DEBUG, and WhiteNoise warns of one that is not there."""
    with override_settings(STATIC_ROOT=tmp_path_factory.mktemp("static")):
        yield


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
        if os.environ.get("CI") == "true":
            pytest.fail(str(exc))
        pytest.skip(f"{NOT_TESTED} on {name}: {exc}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """From the reports, which come from whichever process ran a test."""
    for report in (*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")):
        for name, text in report.user_properties:
            if name == SHOWN:
                terminalreporter.write_line(f"{report.nodeid}\n{text}\n")
    reasons = (report.longrepr[2].partition(": ")[2] for report in terminalreporter.getreports("skipped"))
    for reason in dict.fromkeys(reason for reason in reasons if reason.startswith(NOT_TESTED)):
        terminalreporter.write_line(reason, red=True, bold=True)


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
