"""Workers of the version before beside those of this one, as while a deployment rolls, over the same tables.

Promised: sessions, state, calls, streams and who ends them, standalone streams, answers to questions. Cancellations,
server events and the end of a session are heard by workers of the same version alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import SHOWN
from tests.engines import on_dynamodb_local
from tests.live.checkouts import BEFORE, checkout
from tests.live.storms import assert_nothing_was_lost, begin, logged, text, weather_the_storm
from tests.live.stream_client import Client
from tests.live.stream_sites import StreamSite, stream_site

pytestmark = on_dynamodb_local

LEASE_SECONDS = 2.0
SLACK_SECONDS = 5.0
"""What a busy machine may add to a bound in time."""
CLIENTS = 15
SETTINGS: dict[str, Any] = {
    "STREAM_LEASE_SECONDS": str(LEASE_SECONDS),
    # What never comes is to be missed.
    "STREAM_KEEPALIVE_SECONDS": "60",
    "RECORD_CALLS": "false",
}


@dataclass(frozen=True, slots=True)
class Rolling:
    """A site of three workers, and which they are."""

    site: StreamSite
    before: Path
    old: int
    new: int
    newer: int

    def revive(self, port: int) -> None:
        """Start the worker again that was killed there, of the version that it was."""
        if port == self.old:
            self.site.start_checkout(port, self.before)
        else:
            self.site.start(port)

    @property
    def directions(self) -> list[tuple[int, int]]:
        """One worker of each version, both ways."""
        return [(self.old, self.new), (self.new, self.old)]


@pytest.fixture(scope="module")
def rolling(engine: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rolling]:
    directory = tmp_path_factory.mktemp("rolling")
    before = checkout(BEFORE, directory)
    with stream_site(engine[1], directory, **SETTINGS) as site:
        old, new, newer = site.ports
        site.kill(old)
        site.start_checkout(old, before)
        yield Rolling(site, before, old, new, newer)


@pytest.fixture
def client(rolling: Rolling) -> Client:
    return Client(rolling.site)


def answer(client: Client, port: int, tool: str, /, **arguments: Any) -> Any:
    """What a call answered."""
    with client.start(port, tool, **arguments) as stream:
        return stream.answer()["result"]["structuredContent"]["result"]


# --- Sessions ---------------------------------------------------------------------------------------------------


def test_one_worker_is_of_the_version_before(rolling: Rolling) -> None:
    """The measure of all below."""
    for port, is_old in ((rolling.old, True), (rolling.new, False), (rolling.newer, False)):
        folder = Path(f"/proc/{rolling.site.worker_pid(port)}/cwd").readlink()
        assert (folder == rolling.before) == is_old
    assert (rolling.before / "mcpsite/endpoint/streams/bus.py").exists()


def test_sessions_and_their_state_are_everybodys(rolling: Rolling, tmp_path: Path) -> None:
    (finish := tmp_path / "finish").touch()
    for one, other in permutations(rolling.site.ports, 2):
        client = Client(rolling.site)
        answer(client, one, "pour_until", path=str(finish))
        assert answer(client, other, "kept") == ["poured", "1 pours"]
        answer(client, other, "pour_until", path=str(finish))
        assert answer(client, one, "kept") == ["poured", "2 pours"]
        assert client.end().status == 200
        for port in rolling.site.ports:
            with client.start(port, "kept") as refused:
                assert refused.status == 404


# --- Streams ----------------------------------------------------------------------------------------------------


def test_what_one_stored_is_replayed_by_all(rolling: Rolling, client: Client) -> None:
    for owner in rolling.site.ports:
        with client.start(owner, "count_to", last=30, pause=0) as stream:
            cursor = begin(stream)
            live = stream.messages()
        assert logged(live) == [*range(1, 31)]
        for port in rolling.site.ports:
            with client.get(port, cursor) as replay:
                assert replay.messages() == live


def test_a_storm_of_resumes_loses_and_repeats_nothing(rolling: Rolling) -> None:
    clients = [Client(rolling.site) for _ in range(CLIENTS)]
    with ThreadPoolExecutor(CLIENTS) as pool:
        for received in pool.map(lambda client: weather_the_storm(rolling.site, client), clients):
            assert_nothing_was_lost(received)


def test_neither_ends_the_quiet_stream_of_the_other_while_that_lives(rolling: Rolling, tmp_path: Path) -> None:
    def follow(direction: tuple[int, int]) -> str:
        owner, follower = direction
        client = Client(rolling.site)
        with client.start(owner, "work", seconds=3 * LEASE_SECONDS, mark=str(tmp_path / "mark")) as stream:
            stream.next()
        with client.get(follower, stream.cursor) as rest:
            return text(rest.answer())

    with ThreadPoolExecutor(2) as pool:
        for said in pool.map(follow, rolling.directions):
            assert said.startswith("worked on process")


@pytest.mark.parametrize("gone", ["old", "newer"])
def test_the_stream_of_one_that_is_gone_is_ended_by_a_new_one(rolling: Rolling, tmp_path: Path, gone: str) -> None:
    port: int = getattr(rolling, gone)
    client = Client(rolling.site)
    request = client.message(
        "tools/call", {"name": "work", "arguments": {"seconds": 60, "mark": str(tmp_path / "mark")}}
    )
    with client.send_to(port, request) as stream:
        stream.next()
        rolling.site.kill(port)
    started = time.monotonic()
    try:
        with client.get(rolling.new, stream.cursor) as rest:
            end = rest.answer()
        assert time.monotonic() - started < 2 * LEASE_SECONDS + SLACK_SECONDS
    finally:
        rolling.revive(port)
    assert (end["id"], end["error"]["code"]) == (request["id"], -32603)
    for other in rolling.site.ports:
        with client.get(other, stream.cursor) as again:
            assert again.messages() == [end]


# --- Standalone streams -----------------------------------------------------------------------------------------


def test_a_standalone_stream_is_taken_over(rolling: Rolling) -> None:
    for holds, takes in rolling.directions:
        client = Client(rolling.site)
        with client.get(holds) as older:
            answer(client, holds, "say_aside", first=1, last=3)
            assert logged(older.messages(3)) == [1, 2, 3]
            with client.get(takes, older.cursor) as newer:
                answer(client, takes, "say_aside", first=4, last=6)
                assert logged(newer.messages(3)) == [4, 5, 6]
            # Whoever held it finds out when it has something to send.
            answer(client, holds, "say_aside", first=7, last=8)
            assert older.messages() == []
        answer(client, takes, "say_aside", first=9, last=10)
        for port in (holds, takes):
            with client.get(port, newer.cursor) as last:
                assert sorted(logged(last.messages(4))) == [7, 8, 9, 10]


def test_a_holder_of_the_version_before_looks_for_what_is_said_elsewhere(rolling: Rolling, client: Client) -> None:
    with client.get(rolling.old) as stream:
        answer(client, rolling.new, "say_aside", first=1, last=5)
        assert logged(stream.messages(5)) == [1, 2, 3, 4, 5]


# --- Questions --------------------------------------------------------------------------------------------------


def test_a_clients_answer_arrives_whichever_asked_and_whichever_heard(
    rolling: Rolling, record_property: Callable[[str, Any], None]
) -> None:
    def ask(direction: tuple[int, int]) -> float:
        asks, hears = direction
        client = Client(rolling.site)
        with client.start(asks, "ask_user", question="?") as stream:
            question = stream.next()
            result = {"action": "accept", "content": {"colour": "ä" * 300_000}}
            started = time.monotonic()
            assert client.reply(hears, question, result) == 202
            assert text(stream.answer()) == "ä" * 300_000
            return time.monotonic() - started

    with ThreadPoolExecutor(6) as pool:
        longest = list(pool.map(ask, rolling.directions * 3))
    record_property(
        SHOWN, f"answered within {max(longest[::2]):.2f} s from new to old, {max(longest[1::2]):.2f} s back"
    )
    assert max(longest) < SLACK_SECONDS
