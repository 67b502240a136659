"""The hand-off from the event loop to the thread that writes: order, an end, and clients that do not read."""

from __future__ import annotations

import threading
import time
from itertools import islice

import pytest

from mcpsite.endpoint.streams import outbox as outboxes
from mcpsite.endpoint.streams.outbox import MAX_FRAMES, Answer, Begin, Failure, Outbox
from mcpsite.endpoint.wire import sse
from tests.mcpsite.endpoint.streams.support import result

SECOND = b": begun\n\n"


def test_frames_leave_in_order_and_the_last_one_ends_the_response() -> None:
    outbox = Outbox()
    for number in range(3):
        assert outbox.put(b"%d" % number)
    outbox.close(b"last")
    assert not outbox.put(b"late")
    outbox.close(b"later")
    assert list(outbox.frames(60, SECOND)) == [SECOND, b"0", b"1", b"2", b"last"]


def test_frames_from_many_threads_are_each_sent_once() -> None:
    outbox = Outbox()
    threads = [
        threading.Thread(target=lambda name=name: [outbox.put(f"{name}.{number}".encode()) for number in range(100)])
        for name in "abcd"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    outbox.close()
    _, *frames = outbox.frames(60, SECOND)
    for name in "abcd":
        assert [frame for frame in frames if frame.startswith(name.encode())] == [
            f"{name}.{number}".encode() for number in range(100)
        ]


def test_a_silent_stream_is_kept_alive() -> None:
    outbox = Outbox()
    frames = outbox.frames(0.01, SECOND)
    assert list(islice(frames, 3)) == [SECOND, sse.KEEP_ALIVE, sse.KEEP_ALIVE]
    outbox.put(b"1")
    outbox.close()
    assert list(frames) == [b"1"]


def test_a_stream_ends_in_time_with_a_farewell() -> None:
    outbox = Outbox()
    outbox.put(b"1")
    began = time.monotonic()
    assert list(outbox.frames(60, SECOND, seconds=0.05, farewell=b"bye")) == [SECOND, b"1", b"bye"]
    assert 0.05 <= time.monotonic() - began < 5
    assert not outbox.put(b"late")


def test_what_was_put_by_then_is_sent_also_when_there_is_no_time_at_all() -> None:
    outbox = Outbox()
    for number in range(3):
        outbox.put(b"%d" % number)
    assert list(outbox.frames(60, SECOND, seconds=0, farewell=b"bye")) == [SECOND, b"0", b"1", b"2", b"bye"]


def test_a_stream_that_has_its_end_needs_no_farewell() -> None:
    outbox = Outbox()
    outbox.close(b"end")
    assert list(outbox.frames(60, SECOND, seconds=0, farewell=b"bye")) == [SECOND, b"end"]


def test_a_client_that_does_not_read_is_cut_off_and_what_it_was_given_stands() -> None:
    outbox = Outbox()
    assert all(outbox.put(b"%d" % number) for number in range(MAX_FRAMES))
    assert not outbox.put(b"one too many")
    assert outbox.closed
    assert list(outbox.frames(60, SECOND)) == [SECOND, *(b"%d" % number for number in range(MAX_FRAMES))]


def test_a_client_is_cut_off_for_many_bytes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outboxes, "MAX_BYTES", 100)
    outbox = Outbox()
    # One frame may be of any size, or a client could never get it.
    assert outbox.put(b"x" * 1000)
    assert not outbox.put(b"y")


def test_a_client_that_reads_may_get_any_number_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outboxes, "MAX_BYTES", 100)
    outbox = Outbox()
    assert outbox.put(b"first" * 100)
    assert outbox.first(0) == b"first" * 100
    frames = outbox.frames(60, SECOND)
    next(frames)
    for _ in range(MAX_FRAMES + 1):
        assert outbox.put(b"x" * 60)
        assert next(frames) == b"x" * 60


@pytest.mark.parametrize("frames_read", [1, 2])
def test_who_made_it_hears_that_the_response_ended(frames_read: int) -> None:
    gone: list[str] = []
    outbox = Outbox(lambda: gone.append("gone"))
    outbox.put(b"1")
    frames = outbox.frames(60, SECOND)
    list(islice(frames, frames_read))
    assert not gone
    frames.close()  # type: ignore[attr-defined]
    assert gone == ["gone"]
    assert not outbox.put(b"2")


def test_the_first_item_may_be_the_whole_answer() -> None:
    outbox = Outbox()
    answer = Answer(result(), "{}")
    outbox.put(answer)
    assert outbox.first(0) == answer


def test_the_first_item_may_be_a_failure() -> None:
    outbox = Outbox()
    error = RuntimeError()
    outbox.put(Failure(error))
    assert outbox.first(0) == Failure(error)


def test_a_silent_handlers_answer_begins_as_a_stream() -> None:
    assert Outbox().first(0.01) == Begin()
    asked = Outbox()
    asked.begin()
    assert asked.first(60) == Begin()


def test_how_long_a_stream_was_silent_is_known_by_its_newest_frame() -> None:
    outbox = Outbox()
    before = outbox.last_frame
    time.sleep(0.002)
    assert outbox.last_frame == before
    outbox.put(b"1")
    assert outbox.last_frame > before
