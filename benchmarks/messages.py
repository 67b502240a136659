"""What messages between workers cost: read and write units, requests and the busiest partition, by workers and rate.

The workers are ``Worker`` objects, all in this process, over a store and a time that are simulated: counts, which are
the same on every machine. Each worker listens to what is told to all, as with a ``subscriptions/listen`` stream open.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import Final

os.environ |= {"DJANGO_SETTINGS_MODULE": "tests.settings"}

import django
from mcp.server.subscriptions import InMemorySubscriptionBus
from mcp.shared.subscriptions import ResourceUpdated

from benchmarks.report import show, show_origin
from benchmarks.simulated import Store, hold, largest, running, simulate
from mcpsite.endpoint.streams.worker import Worker
from sessions_dynamo import worker_keys
from sessions_dynamo.dataplane.loops import run

TENTH: Final = (100, 300)
"""Write and read units a second: a tenth of what one partition takes."""
QUIET_SECONDS: Final = 60.0
"""Virtual. Longer than a worker takes to read seldom what nothing comes by."""
BUSY_SECONDS: Final = 4.0
"""Virtual. Longer than workers that tell all others something take to find their pace."""
TOPICS: Final = 2_000
"""Resources that change in turn: of one, a worker tells ten times a second at most."""
ADDRESSED, BROADCAST = "to one worker each", "to all others"
CANCELLATION: Final = ["0f8fad5b-d9cb-469f-a165-70867728950e", "17", [3]]
"""What stands in one, of a size as usual."""


@dataclass(frozen=True, slots=True)
class Load:
    """Messages a second of all workers together."""

    kind: str
    workers: int
    rate: int


@dataclass(frozen=True, slots=True)
class Cost:
    """Units, items and requests a second, and units of one partition in its busiest second, with its name."""

    load: Load
    write_units: float
    read_units: float
    put: float
    deleted: float
    read: float
    requests: float
    peaks: tuple[tuple[int, str], tuple[int, str]]

    @property
    def passes_a_tenth(self) -> bool:
        """Whether a partition takes more than a tenth of what it could."""
        return any(peak > tenth for (peak, _), tenth in zip(self.peaks, TENTH, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8, 16, 64])
    parser.add_argument("--rates", type=int, nargs="+", default=[0, 20, 100, 500], help="messages a second")
    parser.add_argument("--seconds", type=int, default=8, help="of virtual time, that are measured")
    options = parser.parse_args()
    django.setup()
    began = time.perf_counter()
    show_origin()
    print((__doc__ or "").partition("\n\n")[2].strip())
    loads = [Load(ADDRESSED, workers, rate) for workers in options.workers for rate in options.rates]
    # Without messages, both are the same; and one worker sends itself none.
    loads = [load for load in loads if load.workers > 1 or not load.rate]
    loads += [Load(BROADCAST, workers, rate) for workers in options.workers for rate in options.rates if rate]
    costs = [measure(load, options.seconds) for load in loads]
    for kind in (ADDRESSED, BROADCAST):
        _show(kind, [cost for cost in costs if cost.load.kind == kind])
    passing = [f"{one.load} {one.peaks}" for one in costs if one.passes_a_tenth]
    print(f"\nOver a tenth of a partition's limits ({TENTH[0]} write, {TENTH[1]} read units a second):")
    print("\n".join(passing) or "none")
    rows = [[state, f"{idle_queries(state):.2f}"] for state in IDLE]
    show("one worker to which nothing comes", ["it has", "queries a second"], rows)
    print(f"\nit took {time.perf_counter() - began:.0f} s; load average {os.getloadavg()[0]:.1f}")


def measure(load: Load, seconds: int) -> Cost:
    """What a load costs, once it has gone on for a while."""
    store = Store()
    return simulate(_measure(load, seconds, store), store)


async def _measure(load: Load, seconds: int, store: Store) -> Cost:
    async with _listening(load.workers) as buses:
        sending = asyncio.create_task(_send(load, buses))
        await asyncio.sleep(BUSY_SECONDS if load.kind == BROADCAST else QUIET_SECONDS)
        store.forget_counts()
        await asyncio.sleep(seconds)
        cost = Cost(
            load,
            store.written.total() / seconds,
            store.read.total() / seconds,
            store.items["put"] / seconds,
            store.items["deleted"] / seconds,
            store.items["read"] / seconds,
            store.requests.total() / seconds,
            (largest(store.written), largest(store.read)),
        )
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
    return cost


@asynccontextmanager
async def _listening(number: int) -> AsyncIterator[dict[Worker, InMemorySubscriptionBus]]:
    """Workers with a stream each that listens, and the buses of their servers."""
    async with running(number) as workers:
        buses = {worker: InMemorySubscriptionBus() for worker in workers}
        for worker, bus in buses.items():
            worker.notifications.attach(bus)
            await worker.attend()
        yield buses


async def _send(load: Load, buses: dict[Worker, InMemorySubscriptionBus]) -> None:
    """Each worker in turn, at equal distances."""
    if not load.rate:
        return
    workers = list(buses)
    async with asyncio.TaskGroup() as sending:
        for number in count():
            worker, following = (workers[(number + place) % len(workers)] for place in (0, 1))
            if load.kind == ADDRESSED:
                sending.create_task(run(worker.streams.inboxes.send(following.worker_id, "cancel", CANCELLATION)))
            else:
                sending.create_task(buses[worker].publish(ResourceUpdated(uri=f"bench://{number % TOPICS}")))
            await asyncio.sleep(1 / load.rate)


# --- Without messages -----------------------------------------------------------------------------------------

IDLE: Final = ("nothing open", "a standalone stream", "a listening stream", "both", "a call that runs")


def idle_queries(state: str, seconds: int = 240) -> float:
    """Queries a second of one worker of two, of which the other tells nothing either."""
    store = Store()
    return simulate(_idle(state, seconds, store), store)


async def _idle(state: str, seconds: int, store: Store) -> float:
    async with running(2) as [worker, _]:
        with ExitStack() as stack:
            worker.notifications.attach(InMemorySubscriptionBus())
            if state in ("a standalone stream", "both"):
                await hold(worker)
            if state in ("a listening stream", "both"):
                await worker.attend()
            if state == "a call that runs":
                stack.enter_context(worker.running("session", 1, lambda: None))
            await asyncio.sleep(QUIET_SECONDS)
            store.forget_counts()
            await asyncio.sleep(seconds)
            return store.requests["Query"] / seconds


def _show(kind: str, costs: Sequence[Cost]) -> None:
    columns = ["workers, messages/s", "WCU/s", "RCU/s", "RCU/s a worker", "requests/s"]
    columns += ["put", "deleted", "read", "most WCU/s", "of", "most RCU/s", "of"]
    rows = []
    for cost in costs:
        load = cost.load
        each = [f"{number / load.rate:.2f}" if load.rate else "-" for number in (cost.put, cost.deleted, cost.read)]
        peaks = [text for peak, name in cost.peaks for text in (str(peak), worker_keys.partition_kind(name))]
        units = [cost.write_units, cost.read_units, cost.read_units / load.workers, cost.requests]
        rows.append([f"{load.workers}, {load.rate}", *(f"{number:.1f}" for number in units), *each, *peaks])
    show(f"messages {kind}; put, deleted and read are items a message, with all that is done besides", columns, rows)


if __name__ == "__main__":
    main()
