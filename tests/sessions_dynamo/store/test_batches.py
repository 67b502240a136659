"""Batches to the end: what DynamoDB leaves unprocessed is sent again."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from botocore.stub import Stubber

from sessions_dynamo import client, operations
from sessions_dynamo.errors import StorageUnavailable
from sessions_dynamo.operations import Operation, Request, run
from sessions_dynamo.store import batches
from sessions_dynamo.store.events import EventStore
from tests.sessions_dynamo.support import Wire, raw_items
from tests.sessions_dynamo.wire import replacing

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

Item = dict[str, Any]


def key(number: int) -> Item:
    return {"session_id": {"S": "abc"}, "event_id": {"S": f"{number:04d}"}}


# --- On each engine -------------------------------------------------------------------------------------------


def test_any_number_of_items_is_put_read_and_deleted(event_store: EventStore, wire: Wire) -> None:
    drive, table = event_store.drive, event_store.table
    items = [{**key(number), "data": {"S": "x" * 10}} for number in range(110)]
    with wire.counting() as requests:
        assert drive(batches.put(table, iter(items))) == 110
    assert requests == {"BatchWriteItem": 5}
    with wire.counting() as requests:
        read = drive(batches.get(table, (key(number) for number in range(120))))
    assert requests == {"BatchGetItem": 2}
    assert sorted(item["event_id"]["S"] for item in read) == [f"{number:04d}" for number in range(110)]
    assert all("data" in item for item in read)
    with wire.counting() as requests:
        assert drive(batches.delete(table, (key(number) for number in range(5, 120)))) == 115
    assert requests == {"BatchWriteItem": 5}
    assert len(raw_items(event_store.dynamodb, table)) == 5


def test_reads_are_consistent_and_of_the_attributes_asked_for(event_store: EventStore, wire: Wire) -> None:
    event_store.drive(batches.put(event_store.table, [{**key(1), "timestamp": {"N": "1"}, "data": {"S": "x"}}]))
    (item,) = event_store.drive(batches.get(event_store.table, [key(1)], projection=["event_id", "timestamp"]))
    assert item == {"event_id": {"S": "0001"}, "timestamp": {"N": "1"}}
    (request,) = wire.of("BatchGetItem")
    assert request["RequestItems"][event_store.table]["ConsistentRead"] is True


def test_an_empty_batch_costs_nothing(event_store: EventStore, wire: Wire) -> None:
    assert event_store.drive(batches.put(event_store.table, [])) == 0
    assert event_store.drive(batches.delete(event_store.table, [])) == 0
    assert event_store.drive(batches.get(event_store.table, [])) == []
    assert not wire.requests


def test_what_is_left_of_a_batch_is_written_and_read_all_the_same(event_store: EventStore, wire: Wire) -> None:
    def ten_written(request: Request) -> Operation[Any]:
        ((table, requests),) = request.parameters["RequestItems"].items()
        yield Request("BatchWriteItem", {"RequestItems": {table: requests[:10]}})
        return {"UnprocessedItems": {table: requests[10:]} if requests[10:] else {}}

    def ten_read(request: Request) -> Operation[Any]:
        ((table, asked),) = request.parameters["RequestItems"].items()
        answer = yield Request("BatchGetItem", {"RequestItems": {table: {**asked, "Keys": asked["Keys"][:10]}}})
        left = asked["Keys"][10:]
        return {**answer, "UnprocessedKeys": {table: {**asked, "Keys": left}} if left else {}}

    table, keys = event_store.table, [key(number) for number in range(25)]
    with wire.counting() as requests:
        with replacing(event_store, "BatchWriteItem", ten_written):
            assert event_store.drive(batches.put(table, keys)) == 25
        with replacing(event_store, "BatchGetItem", ten_read):
            read = event_store.drive(batches.get(table, keys))
    assert requests == {"BatchWriteItem": 3, "BatchGetItem": 3}
    assert sorted(read, key=str) == sorted(keys, key=str)
    assert sorted(raw_items(event_store.dynamodb, table), key=str) == sorted(keys, key=str)


# --- Answers that no emulator gives. On boto3 alone: botocore's stubs hold each request against DynamoDB's model ----


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were made, none of them waited for."""
    made: list[float] = []
    monkeypatch.setattr(operations, "time", SimpleNamespace(sleep=made.append))
    return made


@pytest.fixture
def stubbed() -> Iterator[tuple[DynamoDBClient, Stubber]]:
    dynamodb = client.dynamodb()
    with Stubber(dynamodb) as stubber:
        yield dynamodb, stubber
        stubber.assert_no_pending_responses()


def requests_of(*keys: Item) -> list[Item]:
    return [{"DeleteRequest": {"Key": key}} for key in keys]


def test_items_left_unwritten_are_sent_again_and_those_alone(
    stubbed: tuple[DynamoDBClient, Stubber], pauses: list[float]
) -> None:
    dynamodb, stubber = stubbed
    first, second, third = requests_of(key(1), key(2), key(3))
    for sent, left in (([first, second, third], [second, third]), ([second, third], [third]), ([third], [])):
        answer = {"UnprocessedItems": {"table": left} if left else {}}
        stubber.add_response("batch_write_item", answer, {"RequestItems": {"table": sent}})
    assert run(dynamodb, batches.delete("table", [key(1), key(2), key(3)])) == 3
    assert len(pauses) == 2


def test_keys_left_unread_are_asked_for_again_and_those_alone(
    stubbed: tuple[DynamoDBClient, Stubber], pauses: list[float]
) -> None:
    dynamodb, stubber = stubbed
    for sent, found, left in (([key(1), key(2)], [key(2)], [key(1)]), ([key(1)], [key(1)], [])):
        more = {"table": {"Keys": left, "ConsistentRead": True}} if left else {}
        stubber.add_response(
            "batch_get_item",
            {"Responses": {"table": found}, "UnprocessedKeys": more},
            {"RequestItems": {"table": {"Keys": sent, "ConsistentRead": True}}},
        )
    assert run(dynamodb, batches.get("table", [key(1), key(2)])) == [key(2), key(1)]
    assert len(pauses) == 1


def test_pauses_grow_and_end_in_an_error(stubbed: tuple[DynamoDBClient, Stubber], pauses: list[float]) -> None:
    dynamodb, stubber = stubbed
    for _ in range(batches.ATTEMPTS):
        stubber.add_response("batch_write_item", {"UnprocessedItems": {"table": requests_of(key(1))}})
    with pytest.raises(StorageUnavailable, match="throttled table"):
        run(dynamodb, batches.delete("table", [key(1)]))
    assert all(0 <= pause <= 0.05 * 2**attempt for attempt, pause in enumerate(pauses))
    for _ in range(batches.ATTEMPTS):
        unread = {"table": {"Keys": [key(1)]}}
        stubber.add_response("batch_get_item", {"Responses": {}, "UnprocessedKeys": unread})
    with pytest.raises(StorageUnavailable, match="throttled table"):
        run(dynamodb, batches.get("table", [key(1)]))


@pytest.mark.parametrize(
    "code", ["ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded"]
)
def test_a_batch_that_is_throttled_as_a_whole_says_so(stubbed: tuple[DynamoDBClient, Stubber], code: str) -> None:
    dynamodb, stubber = stubbed
    stubber.add_client_error("batch_write_item", code)
    with pytest.raises(StorageUnavailable, match=f"throttled BatchWriteItem on table .{code}"):
        run(dynamodb, batches.put("table", [key(1)]))
