"""What other workers told is heard once by who listens, from when he began, and asked for as seldom as may be."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

import pytest

from mcpsite.endpoint.peers import news, pace
from mcpsite.endpoint.peers.news import COUNT_SECONDS, GAP_SECONDS, LATELY_SECONDS
from mcpsite.endpoint.peers.pace import BUSY_POLLS, IDLE_FACTOR
from sessions_dynamo import schema, worker_keys
from sessions_dynamo.errors import StorageError
from sessions_dynamo.operations import Operation
from sessions_dynamo.workers.news import NewsOperations
from sessions_dynamo.workers.streams import default_store
from tests.mcpsite.conftest import Wire
from tests.mcpsite.endpoint.peers.support import Host, polling
from tests.mcpsite.endpoint.streams.support import until
from tests.mcpsite.faults import failing

pytestmark = pytest.mark.usefixtures("store")


@pytest.fixture(autouse=True)
def _nobody_told_anything_yet(store: Any) -> None:
    store.events.delete(worker_keys.NEWS_PARTITION)


class Time:
    """The reader's monotonic clock, moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    stopped = Time()
    for module in (news, pace):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=stopped.monotonic))
    return stopped


async def beats(host: Host, time: Time, count: int) -> list[int]:
    """The poller's beats by hand: at which of them the reader read."""
    at = []
    for beat in range(count):
        time.now += host.poll_seconds
        for _, step in list(host.reader.due(time.now, is_beat=True)):
            at.append(beat)
            await cast("Awaitable[None]", step())
    return at


# --- What is heard --------------------------------------------------------------------------------------------


async def test_two_readers_hear_all_of_two_writers_once_and_in_each_ones_order() -> None:
    readers, writers = [Host(), Host()], [Host(), Host()]
    async with polling(*readers):
        for reader in readers:
            await reader.reader.attend()
        for number in range(10):
            for writer in writers:
                writer.publish([writer.worker_id, number], [writer.worker_id, "and"])
            await asyncio.sleep(0.01)
        await until(lambda: all(len(reader.heard) == 40 for reader in readers))
        await asyncio.sleep(0.1)
    for reader in readers:
        assert {worker for worker, _ in reader.heard} == {writer.worker_id for writer in writers}
        for writer in writers:
            heard = [payload for worker, payload in reader.heard if worker == writer.worker_id]
            assert heard == [[writer.worker_id, word] for number in range(10) for word in (number, "and")]


async def test_nobody_hears_what_he_told_himself() -> None:
    host = Host()
    await host.reader.attend()
    host.publish("x")
    await host.look()
    assert host.heard == []


async def test_who_begins_later_hears_nothing_old_and_all_that_follows() -> None:
    host, known, new = Host(), Host(), Host()
    for number in range(3):
        known.publish(f"old {number}")
    await host.reader.attend()
    known.publish("x")
    new.publish("y")
    await host.look()
    assert sorted(host.payloads) == ["x", "y"]


async def test_what_was_told_while_nobody_listened_is_not_heard_by_who_comes_again() -> None:
    host, writer = Host(), Host()
    await host.reader.attend()
    host.reader.leave()
    writer.publish("missed")
    await host.reader.attend()
    writer.publish("heard")
    await host.look()
    assert host.payloads == ["heard"]


async def test_who_comes_to_others_that_listen_hears_nothing_that_was_told_before_either() -> None:
    host, writer = Host(), Host()
    await host.reader.attend()
    writer.publish("before")
    assert host.heard == []
    await host.reader.attend()
    # By those who listened already: what comes after this is for both.
    assert host.payloads == ["before"]


async def test_what_is_told_when_attend_has_returned_is_heard() -> None:
    """However many begin at once, and whoever of them is the first."""
    writer = Host()

    async def listen(host: Host, number: int) -> str:
        await asyncio.sleep(number % 3 / 1000)
        await host.reader.attend()
        writer.publish(text := f"{id(host)} {number}")
        return text

    hosts = [Host() for _ in range(3)]
    async with polling(*hosts):
        told = await asyncio.gather(*(listen(host, number) for host in hosts for number in range(5)))
        own = [set(told[place * 5 : place * 5 + 5]) for place in range(len(hosts))]
        await until(lambda: all(texts <= set(host.payloads) for texts, host in zip(own, hosts, strict=True)))
        assert all(len(host.payloads) == len(set(host.payloads)) for host in hosts)


async def test_those_who_begin_together_wait_for_one_reading(wire: Wire) -> None:
    host = Host()
    await asyncio.gather(*(host.reader.attend() for _ in range(50)))
    # Some may have come when the first had begun.
    assert wire.operations in (["Query"], ["Query", "Query"])
    assert len(host.reader) == 50


async def test_of_a_reading_that_was_under_way_when_all_left_nothing_is_heard_by_who_comes_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    host, writer = Host(), Host()
    await host.reader.attend()
    writer.publish("before")
    heads, begun, go_on = NewsOperations.heads, asyncio.Event(), asyncio.Event()

    async def listen_anew() -> None:
        await begun.wait()
        host.reader.leave()
        anew = asyncio.create_task(host.reader.attend())
        await asyncio.sleep(0.01)
        go_on.set()
        await anew

    def slowly(self: NewsOperations) -> Operation[dict[str, int]]:
        found = yield from heads(self)
        begun.set()
        return found

    monkeypatch.setattr(NewsOperations, "heads", slowly)
    reading = asyncio.create_task(host.look())
    await listen_anew()
    await reading
    assert host.heard == []
    writer.publish("after")
    await host.look()
    assert host.payloads == ["after"]


async def test_what_is_not_understood_keeps_nothing_behind_it_from_being_heard(
    caplog: pytest.LogCaptureFixture,
) -> None:
    host, writer = Host(), Host()
    await host.reader.attend()
    writer.publish("a", "what nobody understands", "b")
    writer.publish("c")
    await host.look()
    assert host.payloads == ["a", "b", "c"]
    assert "was not understood" in caplog.text


async def test_what_has_expired_is_not_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    host, writer = Host(), Host()
    await host.reader.attend()
    writer.publish("stale")
    now_ms = schema.now_ms
    monkeypatch.setattr(schema, "now_ms", lambda: now_ms() + 3_600_000)
    writer.publish("fresh")
    await host.look()
    assert host.payloads == ["fresh"]
    monkeypatch.setattr(schema, "now_ms", lambda: now_ms() + 2 * 3_600_000)
    await host.look()
    writer.publish("after a long silence")
    await host.look()
    assert host.payloads == ["fresh", "after a long silence"]


async def test_of_a_worker_that_was_silent_until_its_log_was_gone_the_next_is_heard_at_once() -> None:
    host, writer = Host(), Host()
    for number in range(3):
        writer.publish(number)
    default_store().events.delete(worker_keys.NEWS_PARTITION)
    default_store().events.delete(worker_keys.news_partition(writer.worker_id))
    await host.reader.attend()
    writer.publish("x")
    await host.look()
    writer.publish("y")
    await host.look()
    assert host.payloads == ["x", "y"]


# --- What is copied behind its head ---------------------------------------------------------------------------


def take_out(writer: Host, number: int) -> dict[str, Any]:
    """Take an item out of a worker's log, as if it had yet to be copied from another region."""
    events = default_store().events
    key = {
        "session_id": {"S": worker_keys.news_partition(writer.worker_id)},
        "event_id": {"S": worker_keys.news_id(number)},
    }
    item: dict[str, Any] = events.dynamodb.get_item(TableName=events.table, Key=key)["Item"]
    events.dynamodb.delete_item(TableName=events.table, Key=key)
    return item


@pytest.mark.parametrize("known", [True, False], ids=["of a worker that told before", "of a new worker"])
async def test_an_item_that_is_not_there_yet_is_waited_for_and_so_is_what_follows(known: bool) -> None:
    host, writer = Host(), Host()
    if known:
        writer.publish("old")
    await host.reader.attend()
    writer.publish("a")
    missing = take_out(writer, writer.newest)
    await host.look()
    writer.publish("b")
    if known:
        await host.look()
        assert host.heard == []
    events = default_store().events
    events.dynamodb.put_item(TableName=events.table, Item=missing)
    await host.look()
    await host.look()
    assert host.payloads == ["a", "b"]


async def test_an_item_that_never_comes_is_not_waited_for_for_ever(time: Time) -> None:
    host, writer = Host(), Host()
    writer.publish("old")
    await host.reader.attend()
    writer.publish("a")
    writer.publish("b")
    writer.publish("c")
    take_out(writer, 3)
    await host.look()
    assert host.payloads == ["a"]
    time.now += GAP_SECONDS / 2
    await host.look()
    assert host.payloads == ["a"]
    time.now += GAP_SECONDS / 2
    await host.look()
    assert host.payloads == ["a", "c"]
    writer.publish("d")
    await host.look()
    assert host.payloads == ["a", "c", "d"]


# --- When storage fails ---------------------------------------------------------------------------------------


async def test_who_cannot_know_where_the_logs_stand_does_not_listen() -> None:
    host, writer = Host(), Host()
    with failing("Query"):
        results = await asyncio.gather(*(host.reader.attend() for _ in range(3)), return_exceptions=True)
    assert all(isinstance(result, StorageError) for result in results)
    assert len(host.reader) == 0
    writer.publish("old")
    await host.reader.attend()
    writer.publish("x")
    await host.look()
    assert host.payloads == ["x"]


async def test_a_reading_that_fails_is_repeated(caplog: pytest.LogCaptureFixture) -> None:
    host, writer = Host(), Host()
    async with polling(host):
        await host.reader.attend()
        with failing("Query", times=3), caplog.at_level(logging.WARNING):
            writer.publish("x")
            await until(lambda: caplog.text.count("a poll failed") == 3)
        await until(lambda: host.heard)
        await asyncio.sleep(0.1)
        assert host.payloads == ["x"]


async def test_who_gives_up_waiting_listens_no_more() -> None:
    host = Host()
    attending = asyncio.create_task(host.reader.attend())
    await asyncio.sleep(0)
    attending.cancel()
    await asyncio.gather(attending, return_exceptions=True)
    assert len(host.reader) == 0


# --- How often it is asked for --------------------------------------------------------------------------------


async def test_while_it_is_quiet_it_is_asked_for_ever_less_often(time: Time) -> None:
    host, writer = Host(0.5), Host()
    await host.reader.attend()
    assert await beats(host, time, BUSY_POLLS - 1) == list(range(BUSY_POLLS - 1))
    quiet = await beats(host, time, 100)
    pauses = [later - earlier for earlier, later in pairwise(quiet)]
    assert pauses == sorted(pauses)
    assert set(pauses) >= {2, 4, IDLE_FACTOR}
    assert pauses[-1] == IDLE_FACTOR
    assert await beats(host, time, 10 * IDLE_FACTOR) == list(range(quiet[-1] + IDLE_FACTOR - 100, 10 * IDLE_FACTOR, 8))
    writer.publish("x")
    await beats(host, time, IDLE_FACTOR)
    assert host.payloads == ["x"]
    assert len(await beats(host, time, 20)) == 20


async def test_a_request_that_is_served_here_makes_it_be_asked_for_at_each_beat(time: Time) -> None:
    host = Host(0.5)
    await host.reader.attend()
    time.now += BUSY_POLLS * 0.5
    await beats(host, time, 50)
    host.reader.pace.hurry()
    assert len(await beats(host, time, 20)) == 20


async def test_a_quiet_reading_is_one_request(time: Time, wire: Wire) -> None:
    host, writer = Host(0.5), Host()
    writer.publish("old")
    await host.reader.attend()
    wire.clear()
    assert len(await beats(host, time, 10)) == 10
    assert wire.operations == ["Query"] * 10


async def test_where_a_bell_rings_it_is_asked_for_when_it_does_and_else_seldom(time: Time) -> None:
    host = Host(0.5)
    await host.reader.attend()
    host.reader.pace.slow_seconds = 5.0
    host.reader.ring()
    assert await beats(host, time, 30) == [0, 10, 20]
    host.reader.ring()
    ((_, step),) = host.reader.due(time.now, is_beat=False)
    await cast("Awaitable[None]", step())
    assert list(host.reader.due(time.now, is_beat=False)) == []
    host.reader.pace.slow_seconds = None
    host.reader.ring()
    assert len(await beats(host, time, 10)) == 10


async def test_a_bell_that_rings_while_it_is_read_is_heard() -> None:
    host, writer = Host(60.0), Host()
    async with polling(host):
        await host.reader.attend()
        for number in range(20):
            writer.publish(number)
            host.reader.ring()
            await asyncio.sleep(number % 5 / 1000)
        await until(lambda: len(host.heard) == 20)
    assert host.payloads == [*range(20)]


async def test_while_nobody_listens_nothing_is_asked(time: Time, wire: Wire) -> None:
    host = Host()
    assert await beats(host, time, 10) == []
    await host.reader.attend()
    await host.reader.attend()
    host.reader.leave()
    assert len(host.reader) == 1
    host.reader.leave()
    wire.clear()
    host.reader.ring()
    assert await beats(host, time, 10) == []
    assert wire.operations == []


async def test_those_who_told_something_lately_are_counted(time: Time) -> None:
    host, writers = Host(), [Host() for _ in range(63)]
    assert await host.reader.talking(True) == 1
    await host.reader.attend()
    for writer in writers:
        writer.publish("x")
    await host.look()
    assert await host.reader.talking(True) == 64
    time.now += LATELY_SECONDS
    writers[0].publish("y")
    await host.look()
    assert await host.reader.talking(True) == 2
    host.reader.leave()
    assert await host.reader.talking(True) == 1


async def test_a_worker_that_tells_often_and_does_not_listen_looks_who_else_does(time: Time, wire: Wire) -> None:
    host, writers = Host(), [Host() for _ in range(20)]
    writers[0].publish("x")
    assert await host.reader.talking(False) == 1
    assert wire.operations[2:] == []
    assert await host.reader.talking(True) == 1
    for writer in writers:
        writer.publish("x")
    wire.clear()
    assert await host.reader.talking(True) == 1
    time.now += COUNT_SECONDS
    assert await host.reader.talking(True) == 21
    assert wire.operations == ["Query"]
    time.now += LATELY_SECONDS
    # What was told in between may have been told long ago.
    for writer in writers:
        writer.publish("y")
    assert await host.reader.talking(True) == 1
    writers[0].publish("z")
    time.now += COUNT_SECONDS
    with failing("Query"):
        assert await host.reader.talking(True) == 1
    time.now += COUNT_SECONDS
    assert await host.reader.talking(True) == 2


async def test_nothing_is_kept_of_workers_whose_heads_are_gone() -> None:
    host, writer = Host(), Host()
    await host.reader.attend()
    writer.publish("x")
    await host.look()
    assert host.reader._cursors == {writer.worker_id: 1}
    default_store().events.delete(worker_keys.NEWS_PARTITION)
    await host.look()
    assert host.reader._cursors == {}
