"""The standalone stream: one holder, the newest, and no message lost, doubled or out of order on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from mcpsite.endpoint.streams.standalone import stream_id_of
from mcpsite.endpoint.streams.worker import Worker
from mcpsite.endpoint.wire.answers import encode
from sessions_dynamo import schema
from sessions_dynamo.errors import EventTooLarge, StorageError
from sessions_dynamo.operations import Operation, Pause
from sessions_dynamo.store.event_items import PART_BYTES
from sessions_dynamo.store.session_items import Session
from sessions_dynamo.store.sessions import default_store
from sessions_dynamo.workers.standalone_operations import MAX_DELIVERY, StandaloneOperations
from sessions_dynamo.workers.streams import StreamStore
from tests.mcpsite.conftest import Wire
from tests.mcpsite.endpoint.streams.support import OLDER, RETRY_MS, Peer, leftovers, log, new_session, until, workers
from tests.mcpsite.faults import before, failing

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


async def get(worker: Worker, session: Session, cursor: str | None = None) -> Peer:
    """A client's GET, with its ``Last-Event-ID``."""
    client = Peer()
    if cursor is None:
        await worker.hold(session, client.outbox)
    else:
        await worker.resume(session, cursor, client.outbox)
    return client


async def send(worker: Worker, session: Session, *data: object) -> None:
    for one in data:
        await worker.send_standalone(session, "notifications/message", encode(log(one)))


def sequences(client: Peer) -> list[int]:
    """The sequences of a client's messages; a stream's first is 1."""
    client.read()
    positions = [schema.parse_event_id(one.event_id) for one in client.received if one.event_id and one.data]
    return [position[1] for position in positions if position]


# --- On one worker --------------------------------------------------------------------------------------------


async def test_messages_are_sent_as_they_come(session: Session, store: StreamStore) -> None:
    async with workers(1) as [worker]:
        client = await get(worker, session)
        await send(worker, session, 0, 1)
        assert client.texts == [0, 1]
        assert sequences(client) == [1, 2]
        assert [event.data for event in store.events.since(session.session_id)] == [
            one.data for one in client.received if one.data
        ]


async def test_what_came_before_the_first_stream_is_not_lost(session: Session) -> None:
    async with workers(1) as [worker]:
        await send(worker, session, *range(5))
        client = await get(worker, session)
        assert client.texts == [0, 1, 2, 3, 4]
        await send(worker, session, 5)
        assert client.texts == [0, 1, 2, 3, 4, 5]


async def test_a_client_that_comes_back_gets_what_it_missed(session: Session) -> None:
    async with workers(1) as [worker]:
        client = await get(worker, session)
        await send(worker, session, 0, 1)
        _, first, _ = client.read()
        client.leave()
        await send(worker, session, 2)
        back = await get(worker, session, first.event_id)
        assert back.texts == [1, 2]
        assert sequences(back) == [2, 3]


async def test_a_client_that_left_takes_no_message_with_it(session: Session) -> None:
    async with workers(1) as [worker]:
        client = await get(worker, session)
        client.leave()
        await send(worker, session, 0)
        back = await get(worker, session)
        assert back.texts == [0]


async def test_a_message_that_the_client_left_during_comes_once(session: Session) -> None:
    async with workers(1) as [worker]:
        client = await get(worker, session)
        await send(worker, session, 0)
        cursor = client.cursor
        with before(StandaloneOperations, "deliver", lambda *_, **__: client.leave()):
            await send(worker, session, 1)
        back = await get(worker, session, cursor)
        await asyncio.sleep(0.1)
        assert back.texts == [1]


async def test_messages_sent_at_once_keep_sequences_without_a_gap(session: Session) -> None:
    async with workers(1) as [worker]:
        client = await get(worker, session)
        await asyncio.gather(*(send(worker, session, number) for number in range(20)))
        assert sorted(client.texts) == list(range(20))
        assert sequences(client) == list(range(1, 21))


async def test_a_sender_that_is_cancelled_takes_nothing_from_the_stream(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its message is stored already: were it not sent, the next one would have its place, and end the stream."""
    stored, deliver = asyncio.Event(), StandaloneOperations.deliver

    def slow(*args: Any, **named: Any) -> Operation[bool]:
        is_delivered = yield from deliver(*args, **named)
        stored.set()
        yield Pause(0.1)
        return is_delivered

    async with workers(1) as [worker]:
        client = await get(worker, session)
        with monkeypatch.context() as patch:
            patch.setattr(StandaloneOperations, "deliver", slow)
            sending = asyncio.create_task(send(worker, session, 0))
            await stored.wait()
            sending.cancel()
            await asyncio.wait([sending])
        assert sending.cancelled()
        await send(worker, session, 1)
        assert client.texts == [0, 1]
        assert not client.has_ended


async def test_sessions_have_streams_of_their_own(session: Session) -> None:
    other = new_session()
    async with workers(1) as [worker]:
        client, stranger = await get(worker, session), await get(worker, other)
        await send(worker, session, "ours")
        await send(worker, other, "theirs")
        assert (client.texts, stranger.texts) == (["ours"], ["theirs"])


async def test_a_client_has_a_cursor_before_its_first_message(session: Session) -> None:
    async with workers(1) as [worker]:
        client = await get(worker, session)
        (priming,) = client.read()
        assert (priming.data, priming.retry) == ("", None)
        await send(worker, session, 0)
        client.leave()
        assert (await get(worker, session, priming.event_id)).texts == [0]
        await send(worker, session, 1)
        (priming, *_) = (await get(worker, session)).read()
        assert (await get(worker, session, priming.event_id)).texts == []


async def test_a_client_of_an_older_revision_gets_no_priming_event(dynamodb: DynamoDBClient) -> None:
    session = default_store().create(protocol_version=OLDER)
    async with workers(1) as [worker]:
        client = await get(worker, session)
        assert client.read() == []
        await send(worker, session, 0)
        assert sequences(client) == [1]


# --- Takeover -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", [0, 1], ids=["the same worker", "another worker"])
async def test_a_newer_get_takes_over(session: Session, where: int) -> None:
    async with workers(2) as both:
        older = await get(both[0], session)
        await send(both[0], session, 0)
        newer = await get(both[where], session)
        await send(both[0], session, 1)
        await send(both[1], session, 2)
        await until(lambda: len(newer.texts) == 2)
        # Those of one worker are in its order; the holder's own need not wait for another's.
        assert sorted(newer.texts) == [1, 2]
        await until(lambda: older.has_ended)
        assert older.texts == [0]
        await until(lambda: [len(worker._held._standalone) for worker in both] == ([1, 0] if where == 0 else [0, 1]))


async def test_messages_of_other_workers_reach_the_holder(session: Session) -> None:
    async with workers(3) as [one, two, three]:
        client = await get(one, session)
        for number in range(10):
            await send((one, two, three)[number % 3], session, number)
        await until(lambda: len(client.texts) == 10)
        assert sorted(client.texts) == list(range(10))
        assert sequences(client) == list(range(1, 11))
        # What one worker sent is in its order.
        for worker in range(3):
            assert [n for n in client.texts if n % 3 == worker] == list(range(worker, 10, 3))


async def test_moving_about_while_messages_come_from_everywhere_loses_and_doubles_nothing(session: Session) -> None:
    async with workers(3) as all_of_them:
        clients = [await get(all_of_them[0], session)]

        async def talk(worker: Worker, name: str) -> None:
            for number in range(15):
                await send(worker, session, f"{name}{number}")

        async def move() -> None:
            for number in range(1, 10):
                await asyncio.sleep(0.02)
                clients[-1].read()
                clients[-1].leave()
                seen = [one.event_id for client in clients for one in client.received if one.event_id]
                clients.append(await get(all_of_them[number % 3], session, seen[-1] if seen else None))

        await asyncio.gather(*(talk(worker, name) for worker, name in zip(all_of_them, "abc", strict=True)), move())
        await until(lambda: sum(len(client.texts) for client in clients) >= 45)
        await asyncio.sleep(0.1)
        texts = [text for client in clients for text in client.texts]
        assert sorted(texts) == sorted(f"{name}{number}" for name in "abc" for number in range(15))
        assert [n for client in clients for n in sequences(client)] == list(range(1, 46))


async def test_a_message_sent_while_the_stream_is_taken_over_waits_for_it(session: Session) -> None:
    async with workers(1) as [worker]:
        sending: list[asyncio.Task[None]] = []

        def slow(*_: object) -> Iterator[Pause]:
            sending.append(asyncio.create_task(send(worker, session, 1)))
            yield Pause(0.05)

        await send(worker, session, 0)
        with before(StandaloneOperations, "claim", slow):
            client = await get(worker, session)
        await sending[0]
        assert not client.outbox.closed
        await until(lambda: len(client.texts) == 2)
        assert client.texts == [0, 1]


async def test_gets_that_come_at_once_leave_one_that_is_served(session: Session, store: StreamStore) -> None:
    async with workers(2) as both:
        for _ in range(5):
            clients = await asyncio.gather(*(get(both[number % 2], session) for number in range(6)))
            await asyncio.sleep(0.05)
            await send(both[0], session, "who?")
            holder, _ = store.standalone.waiting(session.session_id, stream_id_of(session))
            open_clients = [client for client in clients if not client.has_ended]
            # Each one that is open is served: nobody waits on a stream that it does not hold.
            for worker in both:
                for stream in worker._held._standalone.values():
                    await stream.drain()
            open_clients = [client for client in clients if not client.has_ended]
            assert len(open_clients) <= 1
            if open_clients:
                assert open_clients[0].texts[-1:] == ["who?"]
                assert holder is not None
            else:
                assert (await get(both[0], session)).texts == ["who?"]


# --- What goes wrong ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["UpdateItem", "Query"])
async def test_a_get_that_cannot_be_served_leaves_nothing_behind(session: Session, operation: str) -> None:
    async with workers(1) as [worker]:
        await send(worker, session, 0)
        with failing(operation), pytest.raises(StorageError):
            await get(worker, session)
        await until(lambda: leftovers(worker) == {})
        await send(worker, session, 1)
        assert (await get(worker, session)).texts == [0, 1]


async def test_an_inbox_larger_than_a_transaction_is_taken_in_several(session: Session) -> None:
    async with workers(1) as [worker]:
        texts = [f"{number}" * 300_000 for number in range(8)]
        await send(worker, session, *texts)
        assert (await get(worker, session)).texts == texts


async def test_an_inbox_longer_than_a_transaction_is_taken_in_several(session: Session, wire: Wire) -> None:
    async with workers(1, poll=60) as [worker]:
        await send(worker, session, *range(2 * MAX_DELIVERY + 1))
        wire.clear()
        client = await get(worker, session)
        assert client.texts == list(range(2 * MAX_DELIVERY + 1))
        assert wire.operations == ["UpdateItem", "Query", *["TransactWriteItems"] * 3]


async def test_a_message_that_no_item_can_hold_is_refused_whoever_holds_the_stream(session: Session) -> None:
    async with workers(1) as [worker]:
        with pytest.raises(EventTooLarge):
            await send(worker, session, "x" * PART_BYTES)
        client = await get(worker, session)
        with pytest.raises(EventTooLarge):
            await send(worker, session, "x" * PART_BYTES)
        await send(worker, session, "small")
        assert client.texts == ["small"]


async def test_a_message_that_could_not_be_stored_says_so_and_the_stream_goes_on(session: Session) -> None:
    async with workers(1) as [worker]:
        client = await get(worker, session)
        with failing("TransactWriteItems"), pytest.raises(StorageError):
            await send(worker, session, 0)
        await send(worker, session, 1)
        assert client.texts == [1]
        assert sequences(client) == [1]


# --- Its end --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", [0, 1], ids=["the same worker", "another worker"])
async def test_a_handler_may_send_its_client_away(session: Session, where: int) -> None:
    async with workers(2) as both:
        client = await get(both[0], session)
        await both[where].close_standalone(session)
        await until(lambda: client.has_ended)
        assert client.received[-1].retry == RETRY_MS
        await send(both[where], session, 0)
        back = await get(both[0], session)
        assert back.texts == [0]
        await asyncio.sleep(0.1)
        assert not back.has_ended


async def test_a_stream_whose_client_left_is_forgotten(session: Session) -> None:
    async with workers(1) as [worker]:
        client = await get(worker, session)
        assert leftovers(worker) == {"standalone": 1}
        client.leave()
        await until(lambda: leftovers(worker) == {})


@pytest.mark.parametrize("cursor", [0, schema.END_SEQUENCE - 1, schema.END_SEQUENCE])
async def test_a_cursor_that_no_event_had_opens_the_stream(session: Session, cursor: int) -> None:
    async with workers(1) as [worker]:
        client = await get(worker, session, schema.event_id(stream_id_of(session), cursor))
        await send(worker, session, 0)
        assert client.texts == [0]


async def test_a_message_costs_one_request_where_the_stream_is_held(session: Session, wire: Wire) -> None:
    async with workers(1, poll=60) as [worker]:
        await get(worker, session)
        wire.clear()
        await send(worker, session, 0)
        assert wire.operations == ["TransactWriteItems"]
