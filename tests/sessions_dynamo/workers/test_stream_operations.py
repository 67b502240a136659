"""What workers ask about streams, with no engine beneath: each request as it would leave, each answer by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from pytest_django import Settings

from sessions_dynamo import schema
from sessions_dynamo.errors import StorageUnavailable
from sessions_dynamo.operations import Pause
from sessions_dynamo.store import event_operations
from sessions_dynamo.store.event_items import PART_BYTES, Event
from sessions_dynamo.store.event_operations import EventOperations
from sessions_dynamo.store.events import EventStore
from sessions_dynamo.store.times import ahead
from sessions_dynamo.workers.standalone_operations import ATTEMPTS, Claim
from sessions_dynamo.workers.stream_operations import Lease, StreamOperations, default_operations
from sessions_dynamo.workers.streams import StreamStore
from tests.sessions_dynamo.by_hand import ByHand, refused

STREAM = "1763800000000-aaaaaaaaaaaaaaaa"
ENDS = datetime(2026, 11, 23, tzinfo=UTC)
LEASE = Lease("abc", STREAM, "aaaaaaaaaaaa", "1")


@pytest.fixture(autouse=True)
def _never_trim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_operations, "random", SimpleNamespace(random=lambda: 1.0))


@pytest.fixture
def streams() -> StreamOperations:
    return StreamOperations(EventOperations("events", event_ttl=timedelta(hours=6), max_events=1000), "sessions")


def event(sequence: int, data: str = "{}") -> Event:
    return Event("abc", STREAM, sequence, "notifications/message", data, datetime.fromtimestamp(1_763_800_000, UTC))


def contention() -> ClientError:
    return refused(
        "TransactWriteItems",
        "TransactionCanceledException",
        CancellationReasons=[{"Code": "TransactionConflict"}, {"Code": "None"}],
    )


def test_a_stream_opens_with_its_lease_and_its_first_events_in_one_batch(streams: StreamOperations) -> None:
    driver = ByHand({})
    driver(streams.open(LEASE, [event(0)]))
    (batch,) = driver.asked
    put = [request["PutRequest"]["Item"]["event_id"]["S"] for request in batch["RequestItems"]["events"]]
    assert put == [schema.lease_id(STREAM), event(0).event_id]


def test_a_lease_is_read_consistently(streams: StreamOperations) -> None:
    item = {"owner": {"S": LEASE.owner}, "lease_expires": {"N": "1763800030000"}, "request_id": {"S": "1"}}
    driver = ByHand({"Item": {**item, "ttl": ahead(timedelta(hours=1))}}, {"Item": {**item, "ttl": {"N": "1"}}}, {})
    assert driver(streams.lease("abc", STREAM)) == LEASE
    assert driver(streams.lease("abc", STREAM)) is driver(streams.lease("abc", STREAM)) is None
    assert all(asked["ConsistentRead"] is True for asked in driver.asked)


def test_a_stream_ends_once(streams: StreamOperations) -> None:
    driver = ByHand({})
    assert driver(streams.end(event(3), 2)) is True
    (put,) = driver.asked
    assert put["ConditionExpression"] == "attribute_not_exists(event_id)"
    assert put["Item"]["event_id"] == {"S": schema.event_id(STREAM, schema.END_SEQUENCE)}
    assert ByHand(refused("PutItem", Item={**put["Item"], "data": {"S": "another"}}))(streams.end(event(3), 2)) is False


def test_an_end_that_meets_itself_is_its_own(streams: StreamOperations, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EventOperations, "_ttl", lambda _: {"N": "2000000000"})
    first = ByHand({})
    first(streams.end(event(3), 2))
    assert ByHand(refused("PutItem", Item=first.asked[0]["Item"]))(streams.end(event(3), 2)) is True


def test_a_write_that_meets_a_transaction_is_tried_again_after_a_pause(streams: StreamOperations) -> None:
    driver = ByHand(contention(), contention(), {})
    assert driver(streams.standalone.deliver("worker", [event(0)], ["key"], expires_at=ENDS)) is True
    assert driver.actions == ["TransactWriteItems", "Pause", "TransactWriteItems", "Pause", "TransactWriteItems"]
    pauses = [step.seconds for step in driver.steps if isinstance(step, Pause)]
    assert all(0 <= pause <= 0.01 * 2**attempt for attempt, pause in enumerate(pauses, 1))
    assert driver.asked[0] == driver.asked[2]
    driver = ByHand(
        refused("UpdateItem", "TransactionConflictException"),
        {"Attributes": {"newest": {"N": "4"}, "owner": {"S": "b"}}},
    )
    assert driver(streams.standalone.claim("abc", STREAM, "worker", ENDS)) == Claim(4, "b")
    assert driver.actions == ["UpdateItem", "Pause", "UpdateItem"]


def test_each_delivery_has_a_token_by_which_dynamodb_knows_it_again(streams: StreamOperations) -> None:
    driver = ByHand({}, {})
    for number in range(2):
        driver(streams.standalone.deliver("worker", [event(number)], expires_at=ENDS))
    first, second = (asked["ClientRequestToken"] for asked in driver.asked)
    assert first != second
    assert 1 <= len(first) <= 36


def test_contention_without_end_is_given_up(streams: StreamOperations) -> None:
    driver = ByHand(*[contention() for _ in range(ATTEMPTS)])
    with pytest.raises(StorageUnavailable):
        driver(streams.standalone.deliver("worker", [event(0)], expires_at=ENDS))
    assert driver.answers == []


def test_a_false_condition_is_not_tried_again(streams: StreamOperations) -> None:
    reasons = [{"Code": "TransactionConflict"}, {"Code": "ConditionalCheckFailed"}]
    driver = ByHand(refused("TransactWriteItems", "TransactionCanceledException", CancellationReasons=reasons))
    assert driver(streams.standalone.deliver("worker", [event(0)], expires_at=ENDS)) is False
    assert driver.actions == ["TransactWriteItems"]


def test_a_delivery_closed_in_its_pause_is_sent_no_more(streams: StreamOperations) -> None:
    delivery = streams.standalone.deliver("worker", [event(0)], expires_at=ENDS)
    next(delivery)
    assert isinstance(delivery.throw(contention()), Pause)
    delivery.close()
    with pytest.raises(StopIteration):
        next(delivery)


def test_an_inbox_is_one_consistent_query(streams: StreamOperations) -> None:
    driver = ByHand({"Items": [{"owner": {"S": "worker"}}], "Count": 1})
    assert driver(streams.standalone.waiting("abc", STREAM)) == ("worker", [])
    assert driver.asked[0]["ConsistentRead"] is True


def test_an_answer_in_parts_is_put_behind_its_parts_and_read_whole(streams: StreamOperations) -> None:
    message = "x" * 2 * PART_BYTES
    driver = ByHand({}, {})
    assert driver(streams.replies.put("abc", "7", message)) is True
    assert driver.actions == ["BatchWriteItem", "PutItem"]
    (part,) = (request["PutRequest"]["Item"] for request in driver.asked[0]["RequestItems"]["events"])
    driver = ByHand({"Responses": {"events": [driver.asked[1]["Item"]]}}, {"Responses": {"events": [part]}})
    assert driver(streams.replies.get([("abc", "7")])) == {("abc", "7"): message}
    assert all(asked["RequestItems"]["events"]["ConsistentRead"] is True for asked in driver.asked)


def test_an_inbox_of_a_worker_is_read_consistently(streams: StreamOperations) -> None:
    driver = ByHand({})
    assert driver(streams.inboxes.send("aaaaaaaaaaaa", "topic", {"a": 1})) is True
    driver = ByHand({"Items": [driver.asked[0]["Item"]], "Count": 1})
    (message,) = driver(streams.inboxes.read("aaaaaaaaaaaa"))
    assert (message.topic, message.payload) == ("topic", {"a": 1})
    assert driver.asked[0]["ConsistentRead"] is True


def test_a_store_and_its_parts_go_through_the_driver_of_its_events() -> None:
    driver = ByHand({}, {"Items": [], "Count": 0}, {"Responses": {}})
    no_client: Any = None
    events = EventStore(no_client, "events", event_ttl=timedelta(hours=6), max_events=10, driver=driver)
    store = StreamStore(events)
    assert store.lease("abc", STREAM) is None
    assert store.inboxes.read("aaaaaaaaaaaa") == []
    assert store.replies.get([("abc", "1")]) == {}
    other = ByHand({})
    assert StreamStore(events, driver=other).lease("abc", STREAM) is None
    assert (len(driver.steps), len(other.steps)) == (3, 1)


def test_the_process_has_one_and_forgets_it_when_its_settings_change(settings: Settings) -> None:
    assert default_operations() is default_operations()
    assert default_operations().events is event_operations.default_operations()
    settings.DYNAMODB_EVENTS_TABLE = "others"
    assert default_operations().events.table == "others"
