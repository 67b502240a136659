"""An outbox as an HTTP response: one JSON body, or an event stream that the client's client can read."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connections
from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.test import RequestFactory
from mcp_types import INVALID_PARAMS, METHOD_NOT_FOUND, ErrorData, JSONRPCError
from pytest_django import Settings

from mcpsite.endpoint.loop import LoopThread, current_loop
from mcpsite.endpoint.response import respond, stream
from mcpsite.endpoint.streams.outbox import Answer, Failure, Outbox
from mcpsite.endpoint.wire import sse
from sessions_dynamo.errors import StorageUnavailable
from sessions_dynamo.workers.streams import StreamStore
from tests.mcpsite.endpoint.streams.support import result

# A stream gives the database connections of its thread back.
pytestmark = pytest.mark.django_db


@pytest.fixture
def loop(store: StreamStore) -> Iterator[LoopThread]:
    running = current_loop()
    yield running
    ends = time.monotonic() + 5
    while running.worker.clients and time.monotonic() < ends:
        time.sleep(0.01)
    assert len(running.worker.clients) == 0, "a response is still watched"


class Opening:
    """What makes an answer a stream, or says that it was given."""

    def __init__(self, *outcomes: bool | Exception) -> None:
        self.outcomes = list(outcomes)

    async def __call__(self) -> bool:
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def outbox_of(loop: LoopThread) -> Outbox:
    outbox = Outbox(lambda: loop.worker.clients.discard(outbox))
    return outbox


def answer(loop: LoopThread, outbox: Outbox, *outcomes: bool | Exception, statuses: bool = False) -> HttpResponseBase:
    request = RequestFactory().post("/mcp")
    return respond(loop, request, outbox, Opening(*outcomes), may_return=True, statuses=statuses)


def body(response: HttpResponseBase) -> list[bytes]:
    assert isinstance(response, StreamingHttpResponse)
    frames: Any = response.streaming_content
    content = list(frames)
    response.close()
    return content


def later(seconds: float, call: Any) -> None:
    threading.Timer(seconds, call).start()


def test_an_answer_is_one_json_body(loop: LoopThread) -> None:
    outbox = outbox_of(loop)
    outbox.put(Answer(result(), '{"a":1}'))
    response: Any = answer(loop, outbox)
    assert (response.status_code, response.content) == (200, b'{"a":1}')
    assert response.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("code", "statuses", "status"),
    [(METHOD_NOT_FOUND, True, 404), (INVALID_PARAMS, True, 400), (-32050, True, 200), (METHOD_NOT_FOUND, False, 200)],
)
def test_errors_have_the_statuses_of_their_revision(loop: LoopThread, code: int, statuses: bool, status: int) -> None:
    outbox = outbox_of(loop)
    error = JSONRPCError(jsonrpc="2.0", id=1, error=ErrorData(code=code, message="no"))
    outbox.put(Answer(error, "{}"))
    assert answer(loop, outbox, statuses=statuses).status_code == status


def test_a_message_makes_it_an_event_stream(loop: LoopThread) -> None:
    outbox = outbox_of(loop)
    outbox.put(sse.message("{}", "1"))
    outbox.close(sse.message("[]", "2"))
    response = answer(loop, outbox)
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "text/event-stream"
    assert response.headers["X-Accel-Buffering"] == "no"
    assert "no-cache" in response.headers["Cache-Control"]
    assert not response.has_header("Content-Length")
    assert body(response) == [sse.message("{}", "1"), sse.message("[]", "2")]


def test_a_handler_that_is_silent_for_long_is_a_stream_too(loop: LoopThread, settings: Settings) -> None:
    settings.STREAM_KEEPALIVE_SECONDS = 0.05
    outbox = outbox_of(loop)
    later(0.12, lambda: outbox.close(b"end"))
    first, *others, last = body(answer(loop, outbox, True))
    assert {first, *others} == {sse.KEEP_ALIVE}
    assert last == b"end"


def test_an_answer_given_at_that_very_moment_is_json(loop: LoopThread, settings: Settings) -> None:
    settings.STREAM_KEEPALIVE_SECONDS = 0.05
    outbox = outbox_of(loop)
    later(0.12, lambda: outbox.put(Answer(result(), "{}")))
    # Answered: what would have opened the stream says so.
    response: Any = answer(loop, outbox, False, False, False, False, False, False)
    assert response.content == b"{}"


def test_a_failure_is_raised_for_the_view_to_answer(loop: LoopThread) -> None:
    outbox = outbox_of(loop)
    outbox.put(Failure(StorageUnavailable("down")))
    with pytest.raises(StorageUnavailable, match="down"):
        answer(loop, outbox)


def test_a_stream_that_cannot_be_opened_is_raised_and_forgotten(loop: LoopThread, settings: Settings) -> None:
    settings.STREAM_KEEPALIVE_SECONDS = 0.01
    outbox = outbox_of(loop)
    with pytest.raises(StorageUnavailable):
        answer(loop, outbox, StorageUnavailable("down"))
    assert outbox.closed


def test_a_client_that_left_before_its_answer_is_answered_to_nobody(loop: LoopThread) -> None:
    outbox = outbox_of(loop)
    outbox.close()
    assert answer(loop, outbox).status_code == 202


def test_a_stream_closes_in_time_with_a_hint_to_come_back(loop: LoopThread, settings: Settings) -> None:
    settings.STREAM_RETRY_MS = 123
    outbox = outbox_of(loop)
    outbox.put(b"1")
    response = stream(loop, RequestFactory().get("/mcp"), outbox, may_return=True, first=sse.KEEP_ALIVE, seconds=0)
    assert body(response) == [sse.KEEP_ALIVE, b"1", sse.retry(123)]


@pytest.mark.django_db(transaction=True)
def test_a_stream_keeps_no_database_connection(loop: LoopThread, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[str] = []
    connection = connections["default"]
    connection.ensure_connection()
    # The tests' own database is in memory, and outlives what would close it.
    monkeypatch.setattr(connection, "close", lambda: closed.append("default"))
    response = stream(loop, RequestFactory().get("/mcp"), outbox_of(loop), may_return=True)
    assert closed == ["default"]
    response.close()


def test_a_client_that_leaves_in_the_middle_is_forgotten(loop: LoopThread) -> None:
    outbox = outbox_of(loop)
    outbox.put(b"1")
    response: Any = answer(loop, outbox)
    assert len(loop.worker.clients) == 1
    assert next(iter(response.streaming_content)) == b"1"
    response.close()
    assert outbox.closed


def test_a_response_that_is_closed_before_it_began_is_forgotten(loop: LoopThread) -> None:
    outbox = outbox_of(loop)
    outbox.put(b"1")
    response = answer(loop, outbox)
    response.close()
    assert outbox.closed
