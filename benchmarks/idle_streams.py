"""What one process asks of DynamoDB in a minute, and the CPU that it takes, with so many idle standalone streams.

The streams are held by a ``Worker`` over a store and a time that are simulated (``benchmarks.simulated``): what is
counted is all that the worker does by itself, and nothing of a client's. ``benchmarks.streams`` opens sockets.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from collections import Counter
from dataclasses import dataclass
from typing import Final

os.environ |= {"DJANGO_SETTINGS_MODULE": "tests.settings"}

import django
from mcp.server.subscriptions import InMemorySubscriptionBus

from benchmarks.report import show, show_origin
from benchmarks.simulated import Store, hold, running, simulate

QUIET_SECONDS: Final = 60.0
"""Virtual, until everything is read as seldom as it will be."""
TOLERANCE: Final = 0.1


@dataclass(frozen=True, slots=True)
class Minute:
    """Requests by action, and seconds of CPU."""

    requests: Counter[str]
    cpu: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, nargs="+", default=[10, 1_000, 10_000])
    parser.add_argument("--minutes", type=int, default=5, help="of virtual time, that are measured")
    options = parser.parse_args()
    django.setup()
    show_origin()
    minutes = {number: measure(number, options.minutes) for number in options.streams}
    rows = [
        [
            f"{number:,}",
            f"{one.requests.total() / options.minutes:.1f}",
            f"{one.cpu / options.minutes * 1000:.0f}",
            f"{one.cpu / options.minutes / 60:.2%}",
            ", ".join(f"{action} {asked / options.minutes:.1f}" for action, asked in one.requests.most_common()),
        ]
        for number, one in minutes.items()
    ]
    show(
        "idle standalone streams of one process",
        ["streams", "requests/min", "CPU ms/min", "of a core", "of which"],
        rows,
    )
    totals = [one.requests.total() for one in minutes.values()]
    is_equal = max(totals) <= min(totals) * (1 + TOLERANCE)
    print(f"requests are {'' if is_equal else 'NOT '}equal within {TOLERANCE:.0%}; load {os.getloadavg()[0]:.1f}")


def measure(streams: int, minutes: int) -> Minute:
    """What a worker does in so many minutes (virtual), in all."""
    store = Store()
    return simulate(_measure(streams, minutes, store), store)


async def _measure(streams: int, minutes: int, store: Store) -> Minute:
    async with running(1) as [worker]:
        worker.notifications.attach(InMemorySubscriptionBus())
        await asyncio.gather(*[hold(worker) for _ in range(streams)])
        await asyncio.sleep(QUIET_SECONDS)
        store.forget_counts()
        began = time.process_time()
        await asyncio.sleep(60 * minutes)
        return Minute(store.requests.copy(), time.process_time() - began)


if __name__ == "__main__":
    main()
