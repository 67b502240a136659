"""Who of the workers is alive, and what they hold together."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sessions_dynamo.upkeep import roll_call
from sessions_dynamo.upkeep.roll_call import judged
from sessions_dynamo.workers.roster import HOLDINGS, Roll, WorkerItem

TOLD = datetime(2020, 1, 1, 12, tzinfo=UTC)
"""By DynamoDB's clock; years behind that of this machine."""


def worker(age: float, *, interval: float = 5.0, name: str = "a", **holds: int) -> WorkerItem:
    return WorkerItem(name, 1, 15.0, interval, "web", 1, TOLD, TOLD - timedelta(seconds=age), holds)


@pytest.mark.parametrize(
    ("age", "interval", "is_alive"),
    [
        (0, 5, True),
        (17, 5, True),
        (18, 5, False),
        (62, 20, True),
        (63, 20, False),
        (3.2, 0.4, True),
        (4, 0.4, False),
        # A beat that was told by a worker's own clock, which is ahead.
        (-30, 5, True),
        (10, -5, False),
        (10**6, 1e300, True),
    ],
)
def test_a_worker_is_alive_for_three_intervals_by_the_clock_of_dynamodb(
    age: float, interval: float, is_alive: bool
) -> None:
    found = judged(Roll([worker(age, interval=interval)], TOLD))
    [seen] = found.alive + found.silent
    assert (seen.is_alive, bool(found.alive)) == (is_alive, is_alive)
    assert seen.age_seconds == max(0, age)
    assert not found.is_by_own_clock


def test_without_dynamodbs_time_this_machines_has_to_do() -> None:
    lately = datetime.now(UTC) - timedelta(seconds=3)
    fresh = WorkerItem("a", 1, 15.0, 5.0, "web", 1, lately, lately)
    found = judged(Roll([fresh, worker(0)], None))
    assert found.is_by_own_clock
    assert ([seen.worker for seen in found.alive], len(found.silent)) == ([fresh], 1)


def test_what_the_living_hold_is_added_up_and_the_newest_silence_stands_first() -> None:
    found = judged(
        Roll(
            [
                worker(900, name="long", calls=100),
                worker(1, calls=2, streams=1, of_a_version_to_come=7),
                worker(90, name="newly", calls=50),
                worker(2, calls=3, questions=1),
            ],
            TOLD,
            unreadable=2,
        )
    )
    assert [seen.worker.worker_id for seen in found.silent] == ["newly", "long"]
    assert found.holds == dict.fromkeys(HOLDINGS, 0) | {"calls": 5, "streams": 1, "questions": 1}
    assert found.as_dict() == {"alive": 2, "silent": 2, "unreadable": 2, "holds": found.holds}
    assert not found.is_empty
    assert judged(Roll([], TOLD)).is_empty


def test_what_is_held_is_said_in_words() -> None:
    assert roll_call.words({"calls": 1, "streams": 0, "questions": 1200}) == ["1 call", "1,200 questions"]
    assert all(len(roll_call.words({name: 2})) == 1 for name in HOLDINGS)
