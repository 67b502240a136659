"""Served calls: their items, and how they are read; on each engine."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sessions_dynamo.store.calls import MAX_BODY_BYTES, Call, body_for_record, recent_calls
from sessions_dynamo.store.events import EventStore
from tests.sessions_dynamo.support import Wire, record_calls

AT = datetime(2026, 11, 22, 12, 0, 0, 123_000, UTC)
CALL = Call("abc", AT, "tools/call", "ok", 12.345, tool="store_app_state", request_bytes=120, response_bytes=300)


def later(seconds: int, **more: Any) -> Call:
    """A call so many seconds later."""
    return replace(CALL, at=AT + timedelta(seconds=seconds), **more)


def recent(store: EventStore, session_id: str, limit: int = 50) -> list[Call]:
    return store.drive(recent_calls(store.table, session_id, limit))


def test_a_call_is_read_back_equal(event_store: EventStore) -> None:
    bare = Call("abc", AT + timedelta(seconds=1), "ping", "-32601", 0.5)
    bodies = later(2, request_body='{"é":1}', response_body="{}")
    record_calls(event_store, CALL, bare, bodies, replace(CALL, session_id="other"))
    assert recent(event_store, "abc") == [bodies, bare, CALL]
    assert recent(event_store, "abc", limit=2) == [bodies, bare]
    assert recent(event_store, "unknown") == []


def test_a_limited_list_of_calls_is_one_request(event_store: EventStore, wire: Wire) -> None:
    record_calls(event_store, *(later(number) for number in range(5)))
    with wire.counting() as requests:
        assert recent(event_store, "abc", limit=2) == [later(4), later(3)]
    assert requests == {"Query": 1}


def test_calls_are_no_events(event_store: EventStore) -> None:
    record_calls(event_store, CALL)
    assert event_store.since("abc") == []
    assert event_store.count("abc") == 0


def test_a_text_too_large_for_an_item_costs_no_other_call(event_store: EventStore) -> None:
    huge = "é" * 400_000
    record_calls(
        event_store,
        later(1, tool=huge, request_body=huge, response_body=huge),
        later(2, method=huge),
        CALL,
    )
    method, bodies, call = recent(event_store, "abc")
    assert call == CALL
    for text in (method.method, bodies.tool, bodies.request_body, bodies.response_body):
        assert text == "é" * (MAX_BODY_BYTES // 2)


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
