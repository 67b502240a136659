"""What is asked about sessions, with no engine beneath: each request as it would leave, each answer by hand."""

from __future__ import annotations

import inspect
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import Mock

import pytest
from botocore.exceptions import EndpointConnectionError
from pytest_django import Settings

from sessions_dynamo import schema
from sessions_dynamo.errors import SessionExists, SessionNotFound, StateConflict, StorageError, StorageUnavailable
from sessions_dynamo.operations import Request
from sessions_dynamo.store import batches, session_items, session_operations
from sessions_dynamo.store.session_items import SPILL_BYTES, Session
from sessions_dynamo.store.session_operations import SessionOperations, default_operations
from sessions_dynamo.store.sessions import SessionStore
from sessions_dynamo.store.state import Spilled, State
from tests.sessions_dynamo.by_hand import ByHand, refused
from tests.sessions_dynamo.support import state_of

LARGE = Spilled("abc#large#00", 5000, 2_000_000_000)
UNREACHABLE = EndpointConnectionError(endpoint_url="http://nowhere")


@pytest.fixture
def sessions() -> SessionOperations:
    return SessionOperations("sessions", session_ttl=timedelta(hours=24), terminated_ttl=timedelta(hours=6))


def stored(session_id: str = "abc", **entries: Any) -> dict[str, Any]:
    """The item of a live session."""
    now = datetime.now(UTC)
    session = Session(session_id, now, session_items.floor(now), now + timedelta(hours=24))
    return session_items.encode(session, entries)


# --- What is asked --------------------------------------------------------------------------------------------


def test_a_session_is_loaded_by_one_consistent_read(sessions: SessionOperations) -> None:
    driver = ByHand({"Item": stored(a="1")})
    session = driver(sessions.load("abc"))
    assert session.state["a"] == 1
    assert driver.steps == [
        Request("GetItem", {"TableName": "sessions", "Key": {"session_id": {"S": "abc"}}, "ConsistentRead": True})
    ]


@pytest.mark.parametrize("session_id", ["", "no id", "x" * 129])
def test_what_cannot_be_an_id_is_not_asked_for(sessions: SessionOperations, session_id: str) -> None:
    driver = ByHand()
    assert driver(sessions.peek(session_id)) is None
    assert driver(sessions.exists(session_id)) is False
    assert driver(sessions.delete(session_id)) is False
    with pytest.raises(SessionNotFound):
        driver(sessions.load(session_id))
    with pytest.raises(SessionNotFound):
        driver(sessions.terminate(session_id))
    assert driver.steps == []


def test_a_session_is_created_where_there_is_none(sessions: SessionOperations) -> None:
    driver = ByHand({})
    session = driver(sessions.create("abc", principal="alice", state=state_of(a=1)))
    (put,) = driver.asked
    assert put["ConditionExpression"] == "attribute_not_exists(session_id) OR #ttl <= :now"
    assert put["Item"]["state"] == {"M": {"a": {"S": "1"}}}
    assert session.state.entries == {"a": "1"}
    with pytest.raises(SessionExists):
        ByHand(refused("PutItem"))(sessions.create("abc"))


def test_two_calls_that_begin_a_users_own_session_alike_are_two(
    sessions: SessionOperations, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Mock(now=Mock(return_value=datetime.now(UTC)))
    monkeypatch.setattr(session_operations, "datetime", clock)
    own = schema.user_session_id("ann")
    first = ByHand({})
    first(sessions.create(own, principal="ann", state=state_of(visits=1)))
    (put,) = first.asked
    with pytest.raises(SessionExists):
        ByHand(refused("PutItem", Item=put["Item"]))(sessions.create(own, principal="ann", state=state_of(visits=1)))
    sent_again = sessions.create(own, principal="ann", state=state_of(visits=1))
    request = next(sent_again)
    assert isinstance(request, Request)
    with pytest.raises(StopIteration):
        sent_again.throw(refused("PutItem", Item=request.parameters["Item"]))


def test_a_save_is_conditional_on_what_was_read_and_on_the_session_being_live(sessions: SessionOperations) -> None:
    session = ByHand({"Item": stored(a="1")})(sessions.load("abc"))
    session.state["a"] += 1
    driver = ByHand({})
    driver(sessions.save(session))
    (update,) = driver.asked
    assert update["ConditionExpression"].split(" AND ") == [
        "attribute_exists(session_id)",
        "attribute_not_exists(terminated_at)",
        "#ttl > :now",
        "attribute_not_exists(principal)",
        "#state.#k0 = :r0",
    ]
    assert update["ExpressionAttributeValues"][":r0"] == {"S": "1"}
    assert update["ReturnValuesOnConditionCheckFailure"] == "ALL_OLD"


def test_a_refused_save_is_told_from_the_item_in_the_refusal(sessions: SessionOperations) -> None:
    session = ByHand({"Item": stored(a="1")})(sessions.load("abc"))
    session.state["a"] += 1
    driver = ByHand(refused("UpdateItem", Item=stored(a="5")))
    with pytest.raises(StateConflict, match="'a'"):
        driver(sessions.save(session))
    assert driver.actions == ["UpdateItem"]
    with pytest.raises(SessionNotFound):
        ByHand(refused("UpdateItem"))(sessions.save(session))


def test_subscribers_that_are_left_unread_are_asked_for_after_a_pause(sessions: SessionOperations) -> None:
    unread = {"sessions": {"Keys": [{"session_id": {"S": "b"}}], "ConsistentRead": True}}
    items = [{"session_id": {"S": name}, "subscriptions": {"SS": ["file:///a"]}} for name in "ab"]
    driver = ByHand(
        {"Responses": {"sessions": items[:1]}, "UnprocessedKeys": unread}, {"Responses": {"sessions": items[1:]}}
    )
    assert driver(sessions.subscribers("file:///a", ["a", "b"])) == {"a", "b"}
    assert driver.actions == ["BatchGetItem", "Pause", "BatchGetItem"]
    assert driver.asked[0]["RequestItems"]["sessions"]["ConsistentRead"] is True
    assert driver.asked[1]["RequestItems"] == unread


# --- Large values ---------------------------------------------------------------------------------------------


def test_a_large_value_is_put_pointed_to_and_the_one_it_replaces_deleted(sessions: SessionOperations) -> None:
    session = ByHand({"Item": stored(large=LARGE)})(sessions.load("abc"))
    session.state["large"] = "x" * SPILL_BYTES
    driver = ByHand({}, {}, {})
    driver(sessions.save(session))
    assert driver.actions == ["PutItem", "UpdateItem", "BatchWriteItem"]
    put, update, delete = driver.asked
    pointer = update["ExpressionAttributeValues"][":k0"]["M"]["item_id"]
    assert put["Item"]["session_id"] == pointer
    assert delete["RequestItems"]["sessions"] == [{"DeleteRequest": {"Key": {"session_id": {"S": LARGE.item_id}}}}]


def test_large_values_of_a_refused_save_are_deleted_unless_the_session_points_to_them(
    sessions: SessionOperations,
) -> None:
    session = ByHand({"Item": stored()})(sessions.load("abc"))
    session.state["large"] = "x" * SPILL_BYTES
    driver = ByHand({}, refused("UpdateItem"), {"Item": stored()}, {})
    with pytest.raises(SessionNotFound):
        driver(sessions.save(session))
    assert driver.actions == ["PutItem", "UpdateItem", "GetItem", "BatchWriteItem"]
    driver = ByHand({}, refused("UpdateItem"), UNREACHABLE)
    with pytest.raises(SessionNotFound):
        driver(sessions.save(session))
    assert driver.actions == ["PutItem", "UpdateItem", "GetItem"], "what cannot be told apart is left to its ttl"


def test_a_large_value_that_was_not_supplied_is_refused_and_nothing_is_asked(sessions: SessionOperations) -> None:
    session = ByHand({"Item": stored(large=LARGE)})(sessions.load("abc"))
    with pytest.raises(StorageError, match="read it first"):
        session.state["large"]


def test_a_large_value_is_read_apart_and_supplied(sessions: SessionOperations) -> None:
    session = ByHand({"Item": stored(large=LARGE, small="1")})(sessions.load("abc"))
    assert session.state.spilled("small") is session.state.spilled("missing") is None
    spilled = session.state.spilled("large")
    assert spilled == LARGE
    driver = ByHand({"Item": {"value": {"S": "[1]"}, "ttl": {"N": str(LARGE.ttl)}}})
    session.state.supply(spilled, driver(sessions.large_value(spilled)))
    assert driver.asked == [
        {"TableName": "sessions", "Key": {"session_id": {"S": LARGE.item_id}}, "ConsistentRead": True}
    ]
    assert session.state.spilled("large") is None
    assert session.state["large"] == [1]
    assert session.state.entries["large"] == LARGE


def test_a_large_value_that_was_replaced_meanwhile_is_a_conflict(sessions: SessionOperations) -> None:
    with pytest.raises(StateConflict):
        ByHand({})(sessions.large_value(LARGE))


def test_a_text_supplied_late_is_not_taken_for_the_value_that_replaced_its_own() -> None:
    state = State({"large": LARGE})
    spilled = state.spilled("large")
    assert spilled is not None
    state.saved({"large": Spilled("abc#large#01", 6000, LARGE.ttl)}, lambda _: '"new"')
    state.supply(spilled, '"old"')
    assert state["large"] == "new"


def test_a_store_reads_large_values_by_its_own_driver() -> None:
    driver = ByHand({"Item": stored(large=LARGE)}, {"Item": {"value": {"S": "7"}, "ttl": {"N": str(LARGE.ttl)}}})
    no_client: Any = None
    store = SessionStore(
        no_client, "sessions", session_ttl=timedelta(hours=24), terminated_ttl=timedelta(hours=6), driver=driver
    )
    assert store.load("abc").state["large"] == 7
    assert driver.actions == ["GetItem", "GetItem"]


# --- Given up on the way --------------------------------------------------------------------------------------


def operations_of(sessions: SessionOperations) -> dict[str, Generator[Any, Any, Any]]:
    """One operation of each kind, on sessions with large values, so that each has several requests."""
    now = datetime.now(UTC)
    ago = now - timedelta(hours=1)

    def session() -> Session:
        return Session("abc", ago, ago, ago, state=State({"large": LARGE}))

    changed = session()
    changed.state["large"] = "y" * SPILL_BYTES
    return {
        "create": sessions.create("abc", state=state_of(large="x" * SPILL_BYTES)),
        "load": sessions.load("abc"),
        "exists": sessions.exists("abc"),
        "save": sessions.save(changed),
        "touch": sessions.touch(session()),
        "update": sessions.update(session(), log_level="debug"),
        "subscribe": sessions.subscribe(session(), "file:///a"),
        "unsubscribe": sessions.unsubscribe(session(), "file:///a"),
        "subscribers": sessions.subscribers("file:///a", [str(number) for number in range(batches.GET_SIZE + 1)]),
        "incr": sessions.incr(session(), "visits"),
        "terminate": sessions.terminate("abc"),
        "delete": sessions.delete("abc"),
        "delete_if_inactive": sessions.delete_if_inactive("abc", now=now),
        "set_global_state": sessions.set_global_state(session(), "eu-west-1", 1),
        "get_global_state": sessions.get_global_state(session(), "eu-west-1"),
        "large_value": sessions.large_value(LARGE),
    }


def answer_to(request: Request) -> Any:
    now = datetime.now(UTC)
    match request.action:
        case "GetItem":
            return {"Item": stored(large=LARGE) | {"value": {"S": "1"}}}
        case "BatchGetItem":
            return {"Responses": {"sessions": []}}
        case "UpdateItem":
            return {"Attributes": {"counters": {"M": {"visits": {"N": "1"}}}}}
        case "DeleteItem":
            session = Session("abc", now, now, now)
            return {"Attributes": session_items.encode(session, {"large": LARGE})}
    return {}


@pytest.mark.parametrize("name", operations_of(SessionOperations.from_settings()))
def test_an_operation_closed_at_any_request_asks_nothing_more_and_raises_nothing(
    sessions: SessionOperations, name: str
) -> None:
    stop_at = 0
    while True:
        operation = operations_of(sessions)[name]
        try:
            request = next(operation)
            for _ in range(stop_at):
                request = operation.send(answer_to(request))
        except StopIteration:
            break
        operation.close()
        assert inspect.getgeneratorstate(operation) == inspect.GEN_CLOSED
        stop_at += 1
    assert stop_at >= 1


@pytest.mark.parametrize("name", operations_of(SessionOperations.from_settings()))
def test_an_operation_that_cannot_reach_dynamodb_says_so(sessions: SessionOperations, name: str) -> None:
    with pytest.raises(StorageUnavailable, match="Cannot reach sessions"):
        ByHand(UNREACHABLE)(operations_of(sessions)[name])


# --- The process's own ----------------------------------------------------------------------------------------


def test_the_process_has_one_and_forgets_it_when_its_settings_change(settings: Settings) -> None:
    assert default_operations() is default_operations()
    settings.DYNAMODB_SESSIONS_TABLE = "others"
    settings.SESSION_TTL_HOURS, settings.EVENT_TTL_HOURS = 2, 1
    operations = default_operations()
    assert operations.table == "others"
    assert (operations.session_ttl, operations.terminated_ttl) == (timedelta(hours=2), timedelta(hours=1))
