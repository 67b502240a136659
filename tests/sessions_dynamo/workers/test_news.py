"""What one worker tells all others, on each engine: read by number, once, whatever became of an answer."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from sessions_dynamo import schema, worker_keys
from sessions_dynamo.errors import EventTooLarge, InvalidState, StorageUnavailable
from sessions_dynamo.operations import Operation, Request
from sessions_dynamo.schema import EventKind
from sessions_dynamo.store.events import EventStore
from sessions_dynamo.workers.inboxes import SIGNAL_TTL
from sessions_dynamo.workers.news import FORGET_AFTER, FORGET_AT_ONCE, MAX_ITEM_BYTES, NewsOperations, encoded
from sessions_dynamo.workers.streams import StreamStore
from tests.sessions_dynamo.by_hand import ByHand, refused
from tests.sessions_dynamo.support import Clock, Wire, raw_items

HERE, THERE = "aaaaaaaaaaaa", "bbbbbbbbbbbb"


@pytest.fixture
def store(event_store: EventStore) -> StreamStore:
    return StreamStore(event_store)


def publish(store: StreamStore, worker: str, number: int, *payloads: Any) -> int:
    return store.news.publish(worker, number, [encoded(payload) for payload in payloads])


def keys(store: StreamStore) -> list[tuple[str, str]]:
    items = raw_items(store.events.dynamodb, store.events.table)
    return sorted((item["session_id"]["S"], item["event_id"]["S"]) for item in items)


def put_raw(store: StreamStore, **item: Any) -> None:
    store.events.dynamodb.put_item(TableName=store.events.table, Item=item)


# --- Publishing and reading -----------------------------------------------------------------------------------


def test_what_a_worker_told_is_read_in_its_order_and_from_a_number_on(store: StreamStore) -> None:
    told: list[Any] = [["a", 1], {"method": "x", "params": {"uri": "é\u2028"}}, None, "", 1.5]
    for number, payload in enumerate(told, 1):
        assert publish(store, HERE, number, payload) == number
    assert store.news.since(HERE, 0, 5) == [(number, [payload]) for number, payload in enumerate(told, 1)]
    assert store.news.since(HERE, 3, 5) == [(4, [""]), (5, [1.5])]
    assert store.news.since(HERE, 5, 5) == []


def test_the_heads_say_how_long_each_log_is(store: StreamStore) -> None:
    assert store.news.heads() == {}
    for number in range(1, 12):
        publish(store, HERE, number, number)
    publish(store, THERE, 1, "x", "y")
    assert store.news.heads() == {HERE: 11, THERE: 1}
    assert [number for number, _ in store.news.since(HERE, 8, 11)] == [9, 10, 11]
    assert store.news.since(THERE, 0, 1) == [(1, ["x", "y"])]


def test_nobody_reads_beyond_the_head_that_was_seen(store: StreamStore) -> None:
    for number in range(1, 4):
        publish(store, HERE, number, number)
    assert store.news.since(HERE, 0, 2) == [(1, [1]), (2, [2])]


def test_all_that_is_told_at_once_is_one_item_and_two_requests(store: StreamStore, wire: Wire) -> None:
    with wire.counting() as cost:
        publish(store, HERE, 1, *range(50))
    assert cost == {"BatchWriteItem": 1, "PutItem": 1}
    assert keys(store) == [("#news", HERE), (f"#news.{HERE}", "0000000001")]
    with wire.counting() as cost:
        assert store.news.heads() == {HERE: 1}
        assert store.news.since(HERE, 0, 1) == [(1, [*range(50)])]
    assert cost == {"Query": 2}
    assert [params["ConsistentRead"] for params in wire.of("Query")] == [True, True]
    assert publish(store, HERE, 2) == 1


def test_what_is_too_much_for_an_item_is_told_under_several_numbers(store: StreamStore) -> None:
    payloads = ["x" * (MAX_ITEM_BYTES // 2), *("é" * 70_000 for _ in range(4)), "y"]
    assert publish(store, HERE, 7, *payloads) == 9
    assert store.news.heads() == {HERE: 9}
    items = store.news.since(HERE, 6, 9)
    assert [number for number, _ in items] == [7, 8, 9]
    assert [payload for _, some in items for payload in some] == payloads


def test_what_no_item_can_hold_is_refused_before_anything_is_written() -> None:
    encoded("x" * (MAX_ITEM_BYTES - 2))
    with pytest.raises(EventTooLarge):
        encoded("x" * MAX_ITEM_BYTES)
    for payload in (float("nan"), "\ud800", object()):
        with pytest.raises(InvalidState):
            encoded(payload)


def test_all_of_it_is_of_workers_and_of_no_session(store: StreamStore) -> None:
    publish(store, HERE, 1, 1)
    for session_id, key in keys(store):
        assert schema.kind_of(session_id, key) is EventKind.NEWS
        assert worker_keys.is_of_workers(session_id)


# --- Answers that were lost -----------------------------------------------------------------------------------


def losing(action: str, *, arrives: bool) -> Callable[[Operation[int]], Operation[int]]:
    """An operation with the answer to one action lost, the request having arrived or not."""

    def lose(operation: Operation[int]) -> Operation[int]:
        step = next(operation)
        while True:
            try:
                is_lost = isinstance(step, Request) and step.action == action
                answer = None if is_lost and not arrives else (yield step)
                step = operation.throw(ReadTimeoutError(endpoint_url="x")) if is_lost else operation.send(answer)
            except StopIteration as done:
                result: int = done.value
                return result

    return lose


@pytest.mark.parametrize("arrives", [False, True], ids=["not arrived", "arrived"])
@pytest.mark.parametrize("action", ["BatchWriteItem", "PutItem"])
def test_what_failed_is_published_again_and_is_there_once(store: StreamStore, action: str, arrives: bool) -> None:
    texts = [encoded("x"), encoded("y")]
    with pytest.raises(StorageUnavailable):
        store.drive(losing(action, arrives=arrives)(store.news.operations.publish(HERE, 1, texts)))
    # Nobody finds a head without its item.
    assert store.news.heads() == ({HERE: 1} if (action, arrives) == ("PutItem", True) else {})
    assert store.news.publish(HERE, 1, texts) == 1
    assert publish(store, HERE, 2, "z") == 2
    assert store.news.heads() == {HERE: 2}
    assert store.news.since(HERE, 0, 2) == [(1, ["x", "y"]), (2, ["z"])]


def test_a_head_that_arrives_late_takes_nothing_back(store: StreamStore) -> None:
    publish(store, HERE, 1, "x")
    publish(store, HERE, 2, "y")
    assert publish(store, HERE, 1, "x") == 1
    assert store.news.heads() == {HERE: 2}


# --- What has expired -----------------------------------------------------------------------------------------


def test_what_has_expired_is_not_told(store: StreamStore, clock: Clock) -> None:
    publish(store, HERE, 1, "old")
    clock.advance(seconds=SIGNAL_TTL.total_seconds() / 2)
    publish(store, HERE, 2, "new")
    publish(store, THERE, 1, "other")
    clock.advance(seconds=SIGNAL_TTL.total_seconds() / 2)
    assert store.news.heads() == {HERE: 2, THERE: 1}
    assert store.news.since(HERE, 0, 2) == [(1, []), (2, ["new"])]
    clock.advance(seconds=SIGNAL_TTL.total_seconds() / 2)
    assert store.news.heads() == {}


def test_heads_of_workers_that_came_and_went_are_deleted(store: StreamStore, clock: Clock, wire: Wire) -> None:
    gone = FORGET_AT_ONCE + 2
    for number in range(gone):
        publish(store, f"{number:012x}", 1, number)
    clock.advance(seconds=(SIGNAL_TTL + FORGET_AFTER - timedelta(seconds=1)).total_seconds())
    publish(store, HERE, 1, 1)
    with wire.counting() as cost:
        assert store.news.heads() == {HERE: 1}
    assert cost == {"Query": 1}
    clock.advance(seconds=1)
    for left in (2, 0, 0):
        assert store.news.heads() == {HERE: 1}
        heads = [key for partition, key in keys(store) if partition == worker_keys.NEWS_PARTITION]
        assert len(heads) == left + 1
    assert len(wire.of("DeleteItem")) == gone


def test_a_worker_that_speaks_again_keeps_its_head() -> None:
    """Between the reading of its expired head and the deletion."""
    expired: dict[str, Any] = {
        "session_id": {"S": "#news"},
        "event_id": {"S": HERE},
        "newest": {"N": "1"},
        "ttl": {"N": "1"},
    }
    driver = ByHand({"Items": [expired], "Count": 1}, refused("DeleteItem"))
    assert driver(NewsOperations("events").heads()) == {}
    condition = driver.asked[1]
    assert condition["ConditionExpression"] == "#ttl <= :long_ago"
    assert condition["Key"] == {"session_id": {"S": "#news"}, "event_id": {"S": HERE}}


def test_heads_that_cannot_be_deleted_keep_nobody_from_reading(caplog: pytest.LogCaptureFixture) -> None:
    items = [
        {"session_id": {"S": "#news"}, "event_id": {"S": worker}, "newest": {"N": "1"}, "ttl": {"N": ttl}}
        for worker, ttl in ((HERE, "1"), (THERE, "99999999999"))
    ]
    denied = ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "DeleteItem")
    with caplog.at_level(logging.WARNING):
        assert ByHand({"Items": items, "Count": 2}, denied)(NewsOperations("events").heads()) == {THERE: 1}
    assert "were not deleted" in caplog.text


@pytest.mark.parametrize("data", [None, {"S": "not JSON"}, {"S": '{"a": 1}'}, {"S": "7"}, {"N": "7"}])
def test_an_item_that_cannot_be_read_keeps_nothing_behind_it_from_being_read(store: StreamStore, data: Any) -> None:
    publish(store, HERE, 1, "x")
    publish(store, HERE, 3, "z")
    broken = {"session_id": {"S": f"#news.{HERE}"}, "event_id": {"S": worker_keys.news_id(2)}}
    put_raw(store, **broken, ttl={"N": "99999999999"}, **({"data": data} if data else {}))
    assert store.news.since(HERE, 0, 3) == [(1, ["x"]), (2, []), (3, ["z"])]
    put_raw(store, session_id={"S": "#news"}, event_id={"S": "what is no head"})
    assert store.news.heads() == {HERE: 3}


def test_a_long_log_is_read_to_its_end(store: StreamStore) -> None:
    texts = [json.dumps("x" * (MAX_ITEM_BYTES - 10)) for _ in range(8)]
    assert store.news.publish(HERE, 1, texts) == 8
    assert [number for number, _ in store.news.since(HERE, 0, 8)] == list(range(1, 9))
