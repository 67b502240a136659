"""Clients of the endpoint, over real tables, and an ear on what goes to DynamoDB.

What the endpoint does depends little on the engine: a test runs on moto alone unless it is marked otherwise.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from django.test import override_settings
from pytest_django import Settings

from sessions_dynamo import client, schema, worker_keys
from sessions_dynamo.dataplane.observers import Asked, on_request
from sessions_dynamo.schema import EventKind
from sessions_dynamo.tables import setup
from tests.engines import ENGINES, on_moto
from tests.mcpsite import site
from tests.mcpsite.peers import InProcess, LegacyPeer, ModernPeer

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

on_both_engines = pytest.mark.parametrize("engine", list(ENGINES), indirect=True)


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    chosen = any(mark.args[0] == "engine" for mark in metafunc.definition.iter_markers("parametrize"))
    if "engine" in metafunc.fixturenames and not chosen:
        metafunc.definition.add_marker(on_moto)


@dataclass(frozen=True, slots=True)
class Sent:
    """One request to DynamoDB: the operation and its parameters."""

    operation: str
    params: dict[str, Any]


OF_A_WORKER = (EventKind.MESSAGE, EventKind.WORKER, EventKind.NEWS)


def is_of_a_worker(params: Mapping[str, Any], kinds: Container[EventKind] = OF_A_WORKER) -> bool:
    """Whether a request is a worker's beat, or its look at its inbox or the news: they come with time, not calls."""
    key = params.get("Item", params.get("Key", {})).get("session_id", {}).get("S", "")
    values = params.get("ExpressionAttributeValues", {}).values()
    return key == worker_keys.WORKERS_PARTITION or any(
        schema.kind_of(value.get("S", ""), "") in kinds for value in values
    )


@dataclass
class Wire:
    """What this process sent to DynamoDB since the last ``clear``, but for what its worker asks for itself."""

    requests: list[Sent] = field(default_factory=list)
    is_left_out: Callable[[Mapping[str, Any]], bool] = is_of_a_worker

    @property
    def operations(self) -> list[str]:
        return [sent.operation for sent in self.requests]

    def clear(self) -> None:
        self.requests.clear()

    def heard(self, request: Any, **_: Any) -> None:
        """By boto3."""
        self._note(request.headers["X-Amz-Target"].decode().rpartition(".")[2], json.loads(request.body))

    def asked(self, asked: Asked) -> None:
        """On the event loop."""
        self._note(asked.action, dict(asked.parameters))

    def _note(self, operation: str, params: dict[str, Any]) -> None:
        if not self.is_left_out(params):
            self.requests.append(Sent(operation, params))


@pytest.fixture(scope="module")
def dynamodb(engine: tuple[str, str]) -> Iterator[DynamoDBClient]:
    """The service's own client, pointed at the engine, with tables that the tests of a module share."""
    unique = secrets.token_hex(4)
    names = {"DYNAMODB_SESSIONS_TABLE": f"sessions-{unique}", "DYNAMODB_EVENTS_TABLE": f"events-{unique}"}
    with pytest.MonkeyPatch.context() as patch, override_settings(**names):
        patch.setenv("AWS_ENDPOINT_URL", engine[1])
        # Made before the variable was set, perhaps.
        client.aws_client.cache_clear()
        setup.ensure_tables()
        yield client.dynamodb()
        site.close()
        for name in names.values():
            client.dynamodb().delete_table(TableName=name)


@pytest.fixture(autouse=True)
def _no_record_of_calls(settings: Settings) -> None:
    """Served calls are written later, when a test's tables may be gone."""
    settings.RECORD_CALLS = False


@pytest.fixture(autouse=True)
def _connections_of_other_tests() -> Iterator[None]:
    """As Django's test client has it: a request closes no database connection that a test before it opened."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.fixture
def wire(dynamodb: DynamoDBClient) -> Iterator[Wire]:
    """What this process sends to DynamoDB from now on."""
    wire = Wire()
    dynamodb.meta.events.register("before-send.dynamodb", wire.heard, unique_id="wire")
    with on_request(wire.asked):
        yield wire
    dynamodb.meta.events.unregister("before-send.dynamodb", unique_id="wire")


@pytest.fixture
def legacy(dynamodb: DynamoDBClient) -> LegacyPeer:
    """A client with a session."""
    return LegacyPeer(InProcess()).connect()


@pytest.fixture
def modern(dynamodb: DynamoDBClient) -> ModernPeer:
    """A client without sessions."""
    return ModernPeer(InProcess())


@pytest.fixture(params=["legacy", "modern"])
def peer(request: pytest.FixtureRequest, dynamodb: DynamoDBClient) -> LegacyPeer | ModernPeer:
    """A client of each era."""
    speaker: LegacyPeer | ModernPeer = request.getfixturevalue(request.param)
    return speaker
