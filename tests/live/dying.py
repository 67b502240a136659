"""Processes of a site that are killed and started again, one after another, while clients go on."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Final, TypeVar

from tests.live.stream_sites import StreamSite

T = TypeVar("T")

BROKEN: Final = (OSError, HTTPException)
"""What a client of a process that dies sees."""
LIFE_SECONDS: Final = (1.0, 3.0)
"""Between a process's start and the next one's end."""
PATIENCE_SECONDS: Final = 60.0


@dataclass
class Deaths:
    """Who has died so far: written down before it happens."""

    site: StreamSite
    of: Counter[int] = field(default_factory=Counter)
    """By port."""
    down: set[int] = field(default_factory=set)
    """The ports of those that are not there yet again."""

    def when_up(self, port: int) -> int:
        """How often a process had died when it was last seen to be there."""
        while port in self.down:
            time.sleep(0.05)
        return self.of[port]

    def anywhere_but(self, port: int | None, attempt: Callable[[int], T]) -> T:
        """What the first process says that can be reached, of all but one."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        ports: Sequence[int] = [one for one in self.site.ports if one != port]
        while True:
            try:
                return attempt(random.choice(ports))
            except BROKEN:
                assert time.monotonic() < deadline, "no process can be reached"
                time.sleep(0.05)


@contextmanager
def dying(site: StreamSite) -> Iterator[Deaths]:
    """Until the end of the block a process of the site is killed every few seconds, and another starts in its place."""
    deaths, is_over = Deaths(site), threading.Event()

    def kill() -> None:
        while not is_over.wait(random.uniform(*LIFE_SECONDS)):
            port = random.choice(site.ports)
            deaths.down.add(port)
            deaths.of[port] += 1
            site.kill(port)
            site.start(port)
            deaths.down.remove(port)

    killing = threading.Thread(target=kill)
    killing.start()
    try:
        yield deaths
    finally:
        is_over.set()
        killing.join()
