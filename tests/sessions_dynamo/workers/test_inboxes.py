"""A worker's inbox: all that was left for it and nothing else, each message once and whole; on each engine."""

from __future__ import annotations

from typing import Any

import pytest

from sessions_dynamo import worker_keys
from sessions_dynamo.errors import EventTooLarge
from sessions_dynamo.store.event_items import MAX_EVENT_BYTES, PART_BYTES
from sessions_dynamo.store.events import EventStore
from sessions_dynamo.workers.inboxes import SIGNAL_TTL, Inboxes
from sessions_dynamo.workers.streams import StreamStore
from tests.sessions_dynamo.drivers import LoopDriver, on_asyncio
from tests.sessions_dynamo.support import Clock, Wire, raw_items

ME, OTHER = "aaaaaaaaaaaa", "bbbbbbbbbbbb"


@pytest.fixture
def inboxes(event_store: EventStore) -> Inboxes:
    return StreamStore(event_store).inboxes


@pytest.mark.parametrize("payload", [["abc", "7", [1, 2]], {"uri": "é\u2028"}, None, "", 1.5])
def test_a_message_is_one_write_one_read_and_one_delete(inboxes: Inboxes, wire: Wire, payload: Any) -> None:
    with wire.counting() as requests:
        assert inboxes.send(ME, "topic", payload)
        (message,) = inboxes.read(ME)
        inboxes.remove(ME, [message])
    assert (message.topic, message.payload) == ("topic", payload)
    assert requests == {"PutItem": 1, "Query": 1, "BatchWriteItem": 1}
    assert inboxes.read(ME) == []


def test_nobody_reads_what_is_meant_for_another(inboxes: Inboxes) -> None:
    for number in range(3):
        inboxes.send(OTHER, "topic", number)
    inboxes.send(ME, "topic", "mine")
    assert [message.payload for message in inboxes.read(ME)] == ["mine"]
    inboxes.remove(ME, inboxes.read(OTHER))
    assert len(inboxes.read(OTHER)) == 3


def test_what_comes_while_others_are_removed_stays(inboxes: Inboxes) -> None:
    inboxes.send(ME, "topic", 1)
    taken = inboxes.read(ME)
    inboxes.send(ME, "topic", 2)
    inboxes.remove(ME, taken)
    assert [message.payload for message in inboxes.read(ME)] == [2]


def test_under_one_name_the_first_waits_and_the_next_once_it_was_taken(inboxes: Inboxes) -> None:
    assert inboxes.send(ME, "answer", 1, once="answer.x")
    assert not inboxes.send(ME, "answer", 2, once="answer.x")
    taken = inboxes.read(ME)
    assert [message.payload for message in taken] == [1]
    inboxes.remove(ME, taken)
    assert inboxes.send(ME, "answer", 3, once="answer.x")


@on_asyncio
def test_of_many_that_are_sent_under_one_name_at_once_one_waits(
    event_store: EventStore, inboxes: Inboxes, driver: LoopDriver
) -> None:
    operations = inboxes.operations
    taken = driver.together(operations.send(ME, "answer", number, once="answer.x") for number in range(40))
    assert taken.count(True) == 1
    assert [message.payload for message in inboxes.read(ME)] == [taken.index(True)]


@pytest.mark.parametrize("size", [PART_BYTES, 2 * PART_BYTES, 5 * PART_BYTES])
def test_a_large_message_arrives_whole_and_leaves_nothing(inboxes: Inboxes, event_store: EventStore, size: int) -> None:
    text = "é" * (size // 2)
    assert inboxes.send(ME, "answer", text, once="answer.x")
    assert not inboxes.send(ME, "answer", "x" * size, once="answer.x")
    (message,) = inboxes.read(ME)
    assert message.payload == text
    inboxes.remove(ME, [message])
    assert inboxes.read(ME) == []


def test_a_message_over_the_limit_is_refused_before_any_write(inboxes: Inboxes, wire: Wire) -> None:
    with wire.counting() as requests, pytest.raises(EventTooLarge):
        inboxes.send(ME, "answer", "x" * (MAX_EVENT_BYTES + 1))
    assert not requests


def test_a_message_of_which_parts_are_gone_hides_no_other(inboxes: Inboxes, event_store: EventStore) -> None:
    inboxes.send(ME, "answer", "x" * (2 * PART_BYTES))
    inboxes.send(ME, "topic", 1)
    for item in raw_items(event_store.dynamodb, event_store.table):
        if "topic" not in item:
            key = {name: item[name] for name in ("session_id", "event_id")}
            event_store.dynamodb.delete_item(TableName=event_store.table, Key=key)
    assert [message.payload for message in inboxes.read(ME)] == [1]


def test_what_nobody_took_expires(inboxes: Inboxes, clock: Clock) -> None:
    inboxes.send(ME, "topic", "x" * (2 * PART_BYTES))
    clock.advance(seconds=SIGNAL_TTL.total_seconds() + 1)
    inboxes.send(ME, "topic", 2)
    assert [message.payload for message in inboxes.read(ME)] == [2]


def test_all_of_it_stands_in_one_partition_that_is_no_sessions(inboxes: Inboxes, event_store: EventStore) -> None:
    inboxes.send(ME, "topic", "x" * (2 * PART_BYTES))
    partitions = {item["session_id"]["S"] for item in raw_items(event_store.dynamodb, event_store.table)}
    assert partitions == {worker_keys.inbox_partition(ME)}
    assert worker_keys.is_of_workers(*partitions)
