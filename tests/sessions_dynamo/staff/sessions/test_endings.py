"""Ending and deleting a session by staff; on each engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sessions_dynamo import schema, worker_keys
from sessions_dynamo.errors import SessionNotFound, StorageUnavailable
from sessions_dynamo.staff.sessions import endings
from sessions_dynamo.store import sessions
from sessions_dynamo.store.session_items import Session
from sessions_dynamo.workers import streams
from sessions_dynamo.workers.holdings import Cancellation, Holding
from sessions_dynamo.workers.streams import Lease
from tests.engines import on_moto
from tests.sessions_dynamo.support import raw_items, state_of
from tests.sessions_dynamo.wire import answering, error

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


WORKER = "aaaaaaaaaaaa"


def told() -> list[tuple[str, object]]:
    """What the worker is told that serves something of the session."""
    return [(message.topic, message.payload) for message in streams.default_store().inboxes.read(WORKER)]


def new_session(session_id: str = "abc", principal: str = "alice") -> Session:
    streams.default_store().holdings.leave([Holding(session_id, "7", WORKER, 1)])
    return sessions.default_store().create(session_id, principal=principal, state=state_of(a=1, large="x" * 5000))


def test_a_terminated_session_is_gone_for_clients_and_its_worker_is_told(dynamodb: DynamoDBClient) -> None:
    new_session()
    assert endings.terminate("abc") is True
    with pytest.raises(SessionNotFound):
        sessions.default_store().load("abc", "alice")
    stored = sessions.default_store().peek("abc")
    assert stored is not None
    assert stored.terminated_at is not None
    assert told() == [("ended", ["abc", False])]


def test_a_session_that_had_ended_is_told_of_again(dynamodb: DynamoDBClient) -> None:
    new_session()
    endings.terminate("abc")
    assert endings.terminate("abc") is False
    assert told() == [("ended", ["abc", False])] * 2


@on_moto
def test_what_can_be_no_session_is_left_alone(dynamodb: DynamoDBClient) -> None:
    streams.default_store().inboxes.send(WORKER, "topic", {})
    for session_id in (worker_keys.inbox_partition(WORKER), worker_keys.BUS_PARTITION, "..", "a/b", "", "é"):
        assert endings.terminate(session_id) is False
        assert endings.delete(session_id) is False
    assert told() == [("topic", {})]


@on_moto
def test_workers_that_could_not_be_told_are_told_by_trying_again(dynamodb: DynamoDBClient) -> None:
    new_session()
    with (
        answering(dynamodb, "PutItem", error("ThrottlingException")),
        pytest.raises(StorageUnavailable, match=r"'abc' has ended, but .* terminate it again"),
    ):
        endings.terminate("abc")
    assert endings.terminate("abc") is False
    assert told() == [("ended", ["abc", False])]


def test_a_deleted_session_leaves_nothing_but_word_of_its_end(dynamodb: DynamoDBClient) -> None:
    new_session()
    other = new_session("other")
    store, events = streams.default_store(), streams.default_store().events
    for session_id in ("abc", "other"):
        events.store(session_id, "response", "{}")
        events.store(session_id, "notifications/message", "x" * 800_000)
        store.keep([Lease(session_id, schema.time_ordered_id(), WORKER)])
        store.holdings.cancel(session_id, "7", Cancellation(1))
        store.replies.put(session_id, "request", "{}")
    assert endings.delete("abc") is True
    kept = {item["session_id"]["S"].partition("#")[0] for item in raw_items(dynamodb, sessions.default_store().table)}
    assert kept == {"other"}
    kept = {item["session_id"]["S"] for item in raw_items(dynamodb, events.table)}
    assert kept == {"other", worker_keys.inbox_partition(WORKER)}
    assert sessions.default_store().load("other", "alice").state["large"] == other.state["large"]
    assert told() == [("ended", ["abc", False])]
    assert endings.delete("abc") is False


@on_moto
def test_a_deletion_that_fails_halfway_is_done_by_trying_again(dynamodb: DynamoDBClient) -> None:
    new_session()
    streams.default_store().events.store("abc", "response", "{}")
    with answering(dynamodb, "Query", error("ThrottlingException")), pytest.raises(StorageUnavailable):
        endings.delete("abc")
    stored = sessions.default_store().peek("abc")
    assert stored is not None
    assert not stored.is_live
    assert endings.delete("abc") is True
    assert raw_items(dynamodb, sessions.default_store().table) == []
