"""Processes that ring for each other, while what carries that dies, stalls and comes back."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest

from tests.engines import EngineMissing, on_dynamodb_local
from tests.live.questions import ask
from tests.live.stream_sites import StreamSite, stream_site
from tests.mcpsite.endpoint.peers.redis_server import RedisServer, redis_server

pytestmark = on_dynamodb_local

ROUNDS = 200
AT_ONCE = 10
OUTAGES = 4
"""At least, in the course of the rounds."""


@pytest.fixture(scope="module")
def bell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with ExitStack() as stack:
        try:
            server = stack.enter_context(redis_server(tmp_path_factory.mktemp("bell")))
        except EngineMissing as exc:
            if os.environ.get("CI") == "true":
                pytest.fail(str(exc))
            pytest.skip(f"NOT TESTED with a bell: {exc}")
        yield server


@pytest.fixture(scope="module")
def site(engine: tuple[str, str], bell: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StreamSite]:
    with stream_site(
        engine[1],
        tmp_path_factory.mktemp("bell_site"),
        BUS_URL=bell.url,
        MCP_AUTH="tests.live.servers_for_streams.by_name",
    ) as site:
        yield site


@contextmanager
def broken_now_and_then(bell: RedisServer) -> Iterator[list[str]]:
    """What was done to the bell so far: killed and started again, or stalled, every two or three seconds."""
    done: list[str] = []
    is_over = threading.Event()
    chance = random.Random(14)

    def disturb() -> None:
        while not is_over.wait(chance.uniform(2, 3)):
            if len(done) % 2:
                bell.stall()
                is_over.wait(chance.uniform(1, 3))
                bell.resume()
            else:
                bell.kill()
                is_over.wait(chance.uniform(0, 2))
                bell.start()
            done.append("stalled" if len(done) % 2 else "killed")

    disturbing = threading.Thread(target=disturb)
    disturbing.start()
    try:
        yield done
    finally:
        is_over.set()
        disturbing.join()


def test_no_answer_is_lost_while_the_bell_dies_and_stalls(site: StreamSite, bell: RedisServer) -> None:
    with broken_now_and_then(bell) as done, ThreadPoolExecutor(AT_ONCE) as pool:

        def round_(number: int) -> tuple[str, list[str]]:
            answer, messages = ask(site, number)
            time.sleep(0.5)
            return answer, [message["result"]["content"][0]["text"] for message in messages]

        outcomes = list(pool.map(round_, range(ROUNDS)))
        while len(done) < OUTAGES:
            outcomes += pool.map(round_, range(AT_ONCE))
    assert [texts for _, texts in outcomes] == [[answer] for answer, _ in outcomes]
