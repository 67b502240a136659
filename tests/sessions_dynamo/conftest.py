"""Fixtures of the store's tests: the stores themselves, over tables that every test finds empty, and what watches."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from django.test import override_settings

from sessions_dynamo import client, schema
from sessions_dynamo.dataplane.observers import on_request
from sessions_dynamo.operations import Driver, boto3_driver, run
from sessions_dynamo.reading import session_list
from sessions_dynamo.reading.session_list import SessionList
from sessions_dynamo.store import (
    batches,
    event_operations,
    global_state,
    large_values,
    live_update,
    session_items,
    session_operations,
)
from sessions_dynamo.store.events import EventStore
from sessions_dynamo.store.sessions import SessionStore
from sessions_dynamo.tables.setup import ensure_tables
from tests.sessions_dynamo.drivers import BOTO3, LoopDriver
from tests.sessions_dynamo.support import Clock, Wire, raw_items

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@dataclass(frozen=True, slots=True)
class StoreTables:
    """One engine's client and the names of both tables."""

    dynamodb: DynamoDBClient
    sessions: str
    events: str


@pytest.fixture(scope="session")
def made_tables(engine: tuple[str, str]) -> StoreTables:
    """Both tables, made once for each engine: to make them for each test takes longer than the test."""
    unique = secrets.token_hex(4)
    names = {"DYNAMODB_SESSIONS_TABLE": f"sessions-{unique}", "DYNAMODB_EVENTS_TABLE": f"events-{unique}"}
    with pytest.MonkeyPatch.context() as patch, override_settings(**names):
        patch.setenv("AWS_ENDPOINT_URL", engine[1])
        dynamodb = client.dynamodb()
        ensure_tables(client=dynamodb)
    return StoreTables(dynamodb, *names.values())


@pytest.fixture
def store_tables(made_tables: StoreTables) -> Iterator[StoreTables]:
    """Both tables, emptied after the test."""
    yield made_tables
    for table, name in ((schema.SESSIONS, made_tables.sessions), (schema.EVENTS, made_tables.events)):
        keys = [{key.name: item[key.name] for key in table.keys} for item in raw_items(made_tables.dynamodb, name)]
        run(made_tables.dynamodb, batches.delete(name, keys))


@pytest.fixture(scope="session")
def loop_driver() -> Iterator[LoopDriver]:
    """A loop in a thread of its own; one for the session."""
    with LoopDriver() as driver:
        yield driver


@pytest.fixture
def driver_named(
    made_tables: StoreTables,
    engine: tuple[str, str],
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[str], Driver]:
    """Drivers by name, towards the engine."""

    def named(name: str) -> Driver:
        if name == BOTO3:
            return boto3_driver(made_tables.dynamodb)
        monkeypatch.setenv("AWS_ENDPOINT_URL", engine[1])
        driver: LoopDriver = request.getfixturevalue("loop_driver")
        driver.towards(engine[1])
        return driver

    return named


@pytest.fixture
def driver(driver_named: Callable[[str], Driver]) -> Driver:
    """What drives the stores: boto3. In the folders of the stores' own tests, each driver in turn."""
    return driver_named(BOTO3)


@pytest.fixture
def session_store(store_tables: StoreTables, driver: Driver) -> SessionStore:
    """The store of sessions; TTL 24 hours, 6 after the end."""
    return SessionStore(
        store_tables.dynamodb,
        store_tables.sessions,
        session_ttl=timedelta(hours=24),
        terminated_ttl=timedelta(hours=6),
        driver=driver,
    )


@pytest.fixture
def session_pages(session_store: SessionStore) -> SessionList:
    """The list of the store's sessions."""
    return SessionList(session_store)


@pytest.fixture
def event_store(store_tables: StoreTables, driver: Driver, monkeypatch: pytest.MonkeyPatch) -> EventStore:
    """The store of events; TTL 6 hours, 1,000 events a session, and no trim unless a test asks for one."""
    monkeypatch.setattr(event_operations, "random", SimpleNamespace(random=lambda: 1.0))
    return EventStore(
        store_tables.dynamodb, store_tables.events, event_ttl=timedelta(hours=6), max_events=1000, driver=driver
    )


@pytest.fixture
def wire(store_tables: StoreTables) -> Iterator[Wire]:
    """Every request from here on, of the engine's client and of every loop."""
    heard = Wire()
    hooks = store_tables.dynamodb.meta.events
    hooks.register("before-parameter-build.dynamodb", heard.hear)
    with on_request(heard.hear_on_loop):
        yield heard
    hooks.unregister("before-parameter-build.dynamodb", heard.hear)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The store's clock, at ten seconds past the minute."""
    stopped = Clock(session_items.floor(datetime.now(UTC)) + timedelta(seconds=10))
    for module in (
        event_operations,
        global_state,
        large_values,
        live_update,
        session_items,
        session_list,
        session_operations,
    ):
        monkeypatch.setattr(module, "datetime", stopped.datetime)
    monkeypatch.setattr(schema, "now_ms", stopped.now_ms)
    return stopped
