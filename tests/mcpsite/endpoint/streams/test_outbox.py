"""What a response has yet to send: order, an end, and clients that do not read."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest

from mcpsite.endpoint.streams import outbox as outboxes
from mcpsite.endpoint.streams.outbox import MAX_FRAMES, Answer, Begin, Failure, Outbox
from mcpsite.endpoint.wire import sse
from tests.mcpsite.endpoint.streams.support import result

SECOND = b": begun\n"


async def some(frames: AsyncIterator[bytes], count: int) -> list[bytes]:
    return [await anext(frames) for _ in range(count)]


async def rest(frames: AsyncIterator[bytes]) -> list[bytes]:
    return [frame async for frame in frames]


async def test_frames_leave_in_order_and_the_last_one_ends_the_response() -> None:
    outbox = Outbox()
    for number in range(3):
        assert outbox.put(b"%d" % number)
    outbox.close(b"last")
    assert not outbox.put(b"late")
    outbox.close(b"later")
    assert await rest(outbox.frames(60, SECOND)) == [SECOND, b"0", b"1", b"2", b"last"]


async def test_a_silent_stream_is_kept_alive() -> None:
    outbox = Outbox()
    frames = outbox.frames(0.01, SECOND)
    assert await some(frames, 3) == [SECOND, sse.KEEP_ALIVE, sse.KEEP_ALIVE]
    outbox.put(b"1")
    outbox.close()
    assert await rest(frames) == [b"1"]


async def test_a_stream_ends_in_time_with_a_farewell() -> None:
    outbox = Outbox(farewell=b"bye")
    outbox.put(b"1")
    began = time.monotonic()
    assert await rest(outbox.frames(60, SECOND, seconds=0.05)) == [SECOND, b"1", b"bye"]
    assert 0.05 <= time.monotonic() - began < 5
    assert not outbox.put(b"late")


async def test_what_was_put_by_then_is_sent_also_when_there_is_no_time_at_all() -> None:
    outbox = Outbox(farewell=b"bye")
    for number in range(3):
        outbox.put(b"%d" % number)
    assert await rest(outbox.frames(60, SECOND, seconds=0)) == [SECOND, b"0", b"1", b"2", b"bye"]


async def test_who_has_no_farewell_is_sent_away_without() -> None:
    outbox = Outbox()
    outbox.put(b"1")
    outbox.send_away()
    assert await rest(outbox.frames(60, SECOND)) == [SECOND, b"1"]


async def test_a_stream_that_has_its_end_needs_no_farewell() -> None:
    outbox = Outbox()
    outbox.close(b"end")
    assert await rest(outbox.frames(60, SECOND, seconds=0)) == [SECOND, b"end"]


async def test_a_client_that_does_not_read_is_cut_off_and_what_it_was_given_stands() -> None:
    outbox = Outbox()
    assert all(outbox.put(b"%d" % number) for number in range(MAX_FRAMES))
    assert not outbox.put(b"one too many")
    assert outbox.closed
    assert await rest(outbox.frames(60, SECOND)) == [SECOND, *(b"%d" % number for number in range(MAX_FRAMES))]


async def test_a_client_is_cut_off_for_many_bytes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outboxes, "MAX_BYTES", 100)
    outbox = Outbox()
    # One frame may be of any size, or a client could never get it.
    assert outbox.put(b"x" * 1000)
    assert not outbox.put(b"y")


async def test_a_client_that_reads_may_get_any_number_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outboxes, "MAX_BYTES", 100)
    outbox = Outbox()
    assert outbox.put(b"first" * 100)
    assert await outbox.first(0) == b"first" * 100
    frames = outbox.frames(60, SECOND)
    await anext(frames)
    for _ in range(MAX_FRAMES + 1):
        assert outbox.put(b"x" * 60)
        assert await anext(frames) == b"x" * 60


@pytest.mark.parametrize("frames_read", [1, 2])
async def test_who_made_it_hears_that_the_response_ended(frames_read: int) -> None:
    gone: list[str] = []
    outbox = Outbox(lambda: gone.append("gone"))
    outbox.put(b"1")
    frames = outbox.frames(60, SECOND)
    await some(frames, frames_read)
    assert not gone
    await frames.aclose()
    assert gone == ["gone"]
    assert not outbox.put(b"2")


async def test_the_first_item_may_be_the_whole_answer() -> None:
    outbox = Outbox()
    answer = Answer(result(), "{}")
    outbox.put(answer)
    assert await outbox.first(0) == answer


async def test_the_first_item_may_be_a_failure() -> None:
    outbox = Outbox()
    error = RuntimeError()
    outbox.put(Failure(error))
    assert await outbox.first(0) == Failure(error)


async def test_a_silent_handlers_answer_begins_as_a_stream() -> None:
    assert await Outbox().first(0.01) == Begin()
    asked = Outbox()
    asked.begin()
    assert await asked.first(60) == Begin()


async def test_how_long_a_stream_was_silent_is_known_by_its_newest_frame() -> None:
    outbox = Outbox()
    before = outbox.last_frame
    time.sleep(0.002)
    assert outbox.last_frame == before
    outbox.put(b"1")
    assert outbox.last_frame > before
