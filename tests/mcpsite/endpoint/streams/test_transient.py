"""The answer to one request of 2026-07-28: nothing of it is stored."""

from __future__ import annotations

import asyncio
import json

import pytest

from mcpsite.endpoint.streams.outbox import MAX_FRAMES, Answer
from mcpsite.endpoint.streams.transient import TransientStream
from mcpsite.endpoint.wire.answers import encode, reply_body
from tests.mcpsite.endpoint.streams.support import Peer, log, result

BODY = encode(reply_body(result(a=1)))


async def test_a_handler_that_sends_nothing_is_answered_with_json() -> None:
    client = Peer()
    stream = TransientStream(client.outbox)
    await stream.finish(result(a=1), BODY)
    client.read()
    assert client.answer == Answer(result(a=1), BODY)
    assert not await stream.open()


@pytest.mark.parametrize("opened", [True, False])
async def test_a_message_makes_it_a_stream_without_ids(opened: bool) -> None:
    client = Peer()
    stream = TransientStream(client.outbox)
    if opened:
        assert await stream.open()
        assert await stream.open()
    await stream.emit(encode(log(1)))
    await stream.finish(result(a=1), BODY)
    assert client.texts == [1, "result"]
    assert {one.event_id for one in client.received} == {None}
    assert client.is_closed


async def test_messages_after_the_answer_are_dropped() -> None:
    client = Peer()
    stream = TransientStream(client.outbox)
    await stream.emit(encode(log(1)))
    await stream.finish(result(), BODY)
    await stream.emit(encode(log("late")))
    assert client.texts == [1, "result"]


async def test_a_client_that_does_not_read_is_cut_off() -> None:
    client = Peer()
    stream = TransientStream(client.outbox)
    for number in range(MAX_FRAMES + 10):
        await stream.emit(encode(log(number)))
    await stream.finish(result(), BODY)
    assert client.texts == list(range(MAX_FRAMES))
    assert client.has_ended


async def test_a_handler_keeps_the_pace_of_a_client_that_reads() -> None:
    client = Peer()
    stream = TransientStream(client.outbox)

    async def read() -> None:
        while not client.is_closed:
            client.read()
            await asyncio.sleep(0)

    reading = asyncio.create_task(read())
    for number in range(MAX_FRAMES + 10):
        await stream.emit(encode(log(number)))
    await stream.finish(result(), BODY)
    async with asyncio.timeout(30):
        await reading
    assert client.texts == [*range(MAX_FRAMES + 10), "result"]


async def test_a_response_that_was_given_up_becomes_no_stream() -> None:
    client = Peer()
    stream = TransientStream(client.outbox)
    client.outbox.close()
    assert not await stream.open()


async def test_a_message_is_written_as_it_is() -> None:
    client = Peer()
    await TransientStream(client.outbox).emit(encode(log("\u2028\n")))
    assert json.loads(client.read()[0].data or "")["params"]["data"] == "\u2028\n"
