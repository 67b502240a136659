"""The items of workers: what each told of itself at its last beat; on each engine."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from sessions_dynamo.store.events import EventStore
from sessions_dynamo.workers.roster import WORKER_TTL, Beat, Roster, WorkerItem, answered_at
from sessions_dynamo.workers.streams import StreamStore
from tests.sessions_dynamo.support import Clock, Wire

AT = datetime(2026, 11, 22, 12, tzinfo=UTC)
WORKER = WorkerItem("aaaaaaaaaaaa", 1, 15.0, 5.0, "host", 7, AT, AT, {"streams": 2, "calls": 0})


@pytest.fixture
def roster(event_store: EventStore) -> Roster:
    return StreamStore(event_store).roster


def test_a_beat_is_one_write_and_the_beats_of_others_one_read(roster: Roster, wire: Wire) -> None:
    with wire.counting() as requests:
        roster.keep(WORKER)
        roster.keep(replace(WORKER, beat=2))
    assert requests == {"PutItem": 2}
    roster.keep(replace(WORKER, worker_id="bbbbbbbbbbbb", lease_seconds=1.5))
    with wire.counting() as requests:
        beats = roster.beats(["aaaaaaaaaaaa", "bbbbbbbbbbbb", "cccccccccccc"])
    assert requests == {"BatchGetItem": 1}
    assert beats == {"aaaaaaaaaaaa": Beat(2, 15.0), "bbbbbbbbbbbb": Beat(1, 1.5)}
    assert all(keys["ConsistentRead"] for batch in wire.of("BatchGetItem") for keys in batch["RequestItems"].values())


def test_a_worker_that_leaves_is_gone_at_once(roster: Roster) -> None:
    roster.keep(WORKER)
    roster.leave(WORKER.worker_id)
    roster.leave("cccccccccccc")
    assert roster.beats([WORKER.worker_id]) == {}


def test_a_worker_that_stopped_without_a_word_is_forgotten(roster: Roster, clock: Clock) -> None:
    roster.keep(WORKER)
    clock.advance(seconds=WORKER_TTL.total_seconds() - 1)
    roster.keep(replace(WORKER, worker_id="bbbbbbbbbbbb"))
    clock.advance(seconds=2)
    assert roster.beats(["bbbbbbbbbbbb"]) != {}


def test_the_engine_says_what_time_it_is(roster: Roster) -> None:
    told = roster.keep(WORKER)
    assert told is not None
    assert abs((datetime.now(UTC) - told).total_seconds()) < 60


@pytest.mark.parametrize("headers", [{}, {"date": "yesterday"}, {"date": ""}])
def test_an_answer_that_does_not_say_the_time(headers: dict[str, str]) -> None:
    assert answered_at({"ResponseMetadata": {"HTTPHeaders": headers}}) is None
    assert answered_at({}) is None
