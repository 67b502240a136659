"""The site does not need DynamoDB Streams: after they were turned off, it serves as before."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from django.core.management import call_command
from pytest_django import Settings

from sessions_dynamo.tables import describing, setup
from sessions_dynamo.tables.names import named_tables
from tests.mcpsite.conftest import on_both_engines
from tests.mcpsite.peers import InProcess, LegacyPeer, ModernPeer

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@pytest.fixture
def streams_off(peer: LegacyPeer | ModernPeer) -> Iterator[None]:
    """The tables' streams turned off by the command, after the peer has stored something."""
    assert not peer.call("store_app_state", key="colour", data="blue").failed
    call_command("dynamodb_teardown", "--disable-streams", stdout=io.StringIO())
    assert [describing.describe(table.name).stream.enabled for table in named_tables()] == [False, False]
    yield
    setup.ensure_tables()


@on_both_engines
def test_a_session_goes_on(peer: LegacyPeer | ModernPeer, streams_off: None) -> None:
    assert peer.call("get_app_state", key="colour").data["data"] == "blue"

    assert not peer.call("store_app_state", key="colour", data={"deep": ["red"] * 5000}).failed
    assert peer.call("get_app_state", key="colour").data["data"] == {"deep": ["red"] * 5000}
    assert not peer.call("lambda_operation", operation="count", input={}).failed
    assert not peer.call("global_state", region="us-west-2", data={"warm": True}).failed
    assert not peer.call("dynamodb_info").failed


@on_both_engines
def test_a_session_begins_and_ends_and_its_events_are_stored(
    dynamodb: DynamoDBClient, legacy: LegacyPeer, streams_off: None, settings: Settings
) -> None:
    settings.DURABLE_ANSWERS = True
    newcomer = LegacyPeer(InProcess()).connect()

    answer = newcomer.call("store_app_state", key="colour", data="green").answer

    assert answer.headers["Content-Type"].startswith("text/event-stream")
    stored = dynamodb.query(
        TableName=settings.DYNAMODB_EVENTS_TABLE,
        KeyConditionExpression="session_id = :session",
        ExpressionAttributeValues={":session": {"S": newcomer.session_id}},
    )
    assert stored["Count"] > 0
    assert newcomer.end().status == 200
    assert newcomer.request("ping").status == 404
