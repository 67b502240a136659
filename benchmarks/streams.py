"""Open GET streams on one process: their memory, what is answered beside them, and how soon SIGTERM releases them."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import statistics
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from benchmarks import contenders, usage
from benchmarks.callers import Caller
from benchmarks.connections import Connection
from benchmarks.contenders import Bench, Running
from benchmarks.counting import CountingRelay
from benchmarks.engine import dynamodb_local
from benchmarks.holder import Holders, raise_open_files
from benchmarks.report import show

PROBES: Final = 200
SETTLING_SECONDS: Final = 5.0

Medians = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    contenders.add_site(parser)
    parser.add_argument("--streams", type=int, default=10_000)
    parser.add_argument("--minutes", type=float, default=1.0, help="for which DynamoDB requests are counted")
    options = parser.parse_args()
    limit = raise_open_files()
    if limit < options.streams + 200:
        parser.error(f"{limit} open files are allowed: fewer streams, or 'ulimit -Hn' as root")
    with dynamodb_local() as engine_url:
        relay = CountingRelay(engine_url)
        with contenders.bench(relay.url, {}, dict(options.settings)) as bench:
            _measure(bench, relay, options.directory, options.streams, options.minutes)
        relay.close()


def serve(bench: Bench, directory: Path, streams: int) -> Running:
    """The site, with room for so many streams."""
    room = {"MAX_STREAMS": str(streams + 100)}
    if "mcpsite.wsgi" in contenders.image_command(directory):
        # A stream takes a thread there.
        room["THREADS"] = str(streams + 164)
    return bench.site("ours", directory, **room)


def _measure(bench: Bench, relay: CountingRelay, directory: Path, number: int, minutes: float) -> None:
    server = serve(bench, directory, number)
    worker = usage.worker(server.pid)
    alone = asyncio.run(_probe(server))
    empty = usage.resident_kib(worker)
    began = time.monotonic()
    holders = Holders(server.url, number)
    try:
        holders.wait_until_open()
        took = time.monotonic() - began
        time.sleep(SETTLING_SECONDS)
        full = usage.resident_kib(worker)
        print(f"{number:,} streams in {took:.0f} s: {(full - empty) / number:.1f} KiB resident each ({full:,} KiB)")
        beside = asyncio.run(_probe(server))
        columns = ["median ms", "alone", f"beside {number:,} streams"]
        show("answered beside them", columns, [[name, f"{alone[name]:.1f}", f"{beside[name]:.1f}"] for name in alone])
        start, cpu = relay.operations.copy(), usage.cpu_seconds(server.pid)
        time.sleep(60 * minutes)
        spent, cpu = relay.operations - start, usage.cpu_seconds(server.pid) - cpu
        named = ", ".join(f"{name} {count / minutes:.0f}" for name, count in spent.most_common()) or "none"
        print(f"\nDynamoDB requests a minute: {spent.total() / minutes:.0f} ({named})")
        print(f"CPU meanwhile: {cpu / minutes / 60:.1%} of a core; {usage.threads(worker)} threads")
        stopped = time.monotonic()
        os.kill(server.pid, signal.SIGTERM)
        print(f"released {holders.ended() - stopped:.2f} s after SIGTERM", flush=True)
        while usage.alive(worker):
            time.sleep(0.05)
        print(f"the worker had ended {time.monotonic() - stopped:.2f} s after it")
    finally:
        holders.close()


async def _probe(server: Running) -> Medians:
    caller = await Caller(server.url).begin()
    health = Connection(f"{server.origin}/healthz")

    async def healthz() -> None:
        answer = await health.request("GET")
        if answer.status != 200:
            raise RuntimeError(answer.first)

    medians = {"/healthz": await _median(healthz), "ping": await _median(lambda: caller.request("ping"))}
    health.close()
    caller.connection.close()
    return medians


async def _median(ask: Callable[[], Awaitable[Any]]) -> float:
    seconds = []
    for _ in range(PROBES):
        began = time.perf_counter()
        await ask()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds) * 1000


if __name__ == "__main__":
    main()
