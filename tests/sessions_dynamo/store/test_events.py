"""Events: stored in order, replayed to a stream, counted, trimmed; on each engine."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from pytest_django import Settings

from sessions_dynamo import schema
from sessions_dynamo.errors import EventTooLarge, StorageUnavailable
from sessions_dynamo.operations import Operation
from sessions_dynamo.store import batches, event_operations
from sessions_dynamo.store.event_items import MAX_EVENT_BYTES, PART_BYTES, Event
from sessions_dynamo.store.event_operations import EventOperations
from sessions_dynamo.store.events import EventStore, default_store
from tests.sessions_dynamo.support import Clock, Wire, raw_items
from tests.sessions_dynamo.wire import answering, error

EARLY, LATE = "1763800000000-aaaaaaaaaaaaaaaa", "1763800000001-0000000000000000"


def event(sequence: int, data: str = "", *, stream: str = EARLY, session: str = "abc", **more: Any) -> Event:
    """An event of a stream, at a time that is exact to the millisecond."""
    data = data or f'{{"n":{sequence}}}'
    at = datetime(2026, 11, 22, 12, int(stream == LATE), sequence % 60, 123_000, UTC)
    return Event(session, stream, sequence, "notifications/message", data, at, **more)


def stream_of(count: int, *, stream: str = EARLY, session: str = "abc") -> list[Event]:
    """The events 0 to ``count - 1`` of a stream."""
    return [event(sequence, stream=stream, session=session) for sequence in range(count)]


def keys_of(store: EventStore) -> list[str]:
    """The sort key of every item, in order."""
    return sorted(item["event_id"]["S"] for item in raw_items(store.dynamodb, store.table))


@pytest.fixture
def among_others(event_store: EventStore) -> EventStore:
    """A store whose session holds one item of every kind that is no event, on both sides of its streams."""
    late = schema.event_id(LATE, 0)
    others = [
        *(schema.lease_id(stream) for stream in (EARLY, LATE)),
        schema.reply_id("1"),
        schema.call_id(1_763_800_000_000),
        schema.part_id(schema.event_id(EARLY, 2), 1),  # Of an event that is gone, or not there yet.
        schema.part_id(late, 7),
    ]
    ttl = str(schema.now_ms() // 1000 + 3600)
    for key in others:
        item = {"session_id": {"S": "abc"}, "event_id": {"S": key}, "data": {"S": "other"}, "ttl": {"N": ttl}}
        event_store.dynamodb.put_item(TableName=event_store.table, Item=item)
    return event_store


# --- Store ----------------------------------------------------------------------------------------------------


def test_an_event_is_read_back_equal(event_store: EventStore) -> None:
    priming = Event("abc", LATE, 0, "priming", "", datetime(2026, 11, 22, 12, tzinfo=UTC), retry=500)
    event_store.append([event(0, '{"text":"é€😀\\u0000"}'), event(1, "\x00"), priming])
    assert event_store.since("abc") == [event(0, '{"text":"é€😀\\u0000"}'), event(1, "\x00"), priming]


def test_a_single_event_is_a_stream_of_its_own(event_store: EventStore, clock: Clock) -> None:
    stored = []
    for number in range(3):
        stored.append(event_store.store("abc", "response", f"{number}", retry=number))
        clock.advance(milliseconds=1)
    assert event_store.since("abc") == stored
    assert [one.data for one in stored] == ["0", "1", "2"]
    assert len({one.stream_id for one in stored}) == 3
    assert event_store.after("abc", stored[0].event_id) == []


def test_an_event_expires_after_the_event_ttl_for_every_read(event_store: EventStore, clock: Clock) -> None:
    first = event_store.store("abc", "message", "x" * (PART_BYTES + 1))
    event_store.append([event(0), event(1)])
    clock.advance(hours=3)
    later = event_store.store("abc", "message", "later")
    clock.advance(hours=3, milliseconds=-1)
    assert event_store.count("abc") == 4
    assert len(event_store.since("abc")) == 4
    clock.advance(milliseconds=1)
    assert {int(item["ttl"]["N"]) for item in raw_items(event_store.dynamodb, event_store.table)} == {
        int(clock.now.timestamp()),
        int((clock.now + timedelta(hours=3)).timestamp()),
    }
    assert event_store.since("abc") == event_store.recent("abc") == [later]
    assert event_store.after("abc", schema.event_id(EARLY, 0)) == []
    assert event_store.count("abc") == 1
    assert first.event_id in keys_of(event_store), "Time to Live deletes late: the items are there still"


def test_all_items_of_a_large_event_expire_together(event_store: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter(range(100))

    def next_second(self: EventOperations) -> dict[str, str]:
        return {"N": str(2_000_000_000 + next(seconds))}

    monkeypatch.setattr(EventOperations, "_ttl", next_second)
    event_store.append([event(0, "x" * 3 * PART_BYTES)])
    assert len({item["ttl"]["N"] for item in raw_items(event_store.dynamodb, event_store.table)}) == 1


def test_sessions_keep_their_events_apart(event_store: EventStore) -> None:
    event_store.append(stream_of(2))
    event_store.append(stream_of(3, session="abcd"))
    assert (event_store.count("abc"), event_store.count("abcd"), event_store.count("ab")) == (2, 3, 0)
    assert event_store.delete("abc") == 2
    assert len(event_store.since("abcd")) == 3


# --- Order and replay -----------------------------------------------------------------------------------------


def test_events_are_read_in_the_order_of_streams_and_sequences(event_store: EventStore) -> None:
    early, late = stream_of(12), stream_of(3, stream=LATE)
    event_store.append(late)
    event_store.append(early[::-1])
    assert event_store.since("abc") == [*early, *late]
    assert event_store.since("abc", early[10].event_id) == [early[11], *late]
    assert event_store.since("abc", limit=5) == early[:5]
    assert event_store.since("abc", early[3].event_id, limit=2) == early[4:6]
    assert event_store.since("abc", late[2].event_id) == []
    assert event_store.recent("abc", 4) == [early[11], *late]
    assert event_store.recent("abc", 100) == [*early, *late]


def test_replay_is_of_one_stream_alone(event_store: EventStore) -> None:
    early, late = stream_of(5), stream_of(5, stream=LATE)
    event_store.append([*early, *late])
    event_store.append(stream_of(5, session="other"))
    assert event_store.after("abc", early[1].event_id) == early[2:]
    assert event_store.after("abc", early[1].event_id, limit=2) == early[2:4]
    assert event_store.after("abc", early[4].event_id) == []
    assert event_store.after("abc", schema.event_id(EARLY, 999)) == []
    assert event_store.after("unknown", early[1].event_id) == []
    assert event_store.after("abc", schema.event_id("1763800000000-bbbbbbbbbbbbbbbb", 0)) == []


def test_replay_follows_an_event_that_was_trimmed(event_store: EventStore) -> None:
    early = stream_of(5)
    event_store.append(early)
    event_store.delete_before("abc", early[3].event_id)
    assert event_store.after("abc", early[0].event_id) == early[3:]


@pytest.mark.parametrize(
    "garbage", ["", "0", "7", "call.1", "~", EARLY, f"{EARLY}.1", f"{EARLY}.!", "\x00", "😀" * 600]
)
def test_an_id_of_no_event_replays_nothing(event_store: EventStore, garbage: str) -> None:
    event_store.append(stream_of(2))
    assert event_store.after("abc", garbage) == []


@pytest.mark.parametrize("beyond", ["~", ":", "call.1", "reply.1"])
def test_nothing_comes_after_an_id_beyond_every_stream(event_store: EventStore, beyond: str) -> None:
    event_store.append(stream_of(2))
    assert event_store.since("abc", beyond) == []


def test_events_are_read_consistently(event_store: EventStore, wire: Wire) -> None:
    event_store.append(stream_of(2))
    event_store.after("abc", schema.event_id(EARLY, 0))
    event_store.since("abc")
    event_store.recent("abc")
    event_store.count("abc")
    event_store.trim("abc")
    event_store.delete_before("abc", schema.event_id(EARLY, 0))
    event_store.delete("abc")
    queries = wire.of("Query")
    assert len(queries) == 7
    assert all(query["ConsistentRead"] is True for query in queries)


def test_a_limited_read_asks_for_no_more_than_it_needs(event_store: EventStore, wire: Wire) -> None:
    event_store.append(stream_of(20))
    with wire.counting() as requests:
        assert len(event_store.recent("abc", 5)) == 5
        assert len(event_store.since("abc", limit=5)) == 5
    assert requests == {"Query": 2}
    assert [query["Limit"] for query in wire.of("Query")] == [5, 6]


# --- Other kinds of items -------------------------------------------------------------------------------------


def test_items_of_other_kinds_are_no_events(among_others: EventStore) -> None:
    store = among_others
    assert store.since("abc") == store.recent("abc") == []
    assert store.count("abc") == 0
    stored = [*stream_of(2), *stream_of(1, stream=LATE)]
    store.append(stored)
    assert store.since("abc") == store.recent("abc") == stored
    assert store.after("abc", stored[0].event_id) == [stored[1]]
    assert store.after("abc", stored[2].event_id) == []
    assert store.count("abc") == 3


def test_trimming_counts_and_deletes_events_alone(among_others: EventStore) -> None:
    among_others.append([*stream_of(2), *stream_of(1, stream=LATE)])
    among_others.operations.max_events = 2
    assert among_others.trim("abc") == 1
    kept = keys_of(among_others)
    assert schema.lease_id(EARLY) in kept, "a stream whose events are trimmed may be running"
    assert sum(schema.kind_of("abc", key) is schema.EventKind.EVENT for key in kept) == 2
    assert among_others.trim("abc") == 0


def test_deleting_before_an_id_deletes_events_alone(among_others: EventStore) -> None:
    early, late = stream_of(3), stream_of(1, stream=LATE)
    among_others.append([*early, *late])
    others = {key for key in keys_of(among_others) if not schema.parse_event_id(key)}
    assert among_others.delete_before("abc", late[0].event_id) == 3
    left = set(keys_of(among_others))
    assert others - left == {schema.part_id(early[2].event_id, 1)}
    assert left - others == {late[0].event_id}


def test_trimming_goes_by_the_time_of_an_event_and_not_of_its_stream(event_store: EventStore) -> None:
    early, late = stream_of(6), stream_of(3, stream=LATE)
    # As a session's standalone stream: begun first, and still in use.
    early[3:] = [replace(one, timestamp=one.timestamp + timedelta(minutes=2)) for one in early[3:]]
    event_store.append([*early, *late])
    event_store.operations.max_events = 5
    assert event_store.trim("abc") == 4
    assert event_store.since("abc") == [*early[3:], *late[1:]]


def test_a_stream_loses_its_lease_with_its_end(among_others: EventStore) -> None:
    ended = [*stream_of(2), event(schema.END_SEQUENCE, "response")]
    among_others.append([*ended, *stream_of(3, stream=LATE)])
    among_others.operations.max_events = 1
    assert among_others.trim("abc") == 5
    kept = keys_of(among_others)
    assert schema.lease_id(EARLY) not in kept
    assert schema.lease_id(LATE) in kept
    assert [one.sequence for one in among_others.since("abc")] == [2]


def test_an_end_is_the_last_event_of_its_stream(event_store: EventStore) -> None:
    end = event(schema.END_SEQUENCE, "x" * (PART_BYTES + 1))
    early, late = stream_of(2), stream_of(2, stream=LATE)
    event_store.append([end, *late, *early])
    assert event_store.since("abc") == [*early, end, *late]
    assert event_store.after("abc", early[0].event_id) == [early[1], end]
    assert event_store.after("abc", end.event_id) == []
    assert event_store.recent("abc", 3) == [end, *late]
    assert event_store.count("abc") == 5


def test_deleting_a_sessions_events_deletes_every_kind(among_others: EventStore) -> None:
    among_others.append(stream_of(30))
    items = len(keys_of(among_others))
    assert among_others.delete("abc") == items == 36
    assert keys_of(among_others) == []


# --- Large events ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "parts"),
    [
        ("x" * PART_BYTES, 0),
        ("x" * (PART_BYTES + 1), 1),
        ("€" * (PART_BYTES // 3 + 1), 1),
        ("a" + "😀" * (PART_BYTES // 2), 2),
        ("ab" + "😀" * (PART_BYTES // 4), 1),
        ("abc" + "😀" * (PART_BYTES // 4), 1),
        ("é" * (PART_BYTES * 11 // 2) + "end", 11),
    ],
    ids=["at the limit", "one more", "€", "😀 at 1", "😀 at 2", "😀 at 3", "eleven"],
)
def test_a_large_event_is_cut_between_characters_and_joined_again(
    event_store: EventStore, data: str, parts: int
) -> None:
    before, large, behind = event(0), event(1, data), event(2)
    event_store.append([before, large, behind])
    assert len(keys_of(event_store)) == 3 + parts
    assert event_store.since("abc") == [before, large, behind]
    assert event_store.recent("abc", 2) == [large, behind]
    assert event_store.since("abc", before.event_id, limit=1) == [large]
    assert event_store.after("abc", before.event_id, limit=1) == [large]
    assert event_store.after("abc", large.event_id) == [behind]
    assert event_store.count("abc") == 3
    assert event_store.delete_before("abc", behind.event_id) == 2
    assert keys_of(event_store) == [behind.event_id]


def test_an_event_over_the_limit_is_refused_before_anything_is_written(event_store: EventStore, wire: Wire) -> None:
    with pytest.raises(EventTooLarge, match=str(MAX_EVENT_BYTES + 1)):
        event_store.append([event(0), event(1, "x" * (MAX_EVENT_BYTES + 1))])
    assert not wire.requests


def test_an_event_is_seen_with_all_of_its_parts_or_not_at_all(
    event_store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = event(0, "x" * (PART_BYTES + 1))
    event_store.append([before])
    put = batches.put
    seen: list[list[Event]] = []

    def watched(*args: Any) -> Operation[int]:
        written = yield from put(*args)
        seen.append((yield from event_store.operations.since("abc")))
        assert (yield from event_store.operations.recent("abc")) == seen[-1]
        return written

    monkeypatch.setattr(batches, "put", watched)
    large = event(1, "y" * 3 * PART_BYTES)
    event_store.append([large])
    assert seen == [[before], [before, large]]


def test_an_event_that_lost_a_part_is_gone(event_store: EventStore) -> None:
    whole, cut = event(0), event(1, "y" * 3 * PART_BYTES)
    event_store.append([whole, cut])
    part = {"session_id": {"S": "abc"}, "event_id": {"S": schema.part_id(cut.event_id, 1)}}
    event_store.dynamodb.delete_item(TableName=event_store.table, Key=part)
    assert event_store.since("abc") == event_store.recent("abc") == [whole]


# --- Delete and trim ------------------------------------------------------------------------------------------


def test_events_before_an_id_are_deleted_and_counted(event_store: EventStore) -> None:
    early, late = stream_of(30), stream_of(2, stream=LATE)
    event_store.append([*early, *late])
    assert event_store.delete_before("abc", early[3].event_id) == 3
    assert event_store.delete_before("abc", early[3].event_id) == 0
    assert event_store.since("abc") == [*early[3:], *late]
    assert event_store.delete_before("abc", late[1].event_id) == 28
    assert event_store.since("abc") == late[1:]


@pytest.mark.parametrize("before_all", ["", "#", "0"])
def test_nothing_is_deleted_before_an_id_before_every_stream(event_store: EventStore, before_all: str) -> None:
    event_store.append(stream_of(2))
    assert event_store.delete_before("abc", before_all) == 0
    assert event_store.count("abc") == 2


def test_trimming_keeps_the_newest_events(event_store: EventStore) -> None:
    early, late = stream_of(30), stream_of(5, stream=LATE)
    event_store.append([*early, *late])
    event_store.operations.max_events = 20
    assert event_store.trim("abc") == 15
    assert event_store.since("abc") == [*early[15:], *late]
    assert event_store.trim("abc") == 0
    assert event_store.trim("unknown") == 0


@pytest.fixture
def chance(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """What chance will say, one number after the other."""
    numbers: list[float] = []
    monkeypatch.setattr(event_operations, "random", SimpleNamespace(random=lambda: numbers.pop(0)))
    yield numbers
    assert numbers == []


def test_storing_costs_one_request_for_25_events(event_store: EventStore, chance: list[float], wire: Wire) -> None:
    chance += [1.0, 1.0, 1.0]
    for count, expected in ((1, 1), (25, 1), (26, 2)):
        with wire.counting() as requests:
            event_store.append(stream_of(count))
        assert requests == {"BatchWriteItem": expected}
    with wire.counting() as requests:
        event_store.append([])
    assert not requests


def test_a_session_is_trimmed_once_in_a_hundred_events(
    event_store: EventStore, chance: list[float], wire: Wire
) -> None:
    for number, count, trims in ((0.0101, 1, 0), (0.0099, 1, 1), (0.2501, 25, 0), (0.2499, 25, 1)):
        chance.append(number)
        with wire.counting() as requests:
            event_store.append(stream_of(count))
        assert requests == {"BatchWriteItem": 1} | ({"Query": 1} if trims else {})


def test_a_session_never_holds_much_more_than_its_share(
    event_store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    event_store.operations.max_events = 10
    monkeypatch.setattr(event_operations, "random", SimpleNamespace(random=lambda: 0.5))
    for sequence in range(40):
        event_store.append([event(sequence)])
        assert event_store.count("abc") <= 10
    assert event_store.since("abc") == [event(sequence) for sequence in range(30, 40)]


def test_events_are_stored_though_they_cannot_be_trimmed(
    event_store: EventStore, chance: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    chance.append(0.0)
    with answering(event_store.dynamodb, "Query", error("ThrottlingException")), caplog.at_level(logging.WARNING):
        event_store.append(stream_of(3))
    assert "not trimmed" in caplog.text
    assert event_store.since("abc") == stream_of(3)


# --- The store itself -----------------------------------------------------------------------------------------


def test_events_that_cannot_be_stored_say_so(event_store: EventStore) -> None:
    throttled = error("ThrottlingException")
    with answering(event_store.dynamodb, "BatchWriteItem", throttled), pytest.raises(StorageUnavailable):
        event_store.append(stream_of(1))


def test_the_settings_describe_the_processs_store(settings: Settings) -> None:
    settings.EVENT_TTL_HOURS, settings.MAX_EVENTS_PER_SESSION = 0.5, 7
    store = default_store()
    assert store is default_store()
    assert (store.event_ttl, store.max_events) == (timedelta(minutes=30), 7)
    assert store.table == settings.DYNAMODB_EVENTS_TABLE
    settings.MAX_EVENTS_PER_SESSION = 8
    assert default_store().max_events == 8
