"""Parked streams on one process: memory, DynamoDB requests, and the calls that are answered beside them."""

from __future__ import annotations

import argparse
import time

from benchmarks.clients import Client
from benchmarks.sites import bench_site

CALLS = 300


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--threads", type=int, default=256)
    parser.add_argument("--minutes", type=float, default=1.0)
    options = parser.parse_args()
    with bench_site(threads=options.threads, MAX_STREAMS=str(options.streams + 20)) as bench:
        url = bench.urls[0]
        caller = Client(url).begin()
        alone = _rate(caller)
        clients = [Client(url).begin() for _ in range(options.streams)]
        before = bench.resident_kib()
        streams = [client.stream() for client in clients]
        time.sleep(5)
        after = bench.resident_kib()
        print(f"{len(streams)} parked streams: {(after - before) / len(streams):.0f} KiB resident each")
        print(f"calls beside them: {_rate(caller) / alone:.2f} times the rate without ({alone:.0f} calls/s)")
        minutes = 0.0
        while minutes < options.minutes:
            step = min(1.0, options.minutes - minutes)
            requests, start = bench.relay.total, bench.relay.operations.copy()
            time.sleep(60 * step)
            minutes += step
            spent = bench.relay.total - requests
            # Of the process: a stream that is idle asks for nothing of its own.
            by_operation = ", ".join(f"{name} {n}" for name, n in (bench.relay.operations - start).most_common())
            print(
                f"minute {minutes:g}: {bench.resident_kib()} KiB resident,"
                f" {spent / step:.0f} DynamoDB requests a minute ({by_operation})",
                flush=True,
            )
        still = caller.on(url).call("nothing")
        print(f"still answering: {still['content'][0]['text']!r}")


def _rate(caller: Client) -> float:
    started = time.perf_counter()
    for _ in range(CALLS):
        caller.request("tools/list")
    return CALLS / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
