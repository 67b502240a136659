"""One worker of three whose clock is wrong, by seconds and by minutes: nobody hears, waits or ends by a clock.

``WRONG_CLOCKS=long`` takes four differences for two, and weathers the storm with as many clients as where every clock
is right: ``make clocks``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import NOT_TESTED, SHOWN
from tests.engines import on_dynamodb_local
from tests.live.clocks import FaketimeMissing, clock_off_by, library
from tests.live.stopping import until
from tests.live.storms import assert_nothing_was_lost, logged, weather_the_storm
from tests.live.stream_client import Client, ModernClient
from tests.live.stream_sites import StreamSite, stream_site

pytestmark = on_dynamodb_local

IS_LONG = os.environ.get("WRONG_CLOCKS") == "long"
OFFSETS = [-20, 20, -300, 300] if IS_LONG else [-20, 300]
"""Of the one clock (s)."""
CLIENTS = 100 if IS_LONG else 15
LEASE_SECONDS = 2.0
HEARD_SECONDS = 6.0
"""Long for anything to be heard, on a busy machine; short beside the smallest difference of two clocks here."""


@pytest.fixture(scope="module")
def three(engine: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[StreamSite]:
    try:
        library()
    except FaketimeMissing as exc:
        if os.environ.get("CI") == "true":
            pytest.fail(str(exc))
        pytest.skip(f"{NOT_TESTED} with wrong clocks: {exc}")
    with stream_site(
        engine[1],
        tmp_path_factory.mktemp("clocks"),
        STREAM_LEASE_SECONDS=str(LEASE_SECONDS),
        # What never comes is to be missed.
        STREAM_KEEPALIVE_SECONDS="60",
        RECORD_CALLS="false",
    ) as site:
        yield site


@pytest.fixture(scope="module", params=OFFSETS, ids=lambda seconds: f"{seconds:+d} s")
def site(request: pytest.FixtureRequest, three: StreamSite) -> Iterator[StreamSite]:
    """Three workers; the first one's clock is wrong."""
    wrong = three.ports[0]
    three.kill(wrong)
    three.start(wrong, **clock_off_by(request.param))
    yield three
    three.kill(wrong)
    three.start(wrong)


def pairs(site: StreamSite) -> list[tuple[int, int]]:
    """Every worker with every other."""
    return list(permutations(site.ports, 2))


def test_a_clock_is_wrong(site: StreamSite, request: pytest.FixtureRequest) -> None:
    """The measure of all below."""
    offset = request.node.callspec.params["site"]
    with Client(site).start(site.ports[0], "time_of_day") as stream:
        seconds = float(stream.answer()["result"]["content"][0]["text"])
    assert abs(seconds - time.time() - offset) < HEARD_SECONDS


@pytest.mark.parametrize("begun", [0.0, 1.0], ids=["at once", "after it has left word"])
def test_cancellations_are_heard_by_any_worker_from_any_other(
    site: StreamSite, tmp_path: Path, record_property: Callable[[str, Any], None], begun: float
) -> None:
    def cancel(pair: tuple[int, int]) -> float:
        runs, hears = pair
        client, mark = Client(site), tmp_path / f"{runs}-{hears}"
        request = client.message("tools/call", {"name": "work", "arguments": {"seconds": 60, "mark": str(mark)}})
        with client.send_to(runs, request) as stream:
            stream.next()
            time.sleep(begun)
            notice = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": request["id"]}}
            started = time.monotonic()
            with client.send_to(hears, notice) as accepted:
                assert accepted.status == 202
            until(mark.exists, f"{runs} cancels what {hears} heard")
            took = time.monotonic() - started
            assert mark.read_text() == "cancelled"
        return took

    with ThreadPoolExecutor(6) as pool:
        longest = max(pool.map(cancel, pairs(site)))
    record_property(SHOWN, f"cancelled within {longest:.2f} s")
    assert longest < HEARD_SECONDS


def test_answers_reach_any_worker_from_any_other(site: StreamSite, record_property: Callable[[str, Any], None]) -> None:
    def ask(pair: tuple[int, int]) -> float:
        asks, hears = pair
        client = Client(site)
        with client.start(asks, "ask_user", question="?") as stream:
            question = stream.next()
            started = time.monotonic()
            result = {"action": "accept", "content": {"colour": f"{asks}-{hears}"}}
            assert client.reply(hears, question, result) == 202
            assert stream.answer()["result"]["content"][0]["text"] == f"{asks}-{hears}"
            return time.monotonic() - started

    with ThreadPoolExecutor(6) as pool:
        longest = max(pool.map(ask, pairs(site)))
    record_property(SHOWN, f"answered within {longest:.2f} s")
    assert longest < HEARD_SECONDS


def test_messages_reach_the_standalone_stream_on_any_worker_from_any_other(site: StreamSite) -> None:
    for holds, sends in pairs(site):
        client = Client(site)
        with client.get(holds) as stream:
            with client.start(sends, "say_aside", first=1, last=5) as said:
                said.answer()
            assert logged(stream.messages(5)) == [1, 2, 3, 4, 5]
        with client.get(sends, stream.cursor) as taken, client.start(holds, "say_aside", first=6, last=9) as said:
            said.answer()
            assert logged(taken.messages(4)) == [6, 7, 8, 9]


def test_a_storm_of_resumes_loses_and_repeats_nothing(site: StreamSite) -> None:
    clients = [Client(site) for _ in range(CLIENTS)]
    with ThreadPoolExecutor(CLIENTS) as pool:
        for received in pool.map(lambda client: weather_the_storm(site, client), clients):
            assert_nothing_was_lost(received)


def test_no_worker_ends_the_quiet_stream_of_one_that_lives(site: StreamSite, tmp_path: Path) -> None:
    def follow(pair: tuple[int, int]) -> dict[str, Any]:
        owner, follower = pair
        client = Client(site)
        with client.start(owner, "work", seconds=2.5 * LEASE_SECONDS, mark=str(tmp_path / "mark")) as stream:
            stream.next()
        with client.get(follower, stream.cursor) as rest:
            return rest.answer()

    with ThreadPoolExecutor(6) as pool:
        for answer in pool.map(follow, pairs(site)):
            assert "result" in answer


def test_the_stream_of_one_that_is_gone_ends_after_its_lease(site: StreamSite, tmp_path: Path) -> None:
    wrong, gone, third = site.ports
    client = Client(site)
    with client.start(gone, "work", seconds=60, mark=str(tmp_path / "mark")) as stream:
        stream.next()
        site.kill(gone)
    try:
        started = time.monotonic()
        with client.get(wrong, stream.cursor) as rest, client.get(third, stream.cursor) as again:
            end = rest.answer()
            assert end["error"]["code"] == -32603
            assert again.answer() == end
        assert time.monotonic() - started < LEASE_SECONDS + HEARD_SECONDS
    finally:
        site.start(gone)


def test_what_a_worker_announces_reaches_subscribers_of_any_other(site: StreamSite) -> None:
    client = ModernClient(site)
    for listens, announces in pairs(site):
        with client.listen(listens, "test://a") as subscription:
            subscription.next()
            with client.start(announces, "announce", uri="test://a") as announced:
                announced.answer()
            assert subscription.next()["params"]["uri"] == "test://a"
