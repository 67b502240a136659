"""DynamoDB requests per operation, and the rate of calls of one process."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from benchmarks.clients import Client
from benchmarks.sites import Bench, bench_site

CLIENTS = 8
SECONDS = 5.0


def main() -> None:
    with bench_site() as bench:
        print("DynamoDB requests per operation (besides the touch once a minute):")
        client = Client(bench.urls[0])
        _count(bench, "initialize + initialized", client.begin)
        modern = Client(bench.urls[0], modern=True)
        operations: dict[str, Callable[[], object]] = {
            "ping": lambda: client.request("ping"),
            "tools/list": lambda: client.request("tools/list"),
            "a call that reads": lambda: client.call("read"),
            "a call that stores": lambda: client.call("store", value="x"),
            "a counter": lambda: client.call("count"),
            "10 progress notifications": lambda: _progress(client),
            "tools/list, 2026-07-28": lambda: modern.request("tools/list"),
            "a call that stores, 2026-07-28, new handle": lambda: modern.call("store", value="x"),
        }
        for name, operation in operations.items():
            _count(bench, name, operation)
        print(f"Calls a second, {CLIENTS} clients, one process:")
        for name in ("nothing", "read"):
            print(f"  {name}: {_rate(bench, name):.0f}")


def _progress(client: Client) -> None:
    client.request("tools/call", {"name": "steps", "arguments": {"number": 10}, "_meta": {"progressToken": 1}})


def _count(bench: Bench, name: str, operation: Callable[[], object]) -> None:
    before = bench.relay.operations.copy()
    operation()
    time.sleep(0.2)
    spent: Counter[str] = bench.relay.operations - before
    print(f"  {name}: {spent.total()} ({', '.join(f'{key} {n}' for key, n in spent.items()) or 'none'})")


def _rate(bench: Bench, tool: str) -> float:
    clients = [Client(bench.urls[0]).begin() for _ in range(CLIENTS)]
    ends = time.perf_counter() + SECONDS

    def work(client: Client) -> int:
        calls = 0
        while time.perf_counter() < ends:
            client.call(tool)
            calls += 1
        return calls

    with ThreadPoolExecutor(CLIENTS) as pool:
        return sum(pool.map(work, clients)) / SECONDS


if __name__ == "__main__":
    main()
