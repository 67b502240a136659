"""A session's timeline in pages, on each engine."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sessions_dynamo import schema
from sessions_dynamo.reading import activity, entries, event_list, tails, timeline
from sessions_dynamo.reading.entries import Entry, Show
from sessions_dynamo.reading.tails import Tail
from sessions_dynamo.store.calls import Call
from sessions_dynamo.store.event_items import PART_BYTES, Event
from sessions_dynamo.store.events import EventStore
from sessions_dynamo.workers.streams import Lease, StreamStore
from tests.engines import on_dynamodb_local
from tests.sessions_dynamo.exported import put_of_the_moment
from tests.sessions_dynamo.support import Wire, raw_items, record_calls

START = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def stream_id(seconds: float, number: int = 1) -> str:
    return f"{round(at(seconds).timestamp() * 1000):013d}-{number:016x}"


def event(
    seconds: float, *, stream: float = 0, sequence: int = 0, kind: str = "notifications/progress", data: str = "{}"
) -> Event:
    return Event("abc", stream_id(stream), sequence, kind, data, at(seconds))


def call(seconds: float, outcome: str = "ok", method: str = "tools/call", tool: str | None = "add") -> Call:
    return Call("abc", at(seconds), method, outcome, 1.5, tool=tool, request_bytes=10, response_bytes=20)


def everything(
    store: EventStore, *, limit: int, show: Show = Show.ALL, type_: str = "", before: datetime | None = None
) -> list[Entry]:
    """The entries of every page; no entry may be on two."""
    found: list[Entry] = []
    cursor = None
    for _ in range(200):
        page = timeline.page(store, "abc", show=show, type_=type_, limit=limit, cursor=cursor, before=before)
        assert len(page.entries) <= limit
        found += page.entries
        cursor = page.next_cursor
        if cursor is None:
            assert len({entry.key for entry in found}) == len(found)
            return found
    raise AssertionError("the pages do not end")


def seconds_of(found: list[Entry]) -> list[float]:
    return [(entry.at - START).total_seconds() for entry in found]


def test_events_and_calls_are_listed_newest_first_across_streams(event_store: EventStore) -> None:
    # The first stream goes on after the second one has ended.
    event_store.append([event(0), event(30, sequence=1), event(50, sequence=2)])
    event_store.append([event(10, stream=10), event(20, stream=10, sequence=1)])
    record_calls(event_store, call(5), call(40))

    page = timeline.page(event_store, "abc")

    assert seconds_of(page.entries) == [50, 40, 30, 20, 10, 5, 0]
    assert page.next_cursor is None
    assert page.entries[1].call == call(40)


def test_pages_hold_every_entry_once_and_in_order(event_store: EventStore) -> None:
    event_store.append([event(2 * number, sequence=number) for number in range(20)])
    record_calls(event_store, *(call(2 * number + 1) for number in range(20)))

    found = everything(event_store, limit=7)

    assert seconds_of(found) == list(range(39, -1, -1))


def test_entries_of_one_millisecond_are_all_listed(event_store: EventStore) -> None:
    event_store.append([event(1, sequence=number) for number in range(10)])
    record_calls(event_store, *(call(1) for _ in range(10)))
    assert len(everything(event_store, limit=3)) == 20


def test_a_page_of_an_ordinary_session_is_two_queries(event_store: EventStore, wire: Wire) -> None:
    event_store.append([event(number, sequence=number) for number in range(60)])
    record_calls(event_store, *(call(number) for number in range(60)))
    with wire.counting() as requests:
        timeline.page(event_store, "abc")
    assert requests == {"Query": 2}
    assert all(query["ConsistentRead"] for query in wire.of("Query"))


def test_a_session_of_many_megabytes_is_read_in_windows(event_store: EventStore, wire: Wire) -> None:
    text = '"' + "x" * 340_000 + '"'
    for number in range(24):
        event_store.append([event(number, stream=number, data=text)])
    record_calls(event_store, *(call(number + 0.5) for number in range(24)))
    with wire.counting() as requests:
        page = timeline.page(event_store, "abc")
    assert requests["Query"] <= timeline.WINDOW_QUERIES + timeline.CALL_QUERIES
    assert page.goes_back_to is not None

    found = everything(event_store, limit=50)

    assert seconds_of(found) == [number / 2 for number in range(47, -1, -1)]


def test_the_parts_of_a_large_event_are_passed_over(event_store: EventStore, wire: Wire) -> None:
    large = event(1, stream=1, data='"' + "x" * (PART_BYTES * 20) + '"')
    event_store.append([event(0)])
    event_store.append([large])
    with wire.counting() as requests:
        page = timeline.page(event_store, "abc")
    assert requests["Query"] <= 4
    assert seconds_of(page.entries) == [1, 0]
    assert page.entries[0].parts == 20
    assert event_store.get("abc", large.event_id) is not None


def test_failures_are_found_among_many_calls(event_store: EventStore, wire: Wire) -> None:
    record_calls(event_store, *(call(number, "tool_error" if number in {3, 90} else "ok") for number in range(120)))
    event_store.append([event(50, kind="error"), event(51, sequence=1)])
    with wire.counting() as requests:
        page = timeline.page(event_store, "abc", show=Show.FAILED, limit=20)
    assert seconds_of(page.entries) == [90, 50, 3]
    assert page.calls_read == 120
    assert requests == {"Query": 2}


@on_dynamodb_local  # moto takes seconds for a thousand items.
def test_a_filter_reads_a_thousand_calls_and_then_offers_to_go_on(event_store: EventStore) -> None:
    record_calls(event_store, call(0, "tool_error"), *(call(1 + number / 10) for number in range(1100)))
    page = timeline.page(event_store, "abc", show=Show.FAILED)
    assert page.entries == []
    assert page.calls_read == timeline.MAX_CALLS
    again = timeline.page(event_store, "abc", show=Show.FAILED, cursor=page.next_cursor)
    assert seconds_of(again.entries) == [0]
    assert again.next_cursor is None


@pytest.mark.parametrize(
    ("show", "type_", "expected"),
    [
        (Show.CALLS, "", [4, 3]),
        (Show.EVENTS, "", [2, 1]),
        (Show.ALL, "add", [3]),
        (Show.ALL, "ping", [4]),
        (Show.ALL, "notifications/message", [2]),
        (Show.ALL, "nothing", []),
    ],
)
def test_entries_are_filtered_by_kind_and_type(
    event_store: EventStore, show: Show, type_: str, expected: list[float]
) -> None:
    event_store.append([event(1), event(2, sequence=1, kind="notifications/message")])
    record_calls(event_store, call(3), call(4, method="ping", tool=None))
    assert seconds_of(everything(event_store, limit=1, show=show, type_=type_)) == expected


def test_a_page_begins_before_a_time(event_store: EventStore) -> None:
    event_store.append([event(number, sequence=number) for number in range(6)])
    record_calls(event_store, *(call(number + 0.5) for number in range(6)))
    assert seconds_of(everything(event_store, limit=4, before=at(3))) == [2.5, 2, 1.5, 1, 0.5, 0]


def test_streams_show_owner_lease_and_end(event_store: EventStore) -> None:
    streams = StreamStore(event_store)
    streams.open(Lease("abc", stream_id(1), "worker-1", "7"), [event(1, stream=1)])
    streams.open(Lease("abc", stream_id(2), "worker-2", "8"), [event(2, stream=2)])
    # Of the version before, which moved a lease for each stream.
    event_store.dynamodb.update_item(
        TableName=event_store.table,
        Key={"session_id": {"S": "abc"}, "event_id": {"S": schema.lease_id(stream_id(2))}},
        UpdateExpression="SET lease_expires = :at",
        ExpressionAttributeValues={":at": {"N": str(schema.now_ms() - 1000)}},
    )
    streams.open(Lease("abc", stream_id(3), "worker-1", "9"), [event(3, stream=3)])
    streams.end(event(4, stream=3, kind="response"), 3)
    streams.standalone.claim("abc", stream_id(0), "worker-3", datetime.now(UTC))
    streams.standalone.send("abc", stream_id(0), "notifications/message", "{}")

    found = timeline.page(event_store, "abc").streams

    assert [(stream.state, stream.owner, stream.request_id, stream.events, stream.waiting) for stream in found] == [
        ("ended", "worker-1", "9", 2, 0),
        ("lapsed", "worker-2", "8", 1, 0),
        ("open", "worker-1", "7", 1, 0),
        ("held", "worker-3", None, 0, 1),
    ]
    assert found[0].ended is not None
    assert found[0].ended.type == "response"


def test_other_sessions_and_foreign_items_are_left_out(event_store: EventStore) -> None:
    event_store.store("other", "ping", "{}")
    foreign = ["0-odd", "call.odd", "1795348800000-0000000000000001.0000000001", "../..", "~"]
    for key in foreign:
        event_store.dynamodb.put_item(
            TableName=event_store.table, Item={"session_id": {"S": "abc"}, "event_id": {"S": key}}
        )
    assert timeline.page(event_store, "abc").entries == []


@pytest.mark.parametrize(
    "partition", ["abc", "#workers", "#inbox.0123456789ab", "#news.0123456789ab", "#of a version to come"]
)
def test_what_workers_tell_each_other_is_neither_an_entry_nor_a_stream(event_store: EventStore, partition: str) -> None:
    put_of_the_moment(event_store, "abc")
    put_of_the_moment(event_store, "abc", timestamp={"N": "1"}, shard={"S": "0"}, event_type={"S": "ping"})
    shown = timeline.page(event_store, partition)
    assert (shown.entries, shown.streams, shown.next_cursor) == ([], [], None)
    for item in raw_items(event_store.dynamodb, event_store.table):
        assert entries.decode(item) is None
        assert entries.get(event_store, item["session_id"]["S"], item["event_id"]["S"]) is None
    assert event_list.page(event_store).entries == []
    assert event_list.page(event_store, show=Show.FAILED).entries == []
    assert tails.of_all(event_store, Tail(0)).entries == []
    assert tails.of_session(event_store, partition, Tail(0)).entries == []
    traffic = activity.traffic(event_store, datetime.now(UTC) - timedelta(hours=1))
    assert (traffic.events.times, traffic.tool_calls.times) == ((), ())
    assert (event_store.count("abc"), event_store.recent(partition)) == (0, [])


def test_a_damaged_cursor_is_refused(event_store: EventStore) -> None:
    event_store.append([event(number, sequence=number) for number in range(3)])
    cursor = timeline.page(event_store, "abc", limit=1).next_cursor
    assert cursor is not None
    for damaged in ("x", cursor[:-2], ""):
        if damaged:
            with pytest.raises(ValueError, match="damaged"):
                timeline.page(event_store, "abc", cursor=damaged)
    with pytest.raises(ValueError, match="damaged"):
        timeline.page(event_store, "other", cursor=cursor)
