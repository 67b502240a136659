"""A call that stores and a call that reads, of this site and of what it is compared with, by turns in one run.

One process each, on one DynamoDB Local. A round measures every server at every number of clients; what is printed is
the median of the rounds. With ``--delay`` each answer of DynamoDB takes so much longer, and the medians are compared
with that of the requests alone. ``--only`` chooses servers; one that cannot be installed is left out.
"""

from __future__ import annotations

import argparse
import statistics
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks import contenders
from benchmarks.contenders import Bench, Running
from benchmarks.driver import CallFailed, Driver, Figures, Job
from benchmarks.engine import dynamodb_local
from benchmarks.peers import environments
from benchmarks.proxy import Proxy
from benchmarks.report import ratio, show
from tests.conformance.processes import DidNotStart

TOOLS = ("store", "read")
WARM_CALLS: Final = 200
COUNTED_CALLS: Final = 20

_NOTHING: Final = Figures(0, 0.0, 0.0, 0.0, 0.0)

Case = tuple[str, int, str]
"""Tool, clients, server."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    contenders.add_site(parser)
    parser.add_argument("--before", default="2a29608", help="commit or directory of the site as it stood")
    parser.add_argument("--only", nargs="+", choices=contenders.NAMES, default=contenders.NAMES, metavar="SERVER")
    parser.add_argument("--clients", type=int, nargs="+", metavar="NUMBER", help="default: 1 8 32, with --delay 8")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--delay", type=float, default=0.0, metavar="MS", help="of each answer of DynamoDB")
    parser.add_argument("--cache", type=Path, default=environments.CACHE, help="for the peers' environments")
    options = parser.parse_args()
    with (
        dynamodb_local() as engine_url,
        contenders.worktree(options.before) as before,
    ):
        sources = {"ours": options.directory, "before": before}
        settings = dict(options.settings)
        proxy = Proxy(engine_url, delay_ms=options.delay) if options.delay else None
        with contenders.bench(proxy.url if proxy else engine_url, sources, settings, options.cache) as bench:
            names = [name for name in contenders.NAMES if name in options.only]
            if proxy:
                # What keeps nothing in DynamoDB has nothing to wait for.
                names = [name for name in names if name != "mcp-persist"]
            servers = _started(bench, names)
            driver = Driver()
            try:
                clients = options.clients or ([8] if proxy else [1, 8, 32])
                requests = _warmed(driver, servers, proxy)
                measured = _rounds(driver, servers, clients, options.rounds, options.seconds)
            finally:
                driver.close()
        if proxy:
            proxy.close()
            _show_delayed(measured, clients, requests, options.delay)
        else:
            _show(measured, clients)


def _started(bench: Bench, names: Sequence[str]) -> list[Running]:
    servers = []
    for name in names:
        try:
            servers.append(bench.start(name))
        except DidNotStart as exc:
            print(f"left out: {exc}")
    return servers


def _warmed(driver: Driver, servers: Sequence[Running], proxy: Proxy | None) -> dict[tuple[str, str], float]:
    """Call every server for the first time; by tool and server, the requests of a call to DynamoDB, if seen."""
    requests: dict[tuple[str, str], float] = {}
    for server in servers:
        for tool in TOOLS:
            driver.run(Job(server.url, server.pid, tool, clients=8, calls=WARM_CALLS))
            if proxy:
                before = proxy.operations.total()
                driver.run(Job(server.url, server.pid, tool, clients=1, calls=COUNTED_CALLS))
                requests[tool, server.name] = (proxy.operations.total() - before) / COUNTED_CALLS
    return requests


def _rounds(
    driver: Driver, servers: Sequence[Running], clients: Sequence[int], rounds: int, seconds: float
) -> dict[Case, Figures]:
    found: dict[Case, list[Figures]] = defaultdict(list)
    for number in range(rounds):
        for tool in TOOLS:
            for count in clients:
                # Nobody is always the one that comes after another.
                for server in [*servers[number % len(servers) :], *servers[: number % len(servers)]]:
                    job = Job(server.url, server.pid, tool, count, seconds=seconds)
                    try:
                        found[tool, count, server.name].append(driver.run(job))
                    except CallFailed as exc:
                        print(f"failed: {tool} of {server.name}, {count} clients: {exc}")
        print(f"round {number + 1} of {rounds}", flush=True)
    return {case: _median(figures) for case, figures in found.items()}


def _median(figures: Sequence[Figures]) -> Figures:
    return Figures(
        calls=sum(one.calls for one in figures),
        rate=statistics.median(one.rate for one in figures),
        cpu=statistics.median(one.cpu for one in figures),
        median=statistics.median(one.median for one in figures),
        p99=statistics.median(one.p99 for one in figures),
    )


def _show(measured: dict[Case, Figures], clients: Sequence[int]) -> None:
    columns = ["", "CPU ms a call", "of ours", "calls/s", "of ours", "median ms", "p99 ms", "of ours", "calls"]
    for tool in TOOLS:
        for count in clients:
            of = {name: figures for (one, number, name), figures in measured.items() if (one, number) == (tool, count)}
            ours = of.get("ours", _NOTHING)
            rows = [
                [
                    name,
                    f"{one.cpu:.2f}",
                    ratio(one.cpu, ours.cpu),
                    f"{one.rate:.0f}",
                    ratio(one.rate, ours.rate),
                    f"{one.median:.1f}",
                    f"{one.p99:.1f}",
                    ratio(one.p99, ours.p99),
                    f"{one.calls}",
                ]
                for name, one in of.items()
            ]
            show(f"{tool}, {count} client{'s' if count > 1 else ''}", columns, rows)


def _show_delayed(
    measured: dict[Case, Figures], clients: Sequence[int], requests: dict[tuple[str, str], float], delay: float
) -> None:
    columns = ["", "requests", "median ms", "of requests x delay", "p99 ms", "CPU ms a call"]
    for tool in TOOLS:
        for count in clients:
            rows = [
                [
                    name,
                    f"{requests[tool, name]:.1f}",
                    f"{one.median:.1f}",
                    # The site's own polling is in the count.
                    ratio(one.median, round(requests[tool, name]) * delay),
                    f"{one.p99:.1f}",
                    f"{one.cpu:.2f}",
                ]
                for (case, number, name), one in measured.items()
                if (case, number) == (tool, count)
            ]
            show(f"{tool}, {count} clients, each answer of DynamoDB {delay:g} ms later", columns, rows)


if __name__ == "__main__":
    main()
