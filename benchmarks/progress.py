"""One call of a tool that reports progress 200 times: this site, as it stood, and the SDK's own server without storage.

Writes are counted in a call of their own, whose requests are read and asked for their capacity.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections import Counter
from dataclasses import dataclass

from benchmarks import contenders
from benchmarks.callers import Caller
from benchmarks.contenders import Running
from benchmarks.engine import dynamodb_local
from benchmarks.proxy import Meter
from benchmarks.report import ratio, show
from benchmarks.usage import cpu_seconds

MESSAGES = 200
SERVERS = ("ours", "before", "sdk")


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one call, in milliseconds."""

    cpu: float
    took: float


@dataclass(frozen=True, slots=True)
class Writes:
    """Of one call."""

    operations: Counter[str]
    units: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    contenders.add_site(parser)
    parser.add_argument("--before", default="2a29608", help="commit or directory of the site as it stood")
    parser.add_argument("--only", nargs="+", choices=SERVERS, default=SERVERS, metavar="SERVER")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--calls", type=int, default=5, help="in each round, one after the other")
    options = parser.parse_args()
    names = [name for name in SERVERS if name in options.only]
    with (
        dynamodb_local() as engine_url,
        contenders.worktree(options.before) as before,
    ):
        sources = {"ours": options.directory, "before": before}
        settings = dict(options.settings)
        meter = Meter(engine_url)
        with contenders.bench(meter.url, sources, settings) as bench:
            writes = {name: asyncio.run(_writes(bench.start(name), meter)) for name in names if name in sources}
        meter.close()
        with contenders.bench(engine_url, sources, settings) as bench:
            servers = [bench.start(name) for name in names]
            for server in servers:
                asyncio.run(_cost(server, 2))
            costs: dict[str, list[Cost]] = {server.name: [] for server in servers}
            for _ in range(options.rounds):
                for server in servers:
                    costs[server.name].append(asyncio.run(_cost(server, options.calls)))
    _show(writes, costs)


async def _writes(server: Running, meter: Meter) -> Writes:
    caller = await Caller(server.url).begin()
    await _call(caller)
    await asyncio.sleep(1)
    operations, units = meter.operations.copy(), meter.units
    await _call(caller)
    return Writes(meter.operations - operations, meter.units - units)


async def _cost(server: Running, calls: int) -> Cost:
    caller = await Caller(server.url).begin()
    seconds = []
    before = cpu_seconds(server.pid)
    for _ in range(calls):
        began = time.perf_counter()
        await _call(caller)
        seconds.append(time.perf_counter() - began)
    cpu = (cpu_seconds(server.pid) - before) / calls
    caller.connection.close()
    return Cost(cpu * 1000, statistics.median(seconds) * 1000)


async def _call(caller: Caller) -> None:
    params = {"name": "steps", "arguments": {"number": MESSAGES}, "_meta": {"progressToken": 1}}
    *messages, answer = await caller.messages("tools/call", params)
    heard = [message["params"]["progress"] for message in messages if message["method"] == "notifications/progress"]
    if heard != list(range(1, MESSAGES + 1)) or "result" not in answer:
        raise RuntimeError(f"{len(heard)} progress messages, then {answer}")


def _show(writes: dict[str, Writes], costs: dict[str, list[Cost]]) -> None:
    medians = {
        name: Cost(statistics.median(one.cpu for one in each), statistics.median(one.took for one in each))
        for name, each in costs.items()
    }
    sdk = medians.get("sdk", Cost(0.0, 0.0))
    columns = ["", "BatchWriteItem", "all requests", "write units", "CPU ms", "of SDK", "ms", "of SDK"]
    rows = []
    for name, cost in medians.items():
        stored = writes.get(name, Writes(Counter(), 0.0))
        rows.append(
            [
                name,
                str(stored.operations["BatchWriteItem"]),
                str(stored.operations.total()),
                f"{stored.units:g}",
                f"{cost.cpu:.0f}",
                ratio(cost.cpu, sdk.cpu),
                f"{cost.took:.0f}",
                ratio(cost.took, sdk.took),
            ]
        )
    show(f"a call with {MESSAGES} progress messages", columns, rows)


if __name__ == "__main__":
    main()
