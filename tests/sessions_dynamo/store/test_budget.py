"""DynamoDB requests of each operation, counted on the wire; on each engine."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sessions_dynamo.reading.session_list import SessionList
from sessions_dynamo.store.calls import recent_calls
from sessions_dynamo.store.events import EventStore
from sessions_dynamo.store.session_items import Session
from sessions_dynamo.store.sessions import SessionStore
from tests.sessions_dynamo.store.test_events import stream_of
from tests.sessions_dynamo.support import Clock, Wire, state_of

Operation = Callable[[SessionStore, Session], object]


def _save(store: SessionStore, session: Session) -> None:
    session.state["a"] = session.state.get("a", 0)
    session.state["b"] = 1
    session.state["c"] = [1] * 100
    store.save(session)


def _save_large(store: SessionStore, session: Session) -> None:
    session.state["new"] = "x" * 5000
    store.save(session)


def _replace_large(store: SessionStore, session: Session) -> None:
    session.state["large"] = "y" * 5000
    store.save(session)


OPERATIONS: dict[str, tuple[Operation, dict[str, int]]] = {
    "create": (lambda store, _: store.create(state=state_of(a=1, b=2)), {"PutItem": 1}),
    "load": (lambda store, session: store.load(session.session_id), {"GetItem": 1}),
    "exists": (lambda store, session: store.exists(session.session_id), {"GetItem": 1}),
    "read state": (lambda _, session: (session.state["a"], "z" in session.state, len(session.state)), {}),
    "read a large value twice": (lambda _, session: session.state["large"] + session.state["large"], {"GetItem": 1}),
    "save nothing": (lambda store, session: store.save(session), {}),
    "save three keys": (_save, {"UpdateItem": 1}),
    "save a large value": (_save_large, {"PutItem": 1, "UpdateItem": 1}),
    "replace a large value": (_replace_large, {"PutItem": 1, "UpdateItem": 1, "BatchWriteItem": 1}),
    "incr": (lambda store, session: store.incr(session, "runs"), {"UpdateItem": 1}),
    "touch": (lambda store, session: store.touch(session), {}),
    "update": (lambda store, session: store.update(session, log_level="debug"), {"UpdateItem": 1}),
    "subscribe": (lambda store, session: store.subscribe(session, "file:///a"), {"UpdateItem": 1}),
    "terminate": (lambda store, session: store.terminate(session.session_id), {"UpdateItem": 1}),
    "delete": (lambda store, session: store.delete(session.session_id), {"DeleteItem": 1, "BatchWriteItem": 1}),
    "set global state": (lambda store, session: store.set_global_state(session, "eu-west-1", 1), {"PutItem": 1}),
    "get global state": (lambda store, session: store.get_global_state(session, "eu-west-1"), {"GetItem": 1}),
    "garbage": (lambda store, _: (store.peek("#bus"), store.exists(""), store.delete("a#b#c")), {}),
}


@pytest.mark.parametrize("name", list(OPERATIONS))
def test_an_operation_on_a_session_costs(session_store: SessionStore, wire: Wire, clock: Clock, name: str) -> None:
    operation, cost = OPERATIONS[name]
    session = session_store.create(state=state_of(a=1, large="x" * 5000))
    with wire.counting() as requests:
        operation(session_store, session)
    assert requests == cost


def test_activity_costs_one_request_a_minute(session_store: SessionStore, wire: Wire, clock: Clock) -> None:
    session = session_store.create()
    with wire.counting() as requests:
        for _ in range(60):
            clock.advance(seconds=5)
            session_store.touch(session)
    assert requests == {"UpdateItem": 5}


def test_a_minute_in_which_state_was_saved_costs_no_touch(
    session_store: SessionStore, wire: Wire, clock: Clock
) -> None:
    session = session_store.create()
    clock.advance(minutes=1)
    _save(session_store, session)
    with wire.counting() as requests:
        session_store.touch(session_store.load(session.session_id))
    assert requests == {"GetItem": 1}


def test_an_operation_on_events_costs(event_store: EventStore, wire: Wire) -> None:
    for operation, cost in (
        (lambda: event_store.append(stream_of(25)), {"BatchWriteItem": 1}),
        (lambda: event_store.store("abc", "response", "{}"), {"BatchWriteItem": 1}),
        (lambda: event_store.after("abc", stream_of(1)[0].event_id), {"Query": 1}),
        (lambda: event_store.since("abc"), {"Query": 1}),
        (lambda: event_store.recent("abc"), {"Query": 1}),
        (lambda: event_store.count("abc"), {"Query": 1}),
        (lambda: event_store.trim("abc"), {"Query": 1}),
        (lambda: event_store.drive(recent_calls(event_store.table, "abc")), {"Query": 1}),
        (lambda: event_store.delete_before("abc", stream_of(6)[5].event_id), {"Query": 1, "BatchWriteItem": 1}),
        (lambda: event_store.delete("abc"), {"Query": 1, "BatchWriteItem": 1}),
    ):
        with wire.counting() as requests:
            operation()
        assert requests == cost


def test_a_list_costs_a_query_a_shard_and_one_batch_at_any_size(
    session_store: SessionStore, session_pages: SessionList, wire: Wire
) -> None:
    for _ in range(60):
        session_store.create()
    with wire.counting() as requests:
        assert len(session_pages.page(limit=50).items) == 50
    assert requests == {"Query": 8, "BatchGetItem": 1}
    with wire.counting() as requests:
        assert session_pages.count() == 60
    assert requests == {"Query": 8}
