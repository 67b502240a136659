"""Each driver by itself: what it carries is heard, refused and replaced the same way."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError

from sessions_dynamo.dataplane.loops import plane_of_this_loop
from sessions_dynamo.errors import StorageUnavailable
from sessions_dynamo.operations import Operation, Request
from sessions_dynamo.store.events import EventStore
from sessions_dynamo.store.sessions import SessionStore
from sessions_dynamo.workers.streams import StreamStore
from tests.sessions_dynamo.drivers import LoopDriver, on_asyncio
from tests.sessions_dynamo.support import Wire, state_of
from tests.sessions_dynamo.wire import answering, error, operations, writes

if TYPE_CHECKING:
    from _pytest.fixtures import TopRequest


def test_every_request_of_a_store_travels_by_its_driver(
    session_store: SessionStore, event_store: EventStore, wire: Wire, request: TopRequest
) -> None:
    streams = StreamStore(event_store)
    with operations(session_store.dynamodb) as sent:
        session = session_store.create(state=state_of(large="x" * 5000))
        assert session_store.load(session.session_id).state["large"] == "x" * 5000
        event_store.store(session.session_id, "message", "{}")
        streams.replies.put(session.session_id, "s-1", "{}")
        streams.inboxes.send("aaaaaaaaaaaa", "topic", 1)
    assert {heard.driver for heard in wire.requests} == {request.node.callspec.params["driver"]}
    assert sent == [heard.operation for heard in wire.requests]
    assert writes(sent) == ["PutItem", "PutItem", "BatchWriteItem", "PutItem", "PutItem"]


def test_a_refusal_is_the_same_exception_with_the_same_answer(session_store: SessionStore) -> None:
    def asked() -> Operation[ClientError]:
        key = {"session_id": {"S": "abc"}}
        with pytest.raises(ClientError) as raised:
            yield Request("GetItem", {"TableName": session_store.table, "Key": key})
        return raised.value

    said = error("ProvisionedThroughputExceededException", "Slow down")
    with answering(session_store.dynamodb, "GetItem", said, times=1):
        refused = session_store.drive(asked())
        assert session_store.peek("abc") is None, "once, and no more"
    assert type(refused).__name__ == "ProvisionedThroughputExceededException"
    assert (refused.operation_name, refused.response["Error"]) == ("GetItem", said["Error"])


def test_a_false_condition_has_what_stands_there(session_store: SessionStore) -> None:
    session_store.create("abc")
    key = {"session_id": {"S": "abc"}}

    def put() -> Operation[ClientError]:
        with pytest.raises(ClientError) as raised:
            yield Request(
                "PutItem",
                {
                    "TableName": session_store.table,
                    "Item": key,
                    "ConditionExpression": "attribute_not_exists(session_id)",
                    "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
                },
            )
        return raised.value

    refused = session_store.drive(put())
    # By name: each client has exceptions of its own, and so has each data plane.
    assert type(refused).__name__ == "ConditionalCheckFailedException"
    assert refused.response["Item"].items() >= key.items()  # type: ignore[typeddict-item]
    assert refused.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_what_an_operation_raises_is_raised_to_who_asked(event_store: EventStore) -> None:
    def failing() -> Operation[None]:
        yield Request("Query", {"TableName": event_store.table, "KeyConditionExpression": "nothing"})

    with pytest.raises(ClientError, match="ValidationException"):
        event_store.drive(failing())

    def unavailable() -> Operation[None]:
        yield from ()
        raise StorageUnavailable("no")

    with pytest.raises(StorageUnavailable, match="no"):
        event_store.drive(unavailable())


@on_asyncio
def test_operations_are_driven_on_the_loop_and_towards_the_engine(driver: LoopDriver, engine: tuple[str, str]) -> None:
    def where() -> Operation[tuple[str, str]]:
        yield Request("ListTables", {})
        endpoint = plane_of_this_loop().endpoint
        assert endpoint is not None
        return threading.current_thread().name, endpoint.url.rstrip("/")

    assert driver(where()) == ("loop driver", engine[1])


@on_asyncio
def test_a_driver_that_its_own_loop_asks_says_so(driver: LoopDriver) -> None:
    def inner() -> Operation[None]:
        yield from ()

    def outer() -> Operation[None]:
        yield from ()
        driver(inner())

    with pytest.raises(AssertionError, match="wait for itself"):
        driver(outer())
