"""The newest of each topic, passed on at most so often: what changes all the time is heard of all the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

T = TypeVar("T")

TOPIC_SECONDS: Final = 0.1


@dataclass(slots=True)
class _Rest(Generic[T]):
    timer: asyncio.TimerHandle
    waiting: list[T]
    """The newest of what came meanwhile, or nothing."""


class Coalescer(Generic[T]):
    """Lets a topic rest for ``seconds`` after each time. On one event loop."""

    def __init__(self, pass_on: Callable[[str, T], None], seconds: float = TOPIC_SECONDS) -> None:
        """``pass_on`` is called with a topic and what waited for the end of its rest."""
        self._pass_on = pass_on
        self._seconds = seconds
        self._resting: dict[str, _Rest[T]] = {}

    @property
    def is_waiting(self) -> bool:
        """Whether anything will be passed on by itself."""
        return any(rest.waiting for rest in self._resting.values())

    def admits(self, topic: str, value: T) -> bool:
        """Whether the caller is to pass it on now; else it is, once the topic has rested, if no newer one comes."""
        rest = self._resting.get(topic)
        if rest is None:
            self._rest(topic)
            return True
        rest.waiting = [value]
        return False

    def close(self) -> None:
        """Pass on nothing more, and forget what waits."""
        for rest in self._resting.values():
            rest.timer.cancel()
        self._resting.clear()

    def _rest(self, topic: str) -> None:
        timer = asyncio.get_running_loop().call_later(self._seconds, self._rested, topic)
        self._resting[topic] = _Rest(timer, [])

    def _rested(self, topic: str) -> None:
        waiting = self._resting.pop(topic).waiting
        if waiting:
            self._rest(topic)
            self._pass_on(topic, waiting[0])
