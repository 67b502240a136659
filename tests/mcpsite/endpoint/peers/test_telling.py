"""What a worker tells the others: all of it, in few requests, whatever fails meanwhile."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

import pytest

from mcpsite.endpoint.peers import news, telling
from mcpsite.endpoint.peers.telling import FLUSH_SECONDS, flush_seconds
from sessions_dynamo.errors import EventTooLarge, InvalidState, StorageUnavailable
from sessions_dynamo.operations import Operation
from sessions_dynamo.workers.news import MAX_ITEM_BYTES, NewsOperations
from sessions_dynamo.workers.streams import default_store
from tests.mcpsite.conftest import Wire
from tests.mcpsite.endpoint.peers.support import Host, polling
from tests.mcpsite.endpoint.streams.support import until
from tests.mcpsite.faults import failing

pytestmark = pytest.mark.usefixtures("store")


@pytest.fixture(autouse=True)
def _retry_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "RETRY_SECONDS", (0.01, 0.05))


def log_of(host: Host) -> list[list[Any]]:
    """What a worker has told, item by item, as far as its head says."""
    newest = default_store().news.heads().get(host.worker_id, 0)
    return [payloads for _, payloads in default_store().news.since(host.worker_id, 0, newest)]


async def told(host: Host) -> list[list[Any]]:
    await until(lambda: not host.teller.is_spreading)
    return log_of(host)


@pytest.mark.parametrize(("talking", "seconds"), [(1, 0.1), (5, 0.1), (10, 0.2), (64, 1.28), (1000, 20.0)])
def test_all_workers_together_move_some_fifty_heads_a_second(talking: int, seconds: float) -> None:
    assert flush_seconds(talking) == pytest.approx(seconds)
    assert talking / flush_seconds(talking) <= 50.01


async def test_the_first_goes_at_once_and_what_comes_meanwhile_together(wire: Wire) -> None:
    host = Host()
    host.teller.tell("first", "a")
    await until(lambda: wire.operations)
    for topic in "abcd":
        host.teller.tell(f"{topic}, early", topic)
        host.teller.tell(topic, topic)
    assert host.teller.is_spreading
    await until(lambda: not host.teller.is_spreading)
    # Then it looks how many others tell something, for the next to come no sooner than all bear.
    assert wire.operations == [*["BatchWriteItem", "PutItem"] * 2, "Query"]
    assert log_of(host) == [["first"], ["a", "b", "c", "d"]]


async def test_one_who_tells_often_makes_room_for_all_others_that_do(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, others = Host(), [Host() for _ in range(19)]
    monkeypatch.setattr(news, "COUNT_SECONDS", 0.2)
    host.teller.tell("first", "x")
    await until(lambda: not host.teller.is_spreading)
    assert wire.operations == ["BatchWriteItem", "PutItem"]
    for _ in range(2):
        host.teller.tell("again", "x")
        await until(lambda: not host.teller.is_spreading)
        for other in others:
            other.publish("y")
        await asyncio.sleep(0.25)
    host.teller.tell("more", "x")
    await until(lambda: not host.teller.is_spreading)
    assert host.teller._next_flush - host.teller._flushed_at == pytest.approx(flush_seconds(20))


async def test_five_hundred_a_second_are_some_ten_and_the_last_is_among_them() -> None:
    host = Host()
    began = time.monotonic()
    for number in range(500):
        host.teller.tell(number, "x")
        await asyncio.sleep(0.002)
    items = await told(host)
    assert len(items) <= (time.monotonic() - began) / FLUSH_SECONDS + 1
    assert all(len(item) == 1 for item in items)
    assert items[0] == [0]
    assert items[-1] == [499]


@pytest.mark.parametrize("action", ["BatchWriteItem", "PutItem"])
async def test_what_cannot_be_told_is_told_when_it_can(caplog: pytest.LogCaptureFixture, action: str) -> None:
    host = Host()
    with failing(action, times=2), caplog.at_level(logging.WARNING):
        host.teller.tell("a", "a")
        await until(lambda: "wait to be told" in caplog.text)
        assert host.teller.is_spreading
        host.teller.tell("b", "b")
        assert await told(host) == [["a"], ["b"]]


async def test_what_was_read_of_an_attempt_whose_answer_was_lost_is_not_told_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(telling, "RETRY_SECONDS", (0.3, 0.3))
    publish = NewsOperations.publish
    lost: list[int] = []

    def publish_and_lose(self: NewsOperations, *args: Any) -> Operation[int]:
        newest = yield from publish(self, *args)
        if not lost:
            lost.append(newest)
            raise StorageUnavailable("no answer")
        return newest

    monkeypatch.setattr(NewsOperations, "publish", publish_and_lose)
    here, there = Host(), Host()
    async with polling(there):
        await there.reader.attend()
        here.teller.tell("first", "a")
        await until(lambda: there.heard)
        assert lost
        assert here.teller.is_spreading
        # With the repetition it would come under a number that was read.
        here.teller.tell("second", "b")
        await until(lambda: len(there.heard) == 2)
        await until(lambda: not here.teller.is_spreading)
        there.reader.leave()
    assert there.payloads == ["first", "second"]


async def test_what_nobody_can_be_told_is_refused_and_holds_nothing_up() -> None:
    host = Host()
    with pytest.raises(EventTooLarge):
        host.teller.tell("x" * MAX_ITEM_BYTES, "long")
    with pytest.raises(InvalidState):
        host.teller.tell("\ud800", "no text")
    assert not host.teller.is_spreading
    host.teller.tell("x", "x")
    assert await told(host) == [["x"]]


async def test_more_than_an_item_holds_goes_in_several(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host()
    large = [f"{number}{'x' * (MAX_ITEM_BYTES // 2)}" for number in range(4)]
    for number, payload in enumerate(large):
        host.teller.tell(payload, str(number))
    host.teller.tell("then", "then")
    await until(lambda: not host.teller.is_spreading)
    host.teller.tell("later", "then")
    items = await told(host)
    assert [payload for item in items for payload in item] == [*large, "then", "later"]
    assert len(items) == 5


async def test_what_waits_while_nobody_can_be_told_is_bounded(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(telling, "MAX_TOPICS", 3)
    host = Host()
    for number in range(5):
        host.teller.tell(number, str(number))
    assert await told(host) == [[2, 3, 4]]
    assert "2 server events were never told" in caplog.text


async def test_who_stopped_tells_nothing_more() -> None:
    host = Host()
    host.teller.tell("x", "x")
    host.teller.stop()
    await until(lambda: not host.teller.is_spreading)
    assert log_of(host) == []
