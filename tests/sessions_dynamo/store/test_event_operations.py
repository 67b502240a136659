"""What is asked about events, with no engine beneath: each request as it would leave, each answer by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError
from pytest_django import Settings

from sessions_dynamo import schema
from sessions_dynamo.errors import EventTooLarge, StorageUnavailable
from sessions_dynamo.operations import Pause
from sessions_dynamo.store import batches, calls, event_items, event_operations, queries
from sessions_dynamo.store.event_items import MAX_EVENT_BYTES, PART_BYTES, Event
from sessions_dynamo.store.event_operations import EventOperations, default_operations
from sessions_dynamo.store.times import seconds
from tests.sessions_dynamo.by_hand import ByHand

STREAM = "1763800000000-aaaaaaaaaaaaaaaa"
UNREACHABLE = EndpointConnectionError(endpoint_url="http://nowhere")


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> EventOperations:
    """A thousand events a session, and no trim unless a test asks for one."""
    monkeypatch.setattr(event_operations, "random", SimpleNamespace(random=lambda: 1.0))
    return EventOperations("events", event_ttl=timedelta(hours=6), max_events=1000)


def event(sequence: int, data: str = "{}") -> Event:
    at = datetime.fromtimestamp(1_763_800_000 + sequence, UTC)
    return Event("abc", STREAM, sequence, "notifications/message", data, at)


def items_of(*stored: Event) -> list[dict[str, Any]]:
    """The items of events as a Query returns them: each with its parts behind it."""
    ttl = seconds(datetime.now(UTC) + timedelta(hours=1))
    return [each for one in stored for item, parts in [event_items.encode(one, ttl)] for each in (item, *parts)]


def page(items: list[dict[str, Any]], *, last: bool = False) -> dict[str, Any]:
    """The answer to a Query."""
    more = {} if last else {"LastEvaluatedKey": {"event_id": items[-1]["event_id"]}}
    return {"Items": items, "Count": len(items), **more}


def left(*requests: Any) -> dict[str, Any]:
    return {"UnprocessedItems": {"events": list(requests)}}


# --- Batches --------------------------------------------------------------------------------------------------


def test_what_dynamodb_leaves_unprocessed_is_sent_again_after_a_pause_that_nobody_sleeps() -> None:
    keys = [{"session_id": {"S": "abc"}, "event_id": {"S": str(number)}} for number in range(3)]
    second, third = ({"DeleteRequest": {"Key": key}} for key in keys[1:])
    driver = ByHand(left(second, third), left(third), {})
    assert driver(batches.delete("events", keys)) == 3
    assert driver.actions == ["BatchWriteItem", "Pause", "BatchWriteItem", "Pause", "BatchWriteItem"]
    assert [asked["RequestItems"]["events"] for asked in driver.asked[1:]] == [[second, third], [third]]
    pauses = [step.seconds for step in driver.steps if isinstance(step, Pause)]
    assert all(0 <= pause <= 0.05 * 2**attempt for attempt, pause in enumerate(pauses))


def test_a_batch_that_stays_unprocessed_is_given_up() -> None:
    key = {"session_id": {"S": "abc"}, "event_id": {"S": "1"}}
    driver = ByHand(*[left({"DeleteRequest": {"Key": key}})] * batches.ATTEMPTS)
    with pytest.raises(StorageUnavailable, match="throttled events"):
        driver(batches.delete("events", [key]))
    assert driver.answers == []


def test_a_batch_closed_in_its_pause_is_sent_no_more() -> None:
    put = batches.put("events", [{"session_id": {"S": "abc"}}])
    next(put)
    assert isinstance(put.send(left({"PutRequest": {"Item": {"session_id": {"S": "abc"}}}})), Pause)
    put.close()
    with pytest.raises(StopIteration):
        next(put)


# --- Queries --------------------------------------------------------------------------------------------------


def test_a_page_names_the_query_of_the_next_and_changes_no_other() -> None:
    query = {"TableName": "events", "Limit": 1}
    driver = ByHand({"Items": [{"a": 1}], "Count": 1, "LastEvaluatedKey": {"key": 1}}, {"Items": [], "Count": 0})
    first = driver(queries.query_page(query))
    assert (first.items, first.count) == ([{"a": 1}], 1)
    assert first.following == {**query, "ExclusiveStartKey": {"key": 1}}
    assert query == {"TableName": "events", "Limit": 1}
    assert driver(queries.query_page(first.following)).following is None


def test_a_list_of_any_length_asks_for_a_page_when_the_one_before_is_read() -> None:
    driver = ByHand({"Items": [{"n": 1}, {"n": 2}], "Count": 2, "LastEvaluatedKey": {}}, {"Items": [], "Count": 0})
    items = queries.stream(driver, TableName="events")
    assert driver.steps == []
    assert [next(items), next(items)] == [{"n": 1}, {"n": 2}]
    assert driver.actions == ["Query"]
    assert list(items) == []
    assert driver.actions == ["Query", "Query"]


# --- Events ---------------------------------------------------------------------------------------------------


def test_parts_are_put_before_the_events_that_they_belong_to(events: EventOperations) -> None:
    driver = ByHand({}, {})
    driver(events.append([event(0), event(1, "x" * 2 * PART_BYTES)]))
    parts, whole = (
        [request["PutRequest"]["Item"] for request in asked["RequestItems"]["events"]] for asked in driver.asked
    )
    assert [item["event_id"]["S"] for item in parts] == [schema.part_id(event(1).event_id, 1)]
    assert [item["event_id"]["S"] for item in whole] == [event(0).event_id, event(1).event_id]


def test_an_event_that_is_too_large_is_refused_before_anything_is_asked(events: EventOperations) -> None:
    driver = ByHand()
    with pytest.raises(EventTooLarge):
        driver(events.append([event(0), event(1, "x" * (MAX_EVENT_BYTES + 1))]))
    assert driver.steps == []


def test_replay_is_a_consistent_read_of_one_stream(events: EventOperations) -> None:
    driver = ByHand(page(items_of(event(1), event(2)), last=True))
    assert driver(events.after("abc", event(0).event_id)) == [event(1), event(2)]
    (query,) = driver.asked
    assert query["ConsistentRead"] is True
    assert query["ExpressionAttributeValues"][":first"] == {"S": event(1).event_id}
    assert query["FilterExpression"] == "#ttl > :now"


@pytest.mark.parametrize("event_id", ["", "no id", schema.event_id(STREAM, schema.END_SEQUENCE)])
def test_nothing_is_asked_about_what_nothing_can_follow(events: EventOperations, event_id: str) -> None:
    driver = ByHand()
    assert driver(events.after("abc", event_id)) == []
    assert driver.steps == []


def test_a_limited_read_ends_with_the_page_that_has_enough(events: EventOperations) -> None:
    driver = ByHand(page(items_of(event(1), event(2))))
    assert driver(events.since("abc", limit=1)) == [event(1)]
    assert driver.asked[0]["Limit"] == 2


def test_a_limited_read_goes_on_for_the_parts_of_its_last_event(events: EventOperations) -> None:
    items = items_of(event(1, "x" * 3 * PART_BYTES), event(2))
    driver = ByHand(page(items[:1]), page(items[1:2]), page(items[2:3]))
    assert driver(events.since("abc", limit=1)) == [event(1, "x" * 3 * PART_BYTES)]
    assert driver.actions == ["Query"] * 3


def test_the_newest_events_are_read_from_the_end_until_there_are_enough(events: EventOperations) -> None:
    newest_first = items_of(event(0), event(1), event(2))[::-1]
    driver = ByHand(page(newest_first[:1]), page(newest_first[1:]))
    assert driver(events.recent("abc", 2)) == [event(1), event(2)]
    assert driver.asked[0]["ScanIndexForward"] is False
    assert driver.actions == ["Query", "Query"]


def test_a_trim_that_fails_is_not_the_writers_error(
    events: EventOperations, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(event_operations, "random", SimpleNamespace(random=lambda: 0.0))
    driver = ByHand({}, UNREACHABLE)
    stored = driver(events.store("abc", "response", "{}"))
    assert stored.session_id == "abc"
    assert driver.actions == ["BatchWriteItem", "Query"]
    assert "were not trimmed" in caplog.text


def test_deleting_fills_batches_across_pages(events: EventOperations) -> None:
    items = items_of(*(event(number) for number in range(60)))
    driver = ByHand(page(items[:20]), page(items[20:40]), {}, page(items[40:], last=True), {}, {})
    assert driver(events.delete("abc")) == 60
    assert driver.actions == ["Query", "Query", "BatchWriteItem", "Query", "BatchWriteItem", "BatchWriteItem"]
    sizes = [len(asked["RequestItems"]["events"]) for asked in driver.asked if "RequestItems" in asked]
    assert sizes == [25, 25, 10]


def test_the_calls_of_a_session_are_read_newest_first_and_no_more_than_asked_for() -> None:
    call = calls.Call("abc", datetime.fromtimestamp(1_763_800_000, UTC), "tools/call", "ok", 1.5, tool="add")
    items = [calls.encode(call, {"N": "1"})] * 3
    driver = ByHand(page(items[:1]), page(items[1:]))
    assert driver(calls.recent_calls("events", "abc", 2)) == [call, call]
    assert driver.asked[0]["Limit"] == 2
    assert driver.actions == ["Query", "Query"]


def test_the_process_has_one_and_forgets_it_when_its_settings_change(settings: Settings) -> None:
    assert default_operations() is default_operations()
    settings.DYNAMODB_EVENTS_TABLE, settings.EVENT_TTL_HOURS, settings.MAX_EVENTS_PER_SESSION = "others", 2, 7
    operations = default_operations()
    assert (operations.table, operations.event_ttl, operations.max_events) == ("others", timedelta(hours=2), 7)
