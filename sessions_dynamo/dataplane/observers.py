"""Who hears of each request before it is sent: tests that count them, and the record of what needs permission."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, however often it is tried: DynamoDB's name for it, its parameters, its region."""

    action: str
    parameters: Mapping[str, Any]
    region: str


Observer = Callable[[Asked], object]
"""Called on the loop that asks. What it raises is raised in the request's place, and nothing is sent."""

_observers: tuple[Observer, ...] = ()


@contextmanager
def on_request(observer: Observer) -> Iterator[None]:
    """Have the observer hear every request of this process, of whatever loop."""
    global _observers
    _observers = (*_observers, observer)
    try:
        yield
    finally:
        heard = list(_observers)
        heard.remove(observer)
        _observers = tuple(heard)


def observers() -> tuple[Observer, ...]:
    """Those who hear."""
    return _observers
