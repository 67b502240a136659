"""An owner that stands still for longer than its lease, in the middle of its work, and goes on afterwards.

``STOPPED_ROUNDS`` says how many streams are met with it, ``STOPPED_SEED`` by which chances: ``make stopped`` has 50.
"""

from __future__ import annotations

import os
import random
import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from signal import SIGCONT, SIGSTOP
from typing import Any

import pytest

from tests.conftest import SHOWN
from tests.engines import on_dynamodb_local
from tests.live.stopping import Round, dynamodb_of, event_store, until
from tests.live.stream_client import Client
from tests.live.stream_sites import StreamSite, stream_site

pytestmark = on_dynamodb_local

LEASE_SECONDS = 2.0
ROUNDS = int(os.environ.get("STOPPED_ROUNDS", "6"))
AT_ONCE = 5
SAVED, NOT_SAVED = {"result": ["poured", "1 pours"]}, {"result": ["0 pours"]}
SEED = os.environ.get("STOPPED_SEED") or secrets.token_hex(4)


@pytest.fixture(scope="module")
def site(engine: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[StreamSite]:
    with stream_site(
        engine[1],
        tmp_path_factory.mktemp("stopped"),
        STREAM_LEASE_SECONDS=str(LEASE_SECONDS),
        # What never comes is to be missed.
        STREAM_KEEPALIVE_SECONDS="60",
        MAX_EVENTS_PER_SESSION="1000000",
        RECORD_CALLS="false",
    ) as site:
        yield site


def stop_an_owner(site: StreamSite, chance: random.Random, count: int, directory: Path) -> list[Round]:
    """Stop a worker for two leases while it pours events into so many streams; the streams, all read to their end."""
    owner = chance.choice(site.ports)
    others = [port for port in site.ports if port != owner]
    # Half of the calls are at their end when the owner wakes, and save; the others would pour on.
    asleep, awake = directory / secrets.token_hex(4), directory / secrets.token_hex(4)
    with ThreadPoolExecutor(64) as pool:
        rounds = [Round.begin(site, owner, awake if number % 2 else asleep) for number in range(count)]
        for turn, round in enumerate(rounds):
            round.stream.messages(chance.randint(1, 20))
            if turn % 3:
                round.go_on(pool)
        time.sleep(chance.uniform(0, 0.5))
        site.signal(owner, SIGSTOP)
        stopped = time.monotonic()
        try:
            asleep.touch()
            for turn, round in enumerate(rounds):
                if not turn % 3:
                    round.stream.close()
                for port in others:
                    round.resume(pool, port, chance)
            for round in rounds:
                for reading in round.readings:
                    if reading.port:
                        reading.frames.result()
            time.sleep(max(0.0, stopped + 2 * LEASE_SECONDS - time.monotonic()))
        finally:
            site.signal(owner, SIGCONT)
        for _ in range(2):
            for round in rounds:
                round.resume(pool, chance.choice(site.ports), chance)
            time.sleep(chance.uniform(0, 0.2))
        awake.touch()
        assert_serves_normally(site, owner, others[0], awake)
        events = event_store(site, dynamodb_of(site))
        for round in rounds:
            until(lambda: round.is_over(events), "the calls are over")  # noqa: B023 (called at once)
            for port in site.ports:
                round.resume(pool, port, chance, whole=port == owner)
    return rounds


def assert_serves_normally(site: StreamSite, owner: int, elsewhere: int, finish: Path) -> None:
    """Another call runs to its end on the worker, and saves; another worker has all of its stream."""
    round = Round.begin(site, owner, finish)
    with round.stream:
        answer = round.stream.answer()
    assert "result" in answer, answer
    with round.client.start(elsewhere, "kept") as kept:
        assert kept.answer()["result"]["structuredContent"] == SAVED


def assert_one_truth(site: StreamSite, round: Round) -> int:
    """Every reader was given one and the same; how many events lie behind the end."""
    dynamodb = dynamodb_of(site)
    events = event_store(site, dynamodb)
    truth = [(event.event_id, event.data) for event in round.stored(events)]
    (end,) = [place for place, (event_id, _) in enumerate(truth) if event_id.endswith(".~")]
    assert end == len(truth) - 1
    for reading in round.readings:
        given = [(str(frame.event_id), frame.data) for frame in reading.frames.result()]
        after = [event for event in truth if event[0] > reading.cursor]
        if reading.port:
            assert given == after, f"on {reading.port} after {reading.cursor}"
        else:
            # Its own client was connected to the owner, which closes it without a word.
            assert given == after[: len(given)], "the client that never left"
    message = round.readings[-1].frames.result()[-1].message
    assert (message["id"], message["error"]["code"]) == (round.request["id"], -32603)
    with round.client.start(site.any(), "kept") as kept:
        assert kept.answer()["result"]["structuredContent"] == NOT_SAVED, "the fenced call saved"
    # The priming event besides.
    count = len(truth) + 1
    strays = len(round.stored_keys(events)) - count
    assert events.count(round.session_id) == count
    assert event_store(site, dynamodb, count).trim(round.session_id) == 0
    assert len(round.stored_keys(events)) == count
    assert event_store(site, dynamodb, count - 1).trim(round.session_id) == 1
    assert [(event.event_id, event.data) for event in round.stored(events)] == truth
    return strays


def test_an_owner_that_stood_still_adds_nothing_behind_its_streams_ends(
    site: StreamSite, tmp_path: Path, record_property: Callable[[str, Any], None]
) -> None:
    print(f"STOPPED_SEED={SEED}")
    chance = random.Random(SEED)
    rounds: list[Round] = []
    strays: list[int] = []
    stops = 0
    while len(rounds) < ROUNDS:
        met = stop_an_owner(site, chance, min(AT_ONCE, ROUNDS - len(rounds)), tmp_path)
        strays += [assert_one_truth(site, round) for round in met]
        rounds += met
        stops += 1
    readings = sum(len(round.readings) for round in rounds)
    stray = [number for number in strays if number]
    record_property(
        SHOWN,
        f"{stops} stops of an owner of {len(rounds)} streams, {readings} readings; behind the ends of {len(stray)}"
        f" streams lay {sum(stray)} events (seed {SEED})",
    )


def test_a_worker_that_nobody_stopped_saves(site: StreamSite, tmp_path: Path) -> None:
    """The measure of the test above: the same call, and its state."""
    finish = tmp_path / "finish"
    client = Client(site)
    with client.start(site.ports[0], "pour_until", path=str(finish)) as stream:
        stream.messages(10)
        finish.touch()
        assert "result" in stream.answer()
    with client.start(site.ports[1], "kept") as kept:
        assert kept.answer()["result"]["structuredContent"] == SAVED
