"""Served calls: recorded in batches behind the responses' back; on each engine."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sessions_dynamo.errors import StorageUnavailable
from sessions_dynamo.operations import Operation
from sessions_dynamo.store import batches, call_recorder
from sessions_dynamo.store.call_recorder import CallRecorder, default_recorder
from sessions_dynamo.store.calls import MAX_BODY_BYTES, Call, body_for_record, recent_calls
from sessions_dynamo.store.events import EventStore
from tests.sessions_dynamo.support import Wire, raw_items
from tests.sessions_dynamo.wire import answering, error

AT = datetime(2026, 11, 22, 12, 0, 0, 123_000, UTC)
CALL = Call("abc", AT, "tools/call", "ok", 12.345, tool="store_app_state", request_bytes=120, response_bytes=300)


def later(seconds: int, **more: Any) -> Call:
    """A call so many seconds later."""
    return replace(CALL, at=AT + timedelta(seconds=seconds), **more)


def recent(store: EventStore, session_id: str, limit: int = 50) -> list[Call]:
    return store.drive(recent_calls(store.table, session_id, limit))


def wait_until(condition: Callable[[], object], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def recorder(event_store: EventStore) -> Iterator[CallRecorder]:
    recorder = CallRecorder(event_store)
    yield recorder
    recorder.close()


def test_a_call_is_read_back_equal(recorder: CallRecorder, event_store: EventStore) -> None:
    bare = Call("abc", AT + timedelta(seconds=1), "ping", "-32601", 0.5)
    bodies = later(2, request_body='{"é":1}', response_body="{}")
    for call in (CALL, bare, bodies, replace(CALL, session_id="other")):
        recorder.record(call)
    recorder.close()
    assert recent(event_store, "abc") == [bodies, bare, CALL]
    assert recent(event_store, "abc", limit=2) == [bodies, bare]
    assert recent(event_store, "unknown") == []


def test_a_limited_list_of_calls_is_one_request(recorder: CallRecorder, event_store: EventStore, wire: Wire) -> None:
    for number in range(5):
        recorder.record(later(number))
    recorder.close()
    with wire.counting() as requests:
        assert recent(event_store, "abc", limit=2) == [later(4), later(3)]
    assert requests == {"Query": 1}


def test_calls_are_written_25_to_a_request_and_the_rest_at_the_end(
    recorder: CallRecorder, event_store: EventStore, wire: Wire
) -> None:
    for number in range(60):
        recorder.record(later(number))
    recorder.close()
    assert len(recent(event_store, "abc", limit=100)) == 60
    assert [len(request["RequestItems"][event_store.table]) for request in wire.of("BatchWriteItem")] == [25, 25, 10]


def test_a_call_waits_no_longer_than_the_linger(
    recorder: CallRecorder, event_store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call_recorder, "LINGER_SECONDS", 0.05)
    recorder.record(CALL)
    wait_until(lambda: recent(event_store, "abc"))


def test_calls_expire_with_the_events_and_are_none(recorder: CallRecorder, event_store: EventStore) -> None:
    recorder.record(CALL)
    before = int(time.time())
    recorder.close()
    (item,) = raw_items(event_store.dynamodb, event_store.table)
    assert before <= int(item["ttl"]["N"]) - 6 * 3600 <= time.time()
    assert event_store.since("abc") == []
    assert event_store.count("abc") == 0


def test_a_text_too_large_for_an_item_costs_no_other_call(recorder: CallRecorder, event_store: EventStore) -> None:
    huge = "é" * 400_000
    recorder.record(later(1, tool=huge, request_body=huge, response_body=huge))
    recorder.record(later(2, method=huge))
    recorder.record(CALL)
    recorder.close()
    method, bodies, call = recent(event_store, "abc")
    assert call == CALL
    for text in (method.method, bodies.tool, bodies.request_body, bodies.response_body):
        assert text == "é" * (MAX_BODY_BYTES // 2)


def test_a_dynamodb_that_fails_is_logged_and_the_next_calls_are_recorded(
    recorder: CallRecorder,
    event_store: EventStore,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(call_recorder, "LINGER_SECONDS", 0.01)
    throttled = error("ThrottlingException", "slow down")
    with caplog.at_level(logging.WARNING):
        with answering(event_store.dynamodb, "BatchWriteItem", throttled):
            recorder.record(CALL)
            wait_until(lambda: "1 served calls were not recorded" in caplog.text)
        recorder.record(later(1))
        recorder.close()
    assert recent(event_store, "abc") == [later(1)]


def test_a_call_that_cannot_be_encoded_stops_no_other(
    recorder: CallRecorder, event_store: EventStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(call_recorder, "LINGER_SECONDS", 0.01)
    with caplog.at_level(logging.WARNING):
        recorder.record(replace(CALL, session_id="\ud800"))
        wait_until(lambda: "1 served calls were not recorded" in caplog.text)
    recorder.record(CALL)
    recorder.close()
    assert recent(event_store, "abc") == [CALL]


class Blocked:
    """A ``batches.put`` that waits, as for a DynamoDB that does not answer."""

    def __init__(self) -> None:
        self.entered, self.released = threading.Event(), threading.Event()
        self.written = 0

    def __call__(self, table: str, items: list[object]) -> Operation[int]:
        yield from ()
        self.entered.set()
        assert self.released.wait(10)
        self.written += len(items)
        return len(items)


@pytest.fixture
def blocked(monkeypatch: pytest.MonkeyPatch) -> Iterator[Blocked]:
    put = Blocked()
    monkeypatch.setattr(batches, "put", put)
    monkeypatch.setattr(call_recorder, "LINGER_SECONDS", 0.0)
    yield put
    put.released.set()


def unconnected_store() -> EventStore:
    """A store for tests that reach no DynamoDB."""
    return EventStore.from_settings()


def test_calls_over_the_limit_are_dropped_and_the_drop_is_logged(
    blocked: Blocked, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(call_recorder, "MAX_WAITING", 5)
    recorder = CallRecorder(unconnected_store())
    recorder.record(CALL)
    assert blocked.entered.wait(10)
    started = time.monotonic()
    for _ in range(12):
        recorder.record(CALL)
    assert time.monotonic() - started < 1, "it never blocks"
    with caplog.at_level(logging.WARNING):
        blocked.released.set()
        recorder.close()
    assert blocked.written == 6
    assert "7 served calls were not recorded: too many waited" in caplog.text


def test_closing_takes_no_longer_than_its_timeout(blocked: Blocked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_recorder, "MAX_WAITING", 2)
    recorder = CallRecorder(unconnected_store())
    recorder.record(CALL)
    assert blocked.entered.wait(10)
    for _ in range(3):
        recorder.record(CALL)
    started = time.monotonic()
    recorder.close(timeout=0.1)
    assert time.monotonic() - started < 2
    blocked.released.set()
    wait_until(lambda: blocked.written == 3)


def test_closing_a_recorder_that_recorded_nothing_starts_nothing() -> None:
    threads = threading.active_count()
    recorder = CallRecorder(unconnected_store())
    recorder.close()
    assert threading.active_count() == threads


def test_a_closed_recorder_begins_again(recorder: CallRecorder, event_store: EventStore) -> None:
    for number in range(2):
        recorder.record(later(number))
        recorder.close()
    assert recent(event_store, "abc") == [later(1), CALL]


def test_the_process_has_one_recorder() -> None:
    assert default_recorder() is default_recorder()


def test_a_recorder_says_what_storage_said(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def unavailable(*_: object) -> Operation[int]:
        yield from ()
        raise StorageUnavailable("Cannot reach the table")

    monkeypatch.setattr(batches, "put", unavailable)
    recorder = CallRecorder(unconnected_store())
    with caplog.at_level(logging.WARNING):
        recorder.record(CALL)
        recorder.close()
    assert "1 served calls were not recorded: Cannot reach the table" in caplog.text


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"a": [1, None]}, '{"a":[1,null]}'),
        ("é" * MAX_BODY_BYTES, '"' + "é" * (MAX_BODY_BYTES // 2 - 1)),
        ("\ud800", None),
        (float("nan"), None),
    ],
    ids=["json", "cut between characters", "lone surrogate", "nan"],
)
def test_a_body_for_the_record_is_json_text_within_the_limit(body: Any, text: str | None) -> None:
    assert body_for_record(body) == text
