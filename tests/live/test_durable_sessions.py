"""A session is everybody's: stored through one process, read through another, and after both were killed."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.engines import on_dynamodb_local
from tests.live.servers import OverHttp, Server
from tests.mcpsite.peers import LegacyPeer, ModernPeer

pytestmark = on_dynamodb_local

THREADS = 50
CALLS = 2000
PROFILE = {"name": "Alice", "roles": ["admin", None], "size": 2**70, "ratio": -0.0, "long": "x" * 5000}


def _stored_through(send: OverHttp, era: type[Any]) -> Any:
    peer = era(send).connect() if era is LegacyPeer else era(send)
    assert peer.call("store_app_state", key="user_profile", data=PROFILE).data["stored"] is True
    assert peer.call("lambda_operation", operation="batch", input=1).data["execution_count"] == 1
    return peer


def _same_through(send: OverHttp, peer: Any) -> Any:
    peer.send = send
    found = peer.call("get_app_state", key="user_profile")
    assert found.data == {"found": True, "key": "user_profile", "data": PROFILE}
    return peer


@pytest.mark.parametrize("era", [LegacyPeer, ModernPeer])
def test_a_session_outlives_every_process(three_gunicorns: list[Server], era: type[Any]) -> None:
    first, second, _ = three_gunicorns
    peer = _stored_through(first.connect(), era)
    _same_through(second.connect(), peer)
    assert peer.call("lambda_operation", operation="batch", input=2).data["execution_count"] == 2

    first.kill()
    second.kill()
    for server in (first, second):
        server.start()
        _same_through(server.connect(), peer)
    assert peer.call("lambda_operation", operation="batch", input=3).data["execution_count"] == 3


def test_a_session_that_ends_in_one_process_has_ended_in_all(three_gunicorns: list[Server]) -> None:
    first, second, third = (server.connect() for server in three_gunicorns)
    peer = LegacyPeer(first).connect()
    assert peer.end().status == 200
    for send in (second, third):
        peer.send = send
        assert peer.request("ping").status == 404


def _in_threads(servers: list[Server], work: Callable[[OverHttp, int], None]) -> float:
    """Run work in ``THREADS`` threads that begin together, each connected to one server; the seconds it took."""
    begin = threading.Barrier(THREADS + 1)

    def run(number: int) -> None:
        send = servers[number % len(servers)].connect()
        begin.wait()
        work(send, number)

    with ThreadPoolExecutor(THREADS) as pool:
        running = [pool.submit(run, number) for number in range(THREADS)]
        begin.wait()
        started = time.perf_counter()
        for future in running:
            future.result()
        return time.perf_counter() - started


def test_concurrent_calls_on_one_session_are_counted_exactly(
    three_gunicorns: list[Server], record_property: Callable[[str, object], None]
) -> None:
    session = LegacyPeer(three_gunicorns[0].connect()).connect()
    counts: list[int] = []

    def work(send: OverHttp, number: int) -> None:
        peer = LegacyPeer(send, session.headers)
        for run in range(CALLS // THREADS):
            executed = peer.call("lambda_operation", operation="batch", input=[number, run])
            counts.append(executed.data["execution_count"])

    seconds = _in_threads(three_gunicorns, work)

    assert sorted(counts) == list(range(1, CALLS + 1)), Counter(counts).most_common(3)
    assert session.call("lambda_operation", operation="batch", input=None).data["execution_count"] == CALLS + 1
    record_property("calls_per_second", round(CALLS / seconds))
    print(f"{CALLS} calls by {THREADS} threads on 3 processes in {seconds:.1f} s: {CALLS / seconds:.0f} a second")


def test_distinct_keys_written_at_once_are_all_there(three_gunicorns: list[Server]) -> None:
    session = LegacyPeer(three_gunicorns[0].connect()).connect()

    def work(send: OverHttp, number: int) -> None:
        stored = LegacyPeer(send, session.headers).call("store_app_state", key=f"key-{number}", data={"by": number})
        assert stored.data["stored"] is True

    _in_threads(three_gunicorns, work)

    for number in range(THREADS):
        assert session.call("get_app_state", key=f"key-{number}").data["data"] == {"by": number}
