"""What messages cost real workers: each a process of its own over DynamoDB Local, which counts the units itself.

``benchmarks.messages`` counts the same over a simulated store, for as many workers as one likes; here is what stands
behind it. Each worker listens to what is told to all, as with a ``subscriptions/listen`` stream open.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mcpsite.settings")

import django
from mcp.server.subscriptions import InMemorySubscriptionBus
from mcp.shared.subscriptions import ResourceUpdated

from benchmarks.engine import part_environment
from benchmarks.report import show, show_origin
from mcpsite.endpoint.streams.worker import Worker
from sessions_dynamo.dataplane.loops import plane_of_this_loop, run
from tests.conformance.processes import ROOT

ADDRESSED, BROADCAST = "to one worker each", "to all others"
IDLE_SECONDS: Final = 40.0
"""Longer than a worker reads often after the last that it expected."""
WARM_SECONDS: Final = 4.0
WRITES: Final = frozenset({"BatchWriteItem", "DeleteItem", "PutItem", "UpdateItem"})
CANCELLATION: Final = ["0f8fad5b-d9cb-469f-a165-70867728950e", "17", [3]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, nargs="+", default=[2, 8])
    parser.add_argument("--rates", type=int, nargs="+", default=[0, 100], help="messages a second, of all together")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        kind, workers, rate = options.worker
        print(json.dumps(asyncio.run(_worker(kind, int(workers), float(rate), options.seconds))))
        return
    show_origin()
    rows = [
        _row(kind, workers, rate, options.seconds)
        for kind in (ADDRESSED, BROADCAST)
        for workers in options.workers
        for rate in options.rates
        if rate or kind == ADDRESSED
    ]
    columns = ["messages", "workers", "wanted/s", "sent/s", "WCU/s", "RCU/s", "RCU/s a worker", "requests/s a worker"]
    show("units that DynamoDB Local counted", columns, rows)


def _row(kind: str, workers: int, rate: int, seconds: float) -> list[str]:
    with part_environment() as env:
        subprocess.run([sys.executable, "manage.py", "dynamodb_setup"], cwd=ROOT, env=env, check=True, stdout=-3)
        command = [sys.executable, "-m", "benchmarks.worker_units", "--seconds", str(seconds)]
        command += ["--worker", kind, str(workers), str(rate / workers)]
        children = [
            subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True)  # noqa: S603 (our own)
            for _ in range(workers)
        ]
        found: Counter[str] = Counter()
        for child in children:
            answer, _ = child.communicate()
            found.update(json.loads(answer))
    sent, written, read, requests = (found[name] / seconds for name in ("sent", "written", "read", "requests"))
    figures = (sent, written, read, read / workers, requests / workers)
    return [kind, str(workers), str(rate), *(f"{figure:.1f}" for figure in figures)]


async def _worker(kind: str, workers: int, rate: float, seconds: float) -> dict[str, float]:
    """What one worker among so many asked for, while each sends so many messages a second."""
    django.setup()
    counted: Counter[str] = Counter()
    _count(counted)
    worker, bus = Worker(), InMemorySubscriptionBus()
    serving = asyncio.create_task(worker.run())
    worker.notifications.attach(bus)
    await worker.attend()
    await worker.lease.hold()
    while len(ids := sorted(one.worker_id for one in (await run(worker.streams.roster.all())).workers)) < workers:
        await asyncio.sleep(0.2)
    following = ids[(ids.index(worker.worker_id) + 1) % workers]
    sending = asyncio.create_task(_send(kind, worker, following, bus, rate, counted))
    await asyncio.sleep(WARM_SECONDS if rate else IDLE_SECONDS)
    counted.clear()
    await asyncio.sleep(seconds)
    found = dict(counted)
    # For the others to be counted until the end.
    await asyncio.sleep(3)
    for task in (sending, serving):
        task.cancel()
    await asyncio.gather(sending, serving, return_exceptions=True)
    return found


async def _send(
    kind: str, worker: Worker, following: str, bus: InMemorySubscriptionBus, rate: float, counted: Counter[str]
) -> None:
    if not rate or following == worker.worker_id:
        return
    number, begun = 0, time.monotonic()
    while True:
        number += 1
        counted["sent"] += 1
        if kind == ADDRESSED:
            await run(worker.streams.inboxes.send(following, "cancel", CANCELLATION))
        else:
            await bus.publish(ResourceUpdated(uri=f"bench://{worker.worker_id}/{number % 200}"))
        await asyncio.sleep(max(0.0, begun + number / rate - time.monotonic()))


def _count(counted: Counter[str]) -> None:
    """Have DynamoDB Local say what each request takes."""
    plane: Any = plane_of_this_loop()
    request = plane.request

    async def counting(action: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = await request(action, {**parameters, "ReturnConsumedCapacity": "TOTAL"})
        consumed = answer.get("ConsumedCapacity", [])
        for one in consumed if isinstance(consumed, list) else [consumed]:
            counted["written" if action in WRITES else "read"] += one["CapacityUnits"]
        counted["requests"] += 1
        return answer

    plane.request = counting


if __name__ == "__main__":
    main()
