"""The workers' items: kept, left, read by whoever watches them; on each engine and each driver."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sessions_dynamo import schema, worker_keys
from sessions_dynamo.store import batches
from sessions_dynamo.store.events import EventStore
from sessions_dynamo.workers.roster import WORKER_TTL, Beat, Roster, RosterOperations, WorkerItem
from tests.sessions_dynamo.by_hand import ByHand
from tests.sessions_dynamo.support import Wire

NOW = datetime.now(UTC).replace(microsecond=0)


def worker(worker_id: str = "0123456789ab", *, beat: int = 1, since: int = 0, **holds: int) -> WorkerItem:
    return WorkerItem(worker_id, beat, 15.0, 5.0, "web-1", 4711, NOW + timedelta(seconds=since), NOW, holds)


@pytest.fixture
def roster(event_store: EventStore) -> Roster:
    return Roster(RosterOperations(event_store.table), event_store.drive)


def put(events: EventStore, worker_id: str, **attributes: Any) -> None:
    item = {"session_id": {"S": worker_keys.WORKERS_PARTITION}, "event_id": {"S": worker_id}, **attributes}
    events.drive(batches.put(events.table, [item]))


def test_a_worker_is_read_as_it_was_kept(roster: Roster) -> None:
    roster.keep(worker(beat=1))
    roster.keep(worker(beat=2, calls=3, streams=1))
    roll = roster.all()
    assert roll.workers == [worker(beat=2, calls=3, streams=1)]
    assert roll.unreadable == 0
    assert roster.beats(["0123456789ab", "ba9876543210"]) == {"0123456789ab": Beat(2, 15.0)}
    roster.leave("0123456789ab")
    roster.leave("0123456789ab")
    assert roster.all().workers == []
    assert roster.beats(["0123456789ab"]) == {}


def test_workers_come_longest_serving_first_by_one_consistent_query(roster: Roster, wire: Wire) -> None:
    for since, worker_id in ((30, "a" * 12), (10, "b" * 12), (20, "c" * 12)):
        roster.keep(worker(worker_id, since=since))
    with wire.counting() as requests:
        assert [found.worker_id[0] for found in roster.all().workers] == ["b", "c", "a"]
    assert requests == {"Query": 1}
    assert all(query["ConsistentRead"] for query in wire.of("Query"))


def test_dynamodb_tells_the_time_with_its_answer(roster: Roster) -> None:
    told_at = roster.all().told_at
    assert told_at is not None
    assert abs(told_at - datetime.now(UTC)) < timedelta(minutes=1)


def test_what_is_past_its_ttl_by_the_clock_of_dynamodb_is_gone(roster: Roster, event_store: EventStore) -> None:
    roster.keep(worker("a" * 12))
    item = event_store.drive(
        batches.get(event_store.table, [{"session_id": {"S": "#workers"}, "event_id": {"S": "a" * 12}}])
    )[0]
    assert int(item["ttl"]["N"]) == pytest.approx(schema.now_ms() / 1000 + WORKER_TTL.total_seconds(), abs=60)
    put(event_store, **{**_named(item), "worker_id": "b" * 12, "ttl": {"N": str(schema.now_ms() // 1000 - 60)}})
    assert [found.worker_id for found in roster.all().workers] == ["a" * 12]


def _named(item: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in item.items() if name not in ("session_id", "event_id")}


@pytest.mark.parametrize(
    "broken",
    [
        {"ttl": None},
        {"host": None},
        {"pid": {"S": "x"}},
        {"pid": {"N": "1.5"}},
        {"holds": {"S": "x"}},
        {"holds": {"M": {"calls": {"S": "many"}}}},
        {"started_at": {"N": "9" * 30}},
        {"beat_at": {"N": "-9999999999999999"}},
        {"ttl": {"N": "9" * 30}},
        {"lease_seconds": {"L": []}},
    ],
    ids=str,
)
def test_an_item_that_cannot_be_read_is_counted_and_the_others_are_told(
    roster: Roster, event_store: EventStore, broken: dict[str, Any]
) -> None:
    roster.keep(worker("a" * 12))
    whole = event_store.drive(
        batches.get(event_store.table, [{"session_id": {"S": "#workers"}, "event_id": {"S": "a" * 12}}])
    )[0]
    item = {name: value for name, value in (_named(whole) | broken).items() if value is not None}
    put(event_store, "b" * 12, **item)
    roll = roster.all()
    assert ([found.worker_id for found in roll.workers], roll.unreadable) == (["a" * 12], 1)


def test_every_page_is_read_and_the_last_tells_the_time() -> None:
    def told(seconds: int) -> dict[str, Any]:
        return {"HTTPHeaders": {"date": f"Sun, 29 Nov 2026 12:00:{seconds:02} GMT"}}

    last = {"session_id": {"S": "#workers"}, "event_id": {"S": "a"}}
    drive = ByHand(
        {"Items": [{"event_id": {"S": "odd"}}], "LastEvaluatedKey": last, "ResponseMetadata": told(1)},
        {"Items": [{}], "ResponseMetadata": told(9)},
    )
    roll = drive(RosterOperations("events").all())
    assert (roll.workers, roll.unreadable) == ([], 2)
    assert roll.told_at == datetime(2026, 11, 29, 12, 0, 9, tzinfo=UTC)
    assert drive.asked[1]["ExclusiveStartKey"] == last


@pytest.mark.parametrize("metadata", [None, {}, {"HTTPHeaders": {}}, {"HTTPHeaders": {"date": "yesterday"}}])
def test_an_answer_may_tell_no_time(metadata: dict[str, Any] | None) -> None:
    answer: dict[str, Any] = {"Items": []} if metadata is None else {"Items": [], "ResponseMetadata": metadata}
    assert ByHand(answer)(RosterOperations("events").all()).told_at is None
