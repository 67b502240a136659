"""What a process keeps: after 1,000 calls, after 100,000, and after rounds of 1,000 streams that were dropped by RST.

Memory that was in use once stays resident where the allocator cannot give it back: what grows from round to round is
a leak, and what does not is the most that was in use at a time.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from typing import Final

from benchmarks import contenders, usage
from benchmarks.contenders import Running
from benchmarks.driver import Driver, Job
from benchmarks.engine import dynamodb_local
from benchmarks.holder import Holders, raise_open_files
from benchmarks.report import ratio, show
from benchmarks.streams import serve

FIRST_CALLS: Final = 1000
CLIENTS: Final = 8


@dataclass(frozen=True, slots=True)
class Kept:
    """What the worker holds at one time."""

    after: str
    kib: int
    threads: int
    files: int
    clients: int
    """Connections from clients; those to DynamoDB stay for the next call."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    contenders.add_site(parser)
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--at-once", type=int, metavar="STREAMS", help="of these; all by default")
    parser.add_argument("--rounds", type=int, default=3, help="of streams, one after the other")
    parser.add_argument("--settle", type=float, default=60.0, metavar="SECONDS", help="before each look")
    options = parser.parse_args()
    raise_open_files()
    with dynamodb_local() as engine_url, contenders.bench(engine_url, {}, dict(options.settings)) as bench:
        server = serve(bench, options.directory, options.streams)
        driver = Driver()
        try:
            kept = [_kept("the start", server, 0.0)]
            _call(driver, server, FIRST_CALLS)
            kept.append(_kept(f"{FIRST_CALLS:,} calls", server, options.settle))
            _call(driver, server, options.calls - FIRST_CALLS)
            kept.append(_kept(f"{options.calls:,} calls", server, options.settle))
            for dropped in range(options.streams, (options.rounds + 1) * options.streams, options.streams):
                kept += _held(server, options.streams, options.at_once or options.streams)
                kept.append(_kept(f"{dropped:,} streams dropped", server, options.settle))
        finally:
            driver.close()
    columns = ["after", "RSS KiB", "of 1,000 calls", "threads", "open files", "of clients"]
    rows = [
        [
            one.after,
            f"{one.kib:,}",
            ratio(one.kib, kept[1].kib),
            str(one.threads),
            str(one.files),
            str(one.clients),
        ]
        for one in kept
    ]
    show("what the worker keeps", columns, rows)


def _call(driver: Driver, server: Running, calls: int) -> None:
    """Stores and reads, half each."""
    for tool in ("store", "read"):
        driver.run(Job(server.url, server.pid, tool, CLIENTS, calls=calls // 2))


def _held(server: Running, number: int, at_once: int) -> list[Kept]:
    """While the first streams are open; all have been dropped when this returns."""
    held = []
    for opened in range(0, number, at_once):
        holders = Holders(server.url, min(at_once, number - opened))
        try:
            holders.wait_until_open()
            if not opened:
                held.append(_kept(f"{at_once:,} streams opened", server, 1.0))
            holders.abort()
        finally:
            holders.close()
    return held


def _kept(after: str, server: Running, settle: float) -> Kept:
    time.sleep(settle)
    pid = usage.worker(server.pid)
    return Kept(after, usage.resident_kib(pid), usage.threads(pid), usage.files(pid), usage.clients(pid, server.port))


if __name__ == "__main__":
    main()
