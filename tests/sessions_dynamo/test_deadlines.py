"""Deadlines that are moved: they pass when they should, whatever they were before."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from typing import Any, cast

import pytest

from sessions_dynamo.deadlines import Deadline

PERIOD = 30.0


class Clock:
    """A loop's clock and its timers; time passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.made = 0
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], Any]) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, (), cast("asyncio.AbstractEventLoop", self))
        self.made += 1
        heapq.heappush(self._timers, (when, self.made, handle))
        return handle

    def get_debug(self) -> bool:
        return False

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        pass

    def waits(self) -> bool:
        return any(not handle.cancelled() for _, _, handle in self._timers)

    def pass_by(self, seconds: float) -> None:
        until = self.now + seconds
        while self._timers and self._timers[0][0] <= until:
            when, _, handle = heapq.heappop(self._timers)
            self.now = max(self.now, when)
            if not handle.cancelled():
                handle._run()
        self.now = until


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def missed() -> list[float]:
    return []


@pytest.fixture
def deadline(clock: Clock, missed: list[float]) -> Deadline:
    return Deadline(cast("asyncio.AbstractEventLoop", clock), PERIOD, lambda: missed.append(clock.now - 1000))


@pytest.mark.parametrize("seconds", [0, 0.5, PERIOD, 75.0, 1000.0])
def test_it_passes_at_its_time_and_once(clock: Clock, deadline: Deadline, missed: list[float], seconds: float) -> None:
    deadline.set(seconds)
    clock.pass_by(5000)
    assert missed == [seconds]
    assert not deadline.is_set
    assert not clock.waits()


@pytest.mark.parametrize(("first", "then"), [(75, 30), (30, 75), (30, 2), (2, 30), (75, 1)])
def test_it_is_moved_to_either_side(
    clock: Clock, deadline: Deadline, missed: list[float], first: float, then: float
) -> None:
    deadline.set(first)
    clock.pass_by(1)
    deadline.set(then)
    clock.pass_by(5000)
    assert missed == [1 + then]


def test_one_that_is_moved_all_the_time_never_passes_and_costs_a_timer_a_period(
    clock: Clock, deadline: Deadline, missed: list[float]
) -> None:
    for _ in range(3000):
        deadline.set(PERIOD)
        clock.pass_by(0.05)
        deadline.lift()
        deadline.set(75)
        clock.pass_by(0.05)
    assert missed == []
    assert clock.made <= 300 / PERIOD + 2


def test_lifted_or_ended_it_does_not_pass(clock: Clock, deadline: Deadline, missed: list[float]) -> None:
    deadline.set(10)
    deadline.lift()
    clock.pass_by(100)
    assert not clock.waits()
    deadline.set(10)
    deadline.end()
    assert not clock.waits()
    clock.pass_by(100)
    assert missed == []


def test_a_period_of_nothing_does_not_spin(clock: Clock, missed: list[float]) -> None:
    restless = Deadline(cast("asyncio.AbstractEventLoop", clock), 0, lambda: missed.append(clock.now - 1000))
    restless.set(1)
    clock.pass_by(10)
    assert missed == [1]
    assert clock.made <= 102


def test_it_may_be_set_again_by_what_it_calls(clock: Clock, missed: list[float]) -> None:
    def again() -> None:
        missed.append(clock.now - 1000)
        if len(missed) < 3:
            one.set(5)

    one = Deadline(cast("asyncio.AbstractEventLoop", clock), PERIOD, again)
    one.set(5)
    clock.pass_by(100)
    assert missed == [5, 10, 15]
