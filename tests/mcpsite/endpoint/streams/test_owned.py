"""The stream of one POST: begun when it is needed, stored before it is sent, ended once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import anyio
import pytest
from mcp_types import INTERNAL_ERROR, ErrorData, JSONRPCError

from mcpsite.endpoint.streams import owned as owned_streams
from mcpsite.endpoint.streams.outbox import Answer
from mcpsite.endpoint.streams.worker import Worker
from mcpsite.endpoint.wire.answers import encode
from sessions_dynamo import schema
from sessions_dynamo.errors import EventTooLarge, StorageError
from sessions_dynamo.operations import Pause
from sessions_dynamo.store.event_items import MAX_EVENT_BYTES, PART_BYTES, Event
from sessions_dynamo.store.event_operations import EventOperations
from sessions_dynamo.store.session_items import Session
from sessions_dynamo.workers.stream_operations import StreamOperations
from sessions_dynamo.workers.streams import StreamStore
from tests.mcpsite.conftest import Wire
from tests.mcpsite.endpoint.streams.support import (
    LATEST,
    OLDER,
    RETRY_MS,
    Peer,
    finish,
    leftovers,
    log,
    owned,
    result,
    until,
    workers,
)
from tests.mcpsite.faults import before, failing


def stored(store: StreamStore, session: Session) -> list[tuple[int, str]]:
    """Every event of the session: its sequence and type."""
    return [(event.sequence, event.event_type) for event in store.events.since(session.session_id)]


# --- JSON or a stream -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [OLDER, LATEST])
async def test_a_handler_that_sends_nothing_is_answered_with_json_and_stores_nothing(
    session: Session, wire: Wire, version: str
) -> None:
    async with workers(1) as [worker]:
        stream, client = owned(worker, session, version=version)
        wire.clear()
        await finish(stream, result(a=1))
        client.read()
        assert client.answer == Answer(result(a=1), encode({"jsonrpc": "2.0", "id": 1, "result": {"a": 1}}))
        assert client.received == []
        assert wire.operations == []


async def test_a_message_makes_it_a_stream_with_a_cursor_before_all_else(session: Session, store: StreamStore) -> None:
    async with workers(1) as [worker]:
        stream, client = owned(worker, session)
        await stream.emit(log(1))
        await stream.emit(log(2))
        await finish(stream)
        priming, first, second, end = client.read()
        assert (priming.data, priming.retry, first.retry) == ("", None, None)
        assert client.texts == [1, 2, "result"]
        assert client.is_closed
        events = store.events.since(session.session_id)
        assert [event.event_id for event in events] == [one.event_id for one in (priming, first, second, end)]
        assert [event.data for event in events] == [one.data for one in (priming, first, second, end)]


async def test_clients_that_do_not_know_priming_events_get_none(session: Session, store: StreamStore) -> None:
    async with workers(1) as [worker]:
        stream, client = owned(worker, session, version=OLDER)
        assert not stream.is_resumable
        await stream.emit(log(1))
        await finish(stream)
        client.read()
        assert [one.retry for one in client.received] == [None, None]
        assert stored(store, session) == [(0, "notifications/message"), (schema.END_SEQUENCE, "response")]


@pytest.mark.parametrize("version", [OLDER, LATEST])
async def test_it_can_be_made_a_stream_without_a_message(session: Session, store: StreamStore, version: str) -> None:
    async with workers(1) as [worker]:
        stream, client = owned(worker, session, version=version)
        assert await stream.open()
        assert await stream.open()
        assert store.lease(session.session_id, stream.stream_id) is not None
        await finish(stream)
        assert client.texts == ["result"]
        assert client.answer is None


async def test_what_was_answered_is_no_stream(session: Session, store: StreamStore) -> None:
    async with workers(1) as [worker]:
        stream, _ = owned(worker, session)
        await finish(stream)
        assert not await stream.open()
        await stream.emit(log("late"))
        assert store.lease(session.session_id, stream.stream_id) is None
        assert stored(store, session) == []
        assert leftovers(worker) == {}


async def test_opening_and_answering_at_once_give_one_or_the_other(session: Session, store: StreamStore) -> None:
    async with workers(1) as [worker]:
        for opens_first in [True, False] * 10:
            stream, client = owned(worker, session)
            async with asyncio.TaskGroup() as tasks:
                if opens_first:
                    opening = tasks.create_task(stream.open())
                tasks.create_task(finish(stream))
                if not opens_first:
                    opening = tasks.create_task(stream.open())
            client.read()
            assert (client.answer is None) == client.is_closed == opening.result()
            assert client.texts == (["result"] if opening.result() else [])
        assert leftovers(worker) == {}


async def test_messages_after_the_answer_are_dropped(session: Session, store: StreamStore) -> None:
    async with workers(1) as [worker]:
        stream, client = owned(worker, session)
        await stream.emit(log(1))
        await asyncio.gather(finish(stream), stream.emit(log("late")))
        await stream.emit(log("later"))
        assert client.texts in ([1, "result"], [1, "late", "result"])
        assert store.events.since(session.session_id)[-1].event_type == "response"
        assert len(client.texts) == len(stored(store, session)) - 1


async def test_an_error_ends_a_stream_as_a_result_does(session: Session, store: StreamStore) -> None:
    async with workers(1) as [worker]:
        stream, client = owned(worker, session)
        await stream.emit(log(1))
        await finish(stream, JSONRPCError(jsonrpc="2.0", id=1, error=ErrorData(code=-1, message="no")))
        assert client.texts == [1, "error"]
        assert stored(store, session)[-1] == (schema.END_SEQUENCE, "error")


# --- Order ----------------------------------------------------------------------------------------------------


async def test_messages_sent_at_once_keep_their_order_and_share_requests(
    session: Session, store: StreamStore, wire: Wire
) -> None:
    async with workers(1, poll=60) as [worker]:
        stream, client = owned(worker, session)
        wire.clear()
        async with asyncio.TaskGroup() as tasks:
            for number in range(20):
                tasks.create_task(stream.emit(log(number)))
        assert client.texts == list(range(20))
        assert wire.operations == ["BatchWriteItem"]
        assert [sequence for sequence, _ in stored(store, session)] == list(range(21))


async def test_nothing_is_sent_before_it_is_stored(session: Session) -> None:
    seen: list[int] = []
    async with workers(1) as [worker]:
        stream, client = owned(worker, session)
        with before(EventOperations, "append", lambda events: seen.append(len(client.texts))):
            for number in range(3):
                await stream.emit(log(number))
        assert seen == [1, 2]


async def test_a_large_message_is_sent_whole(session: Session, store: StreamStore) -> None:
    async with workers(1) as [worker]:
        stream, client = owned(worker, session)
        await stream.emit(log("x" * (2 * PART_BYTES)))
        await finish(stream, result(text="y" * (2 * PART_BYTES)))
        assert client.messages[0]["params"]["data"] == "x" * (2 * PART_BYTES)
        assert client.messages[1]["result"]["text"] == "y" * (2 * PART_BYTES)
        assert [event.data for event in store.events.since(session.session_id)][1:] == [
            encode(message) for message in client.messages
        ]


# --- Notifications, which no handler waits for ----------------------------------------------------------------------


async def test_many_notifications_are_stored_in_batches_and_come_before_the_answer(
    session: Session, store: StreamStore, wire: Wire
) -> None:
    async with workers(1, poll=60) as [worker]:
        stream, client = owned(worker, session)
        wire.clear()
        for number in range(200):
            await stream.queue(log(number))
        await finish(stream)
        assert client.texts == [*range(200), "result"]
        # With the lease and the priming event 202 items, 25 a request.
        assert wire.operations == ["BatchWriteItem"] * 9 + ["PutItem"]
        assert [sequence for sequence, _ in stored(store, session)] == [*range(201), schema.END_SEQUENCE]


async def test_what_comes_while_a_batch_is_stored_is_in_the_next(session: Session) -> None:
    sizes: list[int] = []

    def slow(events: list[Event]) -> Iterable[Pause]:
        sizes.append(len(events))
        yield Pause(0.05)

    async with workers(1, poll=60) as [worker]:
        stream, client = owned(worker, session)
        await stream.emit(log("first"))
        with before(EventOperations, "append", slow):
            for number in range(6):
                await stream.queue(log(number))
                await asyncio.sleep(0.001)
            await until(lambda: client.texts == ["first", *range(6)])
        assert sum(sizes) == 6
        assert len(sizes) < 6


async def test_a_question_goes_out_behind_the_notifications_before_it(session: Session) -> None:
    async with workers(1) as [worker]:
        stream, client = owned(worker, session)
        for number in range(3):
            await stream.queue(log(number))
        await stream.emit(log("question"))
        assert client.texts == [0, 1, 2, "question"]


async def test_a_handler_that_sends_too_much_waits_for_it(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owned_streams, "MAX_QUEUED", 10)
    async with workers(1) as [worker]:
        stream, client = owned(worker, session)
        for number in range(50):
            await stream.queue(log(number))
            assert number - len(client.texts) <= 10
        await finish(stream)
        assert client.texts == [*range(50), "result"]


async def test_many_bytes_are_waited_for_too(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owned_streams, "MAX_QUEUED_BYTES", 1000)
    async with workers(1) as [worker]:
        stream, client = owned(worker, session)
        await stream.queue(log("x" * 2000))
        assert client.texts == ["x" * 2000]


async def test_notifications_that_cannot_be_stored_are_tried_again(
    session: Session, store: StreamStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(owned_streams, "RETRY_SECONDS", 0.02)
    async with workers(1) as [worker]:
        stream, client = owned(worker, session)
        with failing("BatchWriteItem", times=3), caplog.at_level(logging.WARNING):
            await stream.queue(log(1))
            await until(lambda: client.texts == [1])
        assert "not stored yet" in caplog.text
        await finish(stream)
        assert [sequence for sequence, _ in stored(store, session)] == [0, 1, schema.END_SEQUENCE]


async def test_a_client_that_is_there_has_its_notifications_though_they_cannot_be_stored(
    session: Session, store: StreamStore
) -> None:
    async with workers(1) as [worker]:
        stream, client = owned(worker, session)
        await stream.emit(log(1))
        with failing("BatchWriteItem"):
            await stream.queue(log(2))
            await finish(stream)
        assert client.texts == [1, 2, "result"]
        assert [one.event_id for one in client.received[-2:]] == [None, None]
        assert leftovers(worker) == {}


async def test_notifications_that_never_could_be_stored_leave_an_answer_in_json(session: Session) -> None:
    async with workers(1) as [worker]:
        stream, client = owned(worker, session)
        with failing("BatchWriteItem"):
            await stream.queue(log(1))
            await finish(stream)
        client.read()
        assert client.answer is not None
        assert leftovers(worker) == {}


async def test_notifications_after_the_answer_are_dropped(session: Session, store: StreamStore) -> None:
    async with workers(1) as [worker]:
        stream, client = owned(worker, session)
        await finish(stream)
        await stream.queue(log("late"))
        await asyncio.sleep(0)
        assert client.texts == []
        assert stored(store, session) == []


# --- A client that left ---------------------------------------------------------------------------------------


async def test_a_client_that_left_misses_nothing(session: Session, store: StreamStore) -> None:
    async with workers(1) as [worker]:
        stream, client = owned(worker, session)
        await stream.emit(log(1))
        client.read()
        client.leave()
        await stream.emit(log(2))
        await finish(stream)
        assert client.texts == [1]
        assert [sequence for sequence, _ in stored(store, session)] == [0, 1, 2, schema.END_SEQUENCE]


async def test_a_client_may_be_sent_away_and_the_handler_runs_on(session: Session, store: StreamStore) -> None:
    async with workers(1) as [worker]:
        stream, client = owned(worker, session)
        await stream.release_client()
        priming, farewell = client.read()
        assert (priming.data, priming.retry) == ("", None)
        assert (farewell.data, farewell.retry) == (None, RETRY_MS)
        assert client.is_closed
        await stream.emit(log(1))
        await finish(stream)
        assert client.texts == []
        assert len(stored(store, session)) == 3


# --- Storage that fails ---------------------------------------------------------------------------------------


async def test_what_could_not_be_stored_comes_before_what_is_sent_next(session: Session, store: StreamStore) -> None:
    async with workers(1) as [worker]:
        stream, client = owned(worker, session)
        for number in range(1, 7):
            if number % 2:
                with failing("BatchWriteItem"), pytest.raises(StorageError):
                    await stream.emit(log(number))
            else:
                await stream.emit(log(number))
        await finish(stream)
        assert client.texts == [1, 2, 3, 4, 5, 6, "result"]
        assert [sequence for sequence, _ in stored(store, session)] == [*range(7), schema.END_SEQUENCE]


async def test_a_write_that_failed_for_one_message_loses_none_that_waited_behind_it(session: Session) -> None:
    async with workers(1) as [worker]:
        stream, client = owned(worker, session)
        await stream.emit(log(0))
        with failing("BatchWriteItem", times=1):
            outcomes = await asyncio.gather(*(stream.emit(log(n)) for n in range(1, 4)), return_exceptions=True)
        assert sum(isinstance(outcome, StorageError) for outcome in outcomes) == 1
        await finish(stream)
        assert client.texts == [0, 1, 2, 3, "result"]


async def test_a_part_of_a_batch_that_was_stored_is_not_stored_as_something_else(
    session: Session, store: StreamStore
) -> None:
    def half(events: list[Event]) -> None:
        store.events.append(events[:1])
        raise StorageError("half of it")

    async with workers(1) as [worker]:
        stream, _ = owned(worker, session)
        await stream.emit(log(0))
        with before(EventOperations, "append", half):
            await asyncio.gather(*(stream.emit(log(n)) for n in range(1, 4)), return_exceptions=True)
        stored_before = {event.event_id: event.data for event in store.events.since(session.session_id)}
        await stream.emit(log(4))
        after = {event.event_id: event.data for event in store.events.since(session.session_id)}
        assert stored_before.items() <= after.items()
        assert len(after) == 6


async def test_a_stream_that_could_not_be_opened_is_answered_with_json(session: Session, store: StreamStore) -> None:
    async with workers(1) as [worker]:
        stream, client = owned(worker, session)
        with failing("BatchWriteItem"):
            with pytest.raises(StorageError):
                await stream.emit(log(1))
            with pytest.raises(StorageError):
                await stream.open()
        await finish(stream)
        client.read()
        assert client.answer is not None
        assert leftovers(worker) == {}


async def test_a_stream_that_could_not_be_opened_may_open_later(session: Session) -> None:
    async with workers(1) as [worker]:
        stream, client = owned(worker, session)
        with failing("BatchWriteItem"), pytest.raises(StorageError):
            await stream.emit(log(1))
        assert await stream.open()
        await finish(stream)
        assert client.texts == [1, "result"]
        assert [one.data for one in client.received].count("") == 1


async def test_a_message_that_is_too_large_is_refused_alone(session: Session, store: StreamStore) -> None:
    async with workers(1) as [worker]:
        stream, client = owned(worker, session)
        outcomes = await asyncio.gather(
            stream.emit(log(1)),
            stream.emit(log("x" * MAX_EVENT_BYTES)),
            stream.emit(log(2)),
            return_exceptions=True,
        )
        assert [type(outcome) for outcome in outcomes] == [type(None), EventTooLarge, type(None)]
        await finish(stream)
        assert client.texts == [1, 2, "result"]
        assert [sequence for sequence, _ in stored(store, session)] == [0, 1, 2, schema.END_SEQUENCE]


async def test_a_client_that_is_there_gets_its_answer_though_it_cannot_be_stored(
    session: Session, store: StreamStore, caplog: pytest.LogCaptureFixture
) -> None:
    async with workers(1) as [worker]:
        stream, client = owned(worker, session)
        await stream.emit(log(1))
        with failing("PutItem"), caplog.at_level(logging.WARNING):
            await finish(stream)
        assert client.texts == [1, "result"]
        assert client.is_closed
        # Without an id: there is nothing that it could come back to.
        assert client.received[-1].event_id is None
        assert "the end of a stream was not stored" in caplog.text
        assert leftovers(worker) == {}


async def test_an_end_that_could_not_be_stored_is_stored_later_for_who_comes_back(
    session: Session, store: StreamStore
) -> None:
    """The worker's lease goes on: nobody else would ever end the stream."""
    async with workers(2) as [here, there]:
        stream, client = owned(here, session)
        await stream.emit(log(1))
        cursor, back = client.cursor, Peer()
        await there.resume(session, cursor, back.outbox)
        with failing("PutItem"):
            await stream.queue(log(2))
            await finish(stream)
            await asyncio.sleep(0.1)
            assert not back.has_ended
        await until(lambda: back.has_ended)
        assert back.texts == [2, "result"]
        assert stored(store, session)[-1] == (schema.END_SEQUENCE, "response")


async def test_a_response_that_is_too_large_to_store_is_told_to_who_comes_back(
    session: Session, store: StreamStore
) -> None:
    async with workers(1) as [worker]:
        stream, client = owned(worker, session, request_id="a")
        await stream.emit(log(1))
        await finish(stream, result("a", text="x" * MAX_EVENT_BYTES))
        assert client.texts == [1, "result"]
        end = store.events.since(session.session_id)[-1]
        assert end.event_type == "error"
        assert f'"code":{INTERNAL_ERROR}' in end.data
        assert '"id":"a"' in end.data
        assert f"over the limit of {MAX_EVENT_BYTES}" in end.data


async def test_an_owner_whose_lease_lapsed_does_not_end_the_stream_again(session: Session, store: StreamStore) -> None:
    async with workers(1) as [worker]:
        stream, client = owned(worker, session)
        await stream.emit(log(1))
        resumed = Event(session.session_id, stream.stream_id, schema.END_SEQUENCE, "error", "{}", datetime.now(UTC))
        assert store.end(resumed, 1)
        await finish(stream)
        # The client here, if there is one, comes back and reads that end.
        assert client.texts == [1]
        assert client.is_closed
        assert store.events.since(session.session_id)[-1].data == "{}"
        assert leftovers(worker) == {}


# --- What is left behind --------------------------------------------------------------------------------------


async def test_a_request_that_failed_without_an_answer_ends_its_stream_in_an_error(
    session: Session, store: StreamStore
) -> None:
    async with workers(2) as [worker, there]:
        stream, client = owned(worker, session)
        await stream.emit(log(1))
        back = Peer()
        await there.resume(session, client.cursor, back.outbox)
        stream.close_response()
        assert client.texts == [1]
        assert client.is_closed
        await stream.emit(log(2))
        await until(lambda: back.has_ended)
        assert back.texts == ["error"]
        assert stored(store, session) == [
            (0, "priming"),
            (1, "notifications/message"),
            (schema.END_SEQUENCE, "error"),
        ]
        stream.close_response()
        await until(lambda: leftovers(worker) == {})


async def test_a_request_that_failed_does_not_become_a_stream_afterwards(session: Session, store: StreamStore) -> None:
    async with workers(1) as [worker]:
        stream, _ = owned(worker, session)
        stream.close_response()
        assert not await stream.open()
        assert store.lease(session.session_id, stream.stream_id) is None
        assert leftovers(worker) == {}


async def test_a_handler_cancelled_while_it_sends_leaves_the_stream_whole(session: Session, store: StreamStore) -> None:
    begun = asyncio.Event()

    def slow(*_: Any) -> Iterable[Pause]:
        begun.set()
        yield Pause(0.05)

    async with workers(1) as [worker]:
        stream, client = owned(worker, session)
        with before(StreamOperations, "open", slow), anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(stream.emit, log(1))
                tasks.start_soon(stream.emit, log(2))
                await begun.wait()
                scope.cancel()
        await finish(stream)
        assert client.texts == [1, 2, "result"]
        assert [sequence for sequence, _ in stored(store, session)] == [0, 1, 2, schema.END_SEQUENCE]
        assert leftovers(worker) == {}


async def test_a_stream_costs_one_request_to_begin_and_one_to_end(session: Session, wire: Wire) -> None:
    async with workers(1, poll=60) as [worker]:
        stream, _ = owned(worker, session)
        wire.clear()
        await stream.emit(log(1))
        assert wire.operations == ["BatchWriteItem"]
        await finish(stream)
        assert wire.operations == ["BatchWriteItem", "PutItem"]


async def test_messages_are_stored_while_every_thread_of_sync_tools_is_taken(session: Session) -> None:
    async with workers(1) as [worker]:
        limiter = anyio.to_thread.current_default_thread_limiter()
        taken = [object() for _ in range(int(limiter.total_tokens))]
        for borrower in taken:
            limiter.acquire_on_behalf_of_nowait(borrower)
        stream, client = owned(worker, session)
        async with asyncio.timeout(10):
            await stream.emit(log(1))
            await finish(stream)
        assert client.texts == [1, "result"]
        for borrower in taken:
            limiter.release_on_behalf_of(borrower)


@pytest.mark.parametrize(("request_id", "text"), [(1, "1"), ("1", '"1"'), ("ü", '"\\u00fc"')])
async def test_the_lease_names_the_request_and_its_worker(session: Session, request_id: int | str, text: str) -> None:
    worker = Worker()
    stream, _ = owned(worker, session, request_id=request_id)
    lease = stream.lease
    assert (lease.owner, lease.request_id) == (worker.worker_id, text)
