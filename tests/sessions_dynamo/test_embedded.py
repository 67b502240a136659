from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from django.core.exceptions import ImproperlyConfigured
from pytest_django import Settings

from sessions_dynamo import client, embedded
from sessions_dynamo.embedded import EmbeddedServer
from sessions_dynamo.errors import StorageUnavailable
from sessions_dynamo.tables import describing, removal, setup
from sessions_dynamo.tables.names import named_tables
from tests.engines import free_port

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

THREADS, CALLS = 10, 100


@pytest.fixture
def server(settings: Settings) -> Iterator[EmbeddedServer]:
    """An embedded server at ``DYNAMODB_EMBEDDED_PORT``, which the service's client then uses."""
    settings.DEBUG = True
    settings.DYNAMODB_EMBEDDED_PORT = free_port()
    settings.DYNAMODB_EMBEDDED = True
    started = embedded.start()
    assert started
    yield started
    started.close()


@pytest.fixture
def dynamodb(server: EmbeddedServer) -> Iterator[DynamoDBClient]:
    """The service's client with both tables made on the embedded server."""
    setup.ensure_tables()
    dynamodb = client.dynamodb()
    yield dynamodb
    for table in named_tables():
        dynamodb.delete_table(TableName=table.name)


def status(server: EmbeddedServer, path: str, **headers: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.request("GET", path, headers=headers)
    return connection.getresponse().status


def test_counts_exactly_under_threads(dynamodb: DynamoDBClient, settings: Settings) -> None:
    key = {"session_id": {"S": "counted"}}

    def count() -> None:
        for _ in range(CALLS):
            dynamodb.update_item(
                TableName=settings.DYNAMODB_SESSIONS_TABLE,
                Key=key,
                UpdateExpression="SET hits = if_not_exists(hits, :zero) + :one",
                ExpressionAttributeValues={":zero": {"N": "0"}, ":one": {"N": "1"}},
            )

    threads = [threading.Thread(target=count) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    item = dynamodb.get_item(TableName=settings.DYNAMODB_SESSIONS_TABLE, Key=key)["Item"]
    assert item["hits"] == {"N": str(THREADS * CALLS)}


def test_writes_go_on_after_a_stream_is_disabled_and_it_can_be_enabled_again(
    dynamodb: DynamoDBClient, settings: Settings
) -> None:
    name = settings.DYNAMODB_SESSIONS_TABLE
    dynamodb.put_item(TableName=name, Item={"session_id": {"S": "one"}})

    removal.disable_stream(name)
    dynamodb.put_item(TableName=name, Item={"session_id": {"S": "two"}})
    dynamodb.delete_item(TableName=name, Key={"session_id": {"S": "one"}})
    assert not describing.describe(name).stream.enabled

    setup.ensure_tables()
    dynamodb.put_item(TableName=name, Item={"session_id": {"S": "three"}})
    assert describing.describe(name).stream.view_type == "NEW_AND_OLD_IMAGES"


def test_a_second_start_joins_the_server_that_runs(server: EmbeddedServer) -> None:
    assert embedded.is_running()
    assert embedded.start() is None


def test_a_port_that_something_else_holds_is_an_error_that_names_the_setting(settings: Settings) -> None:
    settings.DEBUG = True
    with socket.create_server(("127.0.0.1", 0)) as other:
        settings.DYNAMODB_EMBEDDED_PORT = other.getsockname()[1]

        with pytest.raises(StorageUnavailable, match=r"set DYNAMODB_EMBEDDED_PORT to a free one"):
            embedded.start()


def test_never_starts_without_debug(settings: Settings) -> None:
    settings.DEBUG = False
    settings.DYNAMODB_EMBEDDED_PORT = free_port()

    with pytest.raises(ImproperlyConfigured, match="DEBUG"):
        embedded.start()

    assert not embedded.is_running()


def test_listens_on_loopback_only_and_serves_no_web_page(server: EmbeddedServer) -> None:
    assert status(server, "/moto-api/config") == 201
    assert status(server, "/moto-api/config", Origin="https://example.com") == 403
    assert status(server, "/moto-api/config", Host="example.com") == 403


def test_prints_no_line_a_request(dynamodb: DynamoDBClient, capfd: pytest.CaptureFixture[str]) -> None:
    dynamodb.list_tables()

    assert capfd.readouterr() == ("", "")
