"""The recorder of served calls: in batches, beside the loop's other work, and losing nothing that it need not lose."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from sessions_dynamo import recorder as module
from sessions_dynamo.dataplane.loops import close_planes_of_this_loop
from sessions_dynamo.dataplane.observers import Asked, on_request
from sessions_dynamo.errors import StorageUnavailable
from sessions_dynamo.recorder import CallRecorder
from sessions_dynamo.store.calls import Call, recent_calls
from sessions_dynamo.store.events import default_store
from tests.sessions_dynamo.support import Wire

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

AT = datetime(2026, 11, 22, 12, 0, 0, 123_000, UTC)
variable: ContextVar[str] = ContextVar("variable", default="unset")


@pytest.fixture
def calls() -> list[Call]:
    """Calls of one session that no other test has."""
    first = Call(secrets.token_hex(4), AT, "tools/call", "ok", 12.345, tool="add", request_bytes=12, response_bytes=30)
    return [replace(first, at=AT + timedelta(seconds=number)) for number in range(60)]


@asynccontextmanager
async def recording() -> AsyncIterator[CallRecorder]:
    recorder = CallRecorder()
    try:
        yield recorder
    finally:
        await recorder.close(10)
        await close_planes_of_this_loop()
        assert asyncio.all_tasks() == {asyncio.current_task()}, "it leaves no task behind"


def recorded(calls: list[Call]) -> list[Call]:
    """What stands in the table of the session of these, oldest first."""
    store = default_store()
    return store.drive(recent_calls(store.table, calls[0].session_id, 1000))[::-1]


async def until(condition: Any) -> None:
    while not condition():
        await asyncio.sleep(0.01)


def sizes(wire: Wire) -> list[int]:
    """How many items each request has put."""
    return [len(items) for sent in wire.requests for items in sent.params.get("RequestItems", {}).values()]


class Held:
    """In place of a DynamoDB that does not answer until it is released."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.entered, self.released, self.written = asyncio.Event(), asyncio.Event(), 0
        patch.setattr(module, "run", self.run)

    async def run(self, operation: Any) -> None:
        step = next(operation)
        self.entered.set()
        await self.released.wait()
        self.written += sum(len(items) for items in step.parameters["RequestItems"].values())


async def test_calls_are_written_25_to_a_request_and_the_rest_at_the_end(
    dynamodb: DynamoDBClient, wire: Wire, calls: list[Call], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LINGER_SECONDS", 3600)
    async with recording() as recorder:
        for call in calls:
            recorder.record(call)
        await recorder.flush(10)
        assert sizes(wire) == [25, 25, 10]
    assert recorded(calls) == calls


async def test_a_full_request_waits_for_nothing(
    dynamodb: DynamoDBClient, wire: Wire, calls: list[Call], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LINGER_SECONDS", 3600)
    async with recording() as recorder:
        for call in calls[:25]:
            recorder.record(call)
        await until(lambda: sizes(wire) == [25])


async def test_large_bodies_fill_a_request(dynamodb: DynamoDBClient, wire: Wire, calls: list[Call]) -> None:
    calls = [replace(call, response_body="x" * 60_000) for call in calls[:12]]
    async with recording() as recorder:
        for call in calls:
            recorder.record(call)
    assert sizes(wire) == [5, 5, 2]
    assert recorded(calls) == calls


async def test_a_call_waits_no_longer_than_the_linger(
    dynamodb: DynamoDBClient, calls: list[Call], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LINGER_SECONDS", 0.05)
    async with recording() as recorder:
        for call in calls[:2]:
            recorder.record(call)
            await until(lambda call=call: recorded(calls)[-1:] == [call])


async def test_what_comes_while_a_request_is_under_way_shares_the_next(
    calls: list[Call], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LINGER_SECONDS", 0.01)
    held = Held(monkeypatch)
    async with recording() as recorder:
        recorder.record(calls[0])
        await held.entered.wait()
        held.entered.clear()
        for call in calls[1:31]:
            recorder.record(call)
        assert not held.entered.is_set(), "one request at a time"
        held.released.set()
        await until(lambda: held.written == 31)


async def test_a_flush_writes_what_came_during_the_request_before_it(
    calls: list[Call], monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(monkeypatch)
    async with recording() as recorder:
        recorder.record(calls[0])
        flushed = [asyncio.create_task(recorder.flush(10))]
        await held.entered.wait()
        monkeypatch.setattr(module, "LINGER_SECONDS", 3600)
        recorder.record(calls[1])
        flushed.append(asyncio.create_task(recorder.flush(10)))
        await asyncio.sleep(0)
        held.released.set()
        await asyncio.gather(*flushed)
        assert held.written == 2


async def test_calls_expire_with_the_events(dynamodb: DynamoDBClient, wire: Wire, calls: list[Call]) -> None:
    async with recording() as recorder:
        recorder.record(calls[0])
    [sent] = wire.requests
    [[put]] = sent.params["RequestItems"].values()
    assert abs(int(put["PutRequest"]["Item"]["ttl"]["N"]) - 6 * 3600 - time.time()) < 60
    assert default_store().since(calls[0].session_id) == []


async def test_a_dynamodb_that_fails_is_logged_and_the_next_calls_are_recorded(
    dynamodb: DynamoDBClient, calls: list[Call], caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: Asked) -> None:
        raise StorageUnavailable("Cannot reach the table")

    async with recording() as recorder:
        with on_request(fail):
            recorder.record(calls[0])
            recorder.record(calls[1])
            await recorder.flush(10)
        recorder.record(calls[2])
    assert [record.getMessage() for record in caplog.records] == [
        "2 served calls were not recorded: Cannot reach the table"
    ]
    assert recorded(calls) == [calls[2]]


async def test_settings_that_fail_stop_no_later_call(
    dynamodb: DynamoDBClient, calls: list[Call], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise RuntimeError("no settings")

    async with recording() as recorder:
        with monkeypatch.context() as patch:
            patch.setattr(module, "default_operations", fail)
            recorder.record(calls[0])
            await recorder.flush(10)
        recorder.record(calls[1])
    assert "1 served calls were not recorded: no settings" in caplog.text
    assert recorded(calls) == [calls[1]]


async def test_a_call_that_cannot_be_encoded_costs_itself_alone(
    dynamodb: DynamoDBClient, calls: list[Call], caplog: pytest.LogCaptureFixture
) -> None:
    async with recording() as recorder:
        for call in (calls[0], replace(calls[1], session_id="\ud800"), calls[2]):
            recorder.record(call)
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == ["1 served calls were not recorded"]
    assert recorded(calls) == [calls[0], calls[2]]


async def test_calls_over_the_limit_are_dropped_and_the_drop_is_logged(
    calls: list[Call], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "LINGER_SECONDS", 0)
    monkeypatch.setattr(module, "MAX_WAITING", 5)
    held = Held(monkeypatch)
    async with recording() as recorder:
        recorder.record(calls[0])
        await held.entered.wait()
        for call in calls[:12]:
            recorder.record(call)
        held.released.set()
    assert held.written == 6
    assert "7 served calls were not recorded: too many waited" in caplog.text


async def test_a_flush_takes_no_longer_than_it_may_and_gives_nothing_up(
    calls: list[Call], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    held = Held(monkeypatch)
    async with recording() as recorder:
        for call in calls:
            recorder.record(call)
        await recorder.flush(0.01)
        assert held.written == 0
        held.released.set()
    assert held.written == 60
    assert caplog.text == ""


async def test_closing_takes_no_longer_than_it_may_and_says_what_it_cost(
    calls: list[Call], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    Held(monkeypatch)
    async with recording() as recorder:
        for call in calls:
            recorder.record(call)
        await recorder.close(0.01)
    assert [record.getMessage() for record in caplog.records] == [
        "35 served calls were not recorded: those before them took too long to write",
        "25 served calls were not recorded: they took too long to write",
    ]


async def test_closing_a_recorder_that_recorded_nothing_starts_nothing() -> None:
    async with recording() as recorder:
        await recorder.close(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_closed_recorder_begins_again(dynamodb: DynamoDBClient, calls: list[Call]) -> None:
    async with recording() as recorder:
        for call in calls[:2]:
            recorder.record(call)
            await recorder.close(10)
    assert recorded(calls) == calls[:2]


def test_a_loop_that_ends_unasked_says_what_was_under_way(
    calls: list[Call], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "LINGER_SECONDS", 0)

    async def begin() -> None:
        held, recorder = Held(monkeypatch), CallRecorder()
        recorder.record(calls[0])
        await held.entered.wait()

    with caplog.at_level(logging.WARNING):
        asyncio.run(begin())
    assert [record.getMessage() for record in caplog.records] == [
        "1 served calls were not recorded: they took too long to write"
    ]


async def test_nothing_of_the_request_that_began_it_is_kept(calls: list[Call], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    async def see(operation: Any) -> None:
        operation.close()
        seen.append(variable.get())

    monkeypatch.setattr(module, "run", see)
    monkeypatch.setattr(module, "LINGER_SECONDS", 0.01)
    async with recording() as recorder:
        variable.set("a request's")
        recorder.record(calls[0])
        await until(lambda: seen)
        for call in calls[:25]:
            recorder.record(call)
    assert seen == ["unset", "unset"]
