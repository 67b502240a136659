"""Of what changes all the time: the first at once, some of it meanwhile, and always the last."""

from __future__ import annotations

import asyncio
import time

from mcpsite.endpoint.peers.coalescing import TOPIC_SECONDS, Coalescer
from tests.mcpsite.endpoint.streams.support import until


class Passed:
    """What a coalescer passed on, whether at once or later."""

    def __init__(self, seconds: float = TOPIC_SECONDS) -> None:
        self.all: list[tuple[str, int]] = []
        self.coalescer = Coalescer[int](self._later, seconds)

    def put(self, topic: str, value: int) -> None:
        if self.coalescer.admits(topic, value):
            self.all.append((topic, value))

    def _later(self, topic: str, value: int) -> None:
        self.all.append((topic, value))


async def test_five_hundred_a_second_are_some_ten_and_the_last_is_among_them() -> None:
    passed = Passed()
    began = time.monotonic()
    for number in range(500):
        passed.put("x", number)
        await asyncio.sleep(0.002)
    assert passed.all[0] == ("x", 0)
    await until(lambda: ("x", 499) in passed.all)
    assert len(passed.all) <= (time.monotonic() - began) / TOPIC_SECONDS + 1
    assert passed.all == sorted(passed.all)
    await until(lambda: not passed.coalescer._resting)
    assert passed.all[-1] == ("x", 499)


async def test_a_topic_waits_for_no_other() -> None:
    passed = Passed(seconds=60)
    for number in range(3):
        for topic in "abc":
            passed.put(topic, number)
    assert passed.all == [("a", 0), ("b", 0), ("c", 0)]
    assert passed.coalescer.is_waiting
    passed.coalescer.close()
    assert not passed.coalescer.is_waiting


async def test_after_a_quiet_time_the_next_goes_at_once_and_nothing_is_kept() -> None:
    passed = Passed(seconds=0.01)
    passed.put("x", 1)
    assert not passed.coalescer.is_waiting
    await until(lambda: not passed.coalescer._resting)
    passed.put("x", 2)
    assert passed.all == [("x", 1), ("x", 2)]


async def test_what_is_closed_passes_nothing_on() -> None:
    passed = Passed(seconds=0.01)
    passed.put("x", 1)
    passed.put("x", 2)
    passed.coalescer.close()
    await asyncio.sleep(0.05)
    assert passed.all == [("x", 1)]
