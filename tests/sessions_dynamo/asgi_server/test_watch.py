"""What the watch over the loop says and counts."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from sessions_dynamo import metrics
from sessions_dynamo.asgi_server.watch import BLOCKED_SECONDS, TICK_SECONDS, LoopWatch


def _while_watched(monkeypatch: pytest.MonkeyPatch, block: float, pause: float = 0) -> list[str]:
    counted: list[str] = []
    monkeypatch.setattr(metrics, "count", counted.append)

    async def main() -> None:
        watch = LoopWatch(asyncio.get_running_loop())
        time.sleep(block)
        await asyncio.sleep(pause or 3 * TICK_SECONDS)
        watch.end()

    asyncio.run(main())
    return counted


def test_a_block_is_counted_once_and_logged_with_its_stack_and_its_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert _while_watched(monkeypatch, block=BLOCKED_SECONDS + 4 * TICK_SECONDS) == ["LoopBlocked"]
    begun, ended = (record.getMessage() for record in caplog.records)
    assert "test_watch.py" in begun
    assert "time.sleep(block)" in begun
    assert ended.startswith("The loop was blocked for ")


def test_a_loop_that_waits_for_events_is_not_blocked(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert _while_watched(monkeypatch, block=0, pause=BLOCKED_SECONDS + 3 * TICK_SECONDS) == []
    assert caplog.records == []


def test_the_watch_ends() -> None:
    async def main() -> None:
        # One that an earlier test ended may not have been given its turn to return.
        before = set(threading.enumerate())
        watch = LoopWatch(asyncio.get_running_loop())
        (thread,) = (thread for thread in set(threading.enumerate()) - before if thread.name == "loop-watch")
        watch.end()
        await asyncio.to_thread(thread.join, 10)
        assert not thread.is_alive()

    asyncio.run(main())


def test_many_callbacks_that_together_take_their_time_accuse_none(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(metrics, "count", lambda name: None)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        watch = LoopWatch(loop)
        for _ in range(40):
            loop.call_soon(time.sleep, 0.05)
        await asyncio.sleep(2 + 3 * TICK_SECONDS)
        watch.end()

    asyncio.run(main())
    assert caplog.records == []
