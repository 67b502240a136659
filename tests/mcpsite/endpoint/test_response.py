"""An outbox as an HTTP response: one JSON body, or an event stream that the client's client can read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from django.http.response import HttpResponseBase
from mcp_types import INVALID_PARAMS, METHOD_NOT_FOUND, ErrorData, JSONRPCError
from pytest_django import Settings

from mcpsite.door.event_stream import EventStream
from mcpsite.endpoint.loop import ServingLoop, close_loop, current_loop
from mcpsite.endpoint.response import respond, stream
from mcpsite.endpoint.streams.outbox import Answer, Failure, Outbox
from mcpsite.endpoint.wire import sse
from sessions_dynamo.errors import StorageUnavailable
from sessions_dynamo.workers.streams import StreamStore
from tests.mcpsite.endpoint.streams.support import result


@asynccontextmanager
async def serving() -> AsyncIterator[ServingLoop]:
    running = await current_loop()
    try:
        yield running
        async with asyncio.timeout(5):
            while running.worker.clients:
                await asyncio.sleep(0.01)
    finally:
        await close_loop()


FAREWELL = sse.farewell("2025-11-25", 123)


class Opening:
    """What makes an answer a stream, or says that it was given."""

    def __init__(self, *outcomes: bool | Exception) -> None:
        self.outcomes = list(outcomes)

    async def __call__(self) -> bool:
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def outbox_of(loop: ServingLoop) -> Outbox:
    outbox = Outbox(lambda: loop.worker.clients.discard(outbox), FAREWELL)
    return outbox


async def answer(
    loop: ServingLoop, outbox: Outbox, *outcomes: bool | Exception, statuses: bool = False
) -> HttpResponseBase:
    return await respond(loop, outbox, Opening(*outcomes), may_return=True, statuses=statuses)


async def body(response: HttpResponseBase) -> list[bytes]:
    assert isinstance(response, EventStream)
    return [frame async for frame in response.frames]


def later(seconds: float, call: Any) -> None:
    asyncio.get_running_loop().call_later(seconds, call)


async def test_an_answer_is_one_json_body(store: StreamStore) -> None:
    async with serving() as loop:
        outbox = outbox_of(loop)
        outbox.put(Answer(result(), '{"a":1}'))
        response: Any = await answer(loop, outbox)
        assert (response.status_code, response.content) == (200, b'{"a":1}')
        assert response.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("code", "statuses", "status"),
    [(METHOD_NOT_FOUND, True, 404), (INVALID_PARAMS, True, 400), (-32050, True, 200), (METHOD_NOT_FOUND, False, 200)],
)
async def test_errors_have_the_statuses_of_their_revision(
    store: StreamStore, code: int, statuses: bool, status: int
) -> None:
    async with serving() as loop:
        outbox = outbox_of(loop)
        error = JSONRPCError(jsonrpc="2.0", id=1, error=ErrorData(code=code, message="no"))
        outbox.put(Answer(error, "{}"))
        assert (await answer(loop, outbox, statuses=statuses)).status_code == status


async def test_a_message_makes_it_an_event_stream(store: StreamStore) -> None:
    async with serving() as loop:
        outbox = outbox_of(loop)
        outbox.put(sse.message("{}", "1"))
        outbox.close(sse.message("[]", "2"))
        response = await answer(loop, outbox)
        assert response.status_code == 200
        assert response.headers["Content-Type"] == "text/event-stream"
        assert response.headers["X-Accel-Buffering"] == "no"
        assert "no-cache" in response.headers["Cache-Control"]
        assert not response.has_header("Content-Length")
        assert await body(response) == [sse.message("{}", "1"), sse.message("[]", "2")]


async def test_a_handler_that_is_silent_for_long_is_a_stream_too(store: StreamStore, settings: Settings) -> None:
    async with serving() as loop:
        settings.STREAM_KEEPALIVE_SECONDS = 0.05
        outbox = outbox_of(loop)
        later(0.12, lambda: outbox.close(b"end"))
        first, *others, last = await body(await answer(loop, outbox, True))
        assert {first, *others} == {sse.KEEP_ALIVE}
        assert last == b"end"


async def test_an_answer_given_at_that_very_moment_is_json(store: StreamStore, settings: Settings) -> None:
    async with serving() as loop:
        settings.STREAM_KEEPALIVE_SECONDS = 0.05
        outbox = outbox_of(loop)
        later(0.12, lambda: outbox.put(Answer(result(), "{}")))
        # Answered: what would have opened the stream says so.
        response: Any = await answer(loop, outbox, False, False, False, False, False, False)
        assert response.content == b"{}"


async def test_a_failure_is_raised_for_the_view_to_answer(store: StreamStore) -> None:
    async with serving() as loop:
        outbox = outbox_of(loop)
        outbox.put(Failure(StorageUnavailable("down")))
        with pytest.raises(StorageUnavailable, match="down"):
            await answer(loop, outbox)


async def test_a_stream_that_cannot_be_opened_is_raised_and_forgotten(store: StreamStore, settings: Settings) -> None:
    async with serving() as loop:
        settings.STREAM_KEEPALIVE_SECONDS = 0.01
        outbox = outbox_of(loop)
        with pytest.raises(StorageUnavailable):
            await answer(loop, outbox, StorageUnavailable("down"))
        assert outbox.closed


async def test_who_is_hung_up_on_before_its_answer_gets_a_stream_without_one(store: StreamStore) -> None:
    async with serving() as loop:
        outbox = outbox_of(loop)
        outbox.close()
        response = await answer(loop, outbox)
        assert response.status_code == 200
        assert response.headers["Content-Type"] == "text/event-stream"
        assert await body(response) == []


async def test_a_stream_closes_in_time_with_a_hint_to_come_back(store: StreamStore) -> None:
    async with serving() as loop:
        outbox = outbox_of(loop)
        outbox.put(b"1")
        response = stream(loop, outbox, may_return=True, first=sse.KEEP_ALIVE, seconds=0)
        assert await body(response) == [sse.KEEP_ALIVE, b"1", FAREWELL]


async def test_a_client_that_leaves_in_the_middle_is_forgotten(store: StreamStore) -> None:
    async with serving() as loop:
        outbox = outbox_of(loop)
        outbox.put(b"1")
        response: Any = await answer(loop, outbox)
        assert len(loop.worker.clients) == 1
        assert await anext(response.frames) == b"1"
        await response.frames.aclose()
        assert outbox.closed


async def test_a_response_that_is_closed_before_it_began_is_forgotten(store: StreamStore) -> None:
    async with serving() as loop:
        outbox = outbox_of(loop)
        outbox.put(b"1")
        response = await answer(loop, outbox)
        response.close()
        await asyncio.sleep(0)
        assert outbox.closed
