"""How soon a client's answer to a question, and a cancellation, reach a call that runs on another worker.

Three gunicorns of one worker each, behind a balancer that is not sticky: what follows a call reaches the next worker.
Measured in turn without a bell, with one (``BUS_URL``, a Redis of this run), and on the site as it stood.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from benchmarks import contenders
from benchmarks.clients import Client, messages
from benchmarks.engine import dynamodb_local
from benchmarks.report import show, show_origin
from tests.conformance.processes import ROOT, Children, site_environment, wait_until_ready
from tests.engines import free_ports
from tests.live.balancer import Balancer
from tests.mcpsite.endpoint.peers.redis_server import redis_server

WORKERS: Final = 3
CHAINS: Final = 20
"""Clients at a time, each with a balancer of its own: between a call and what follows it comes no other request."""
PAUSE_SECONDS: Final = (0.3, 0.8)
"""Between two calls of a client: out of step with the pollers, and few at a time where there is a bell."""
AGED_SECONDS: Final = (1.2, 1.7)
"""How long a call has run that is cancelled: so that its worker has left word of it, at no fixed place in a beat."""
ANSWERS, AGED, YOUNG = "answers", "cancellations of calls that have run 1.2 s", "cancellations of calls just begun"


@dataclass(frozen=True, slots=True)
class Site:
    """One version and configuration, with what was measured of it."""

    name: str
    ports: list[int]
    delays: dict[str, list[float]] = field(default_factory=dict)
    """Seconds, by what was sent."""
    faults: Counter[str] = field(default_factory=Counter)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", default="1d1f04a", help="commit or directory of the site as it stood; '' for none")
    parser.add_argument(
        "--number", type=int, default=200, help="of answers and of cancellations; half as many of young calls"
    )
    parser.add_argument("--rounds", type=int, default=1, help="in which the sites take turns")
    options = parser.parse_args()
    show_origin()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        sources = {"without a bell": ROOT, "with a bell": ROOT}
        if options.before:
            sources["before"] = stack.enter_context(contenders.worktree(options.before))
        redis = stack.enter_context(redis_server(directory))
        sites = stack.enter_context(_sites(directory, sources, {"with a bell": {"BUS_URL": redis.url}}))
        # The bell connects after a worker is ready.
        time.sleep(3)
        for _ in range(options.rounds):
            for site in sites:
                _measure(site, options.number // options.rounds, directory)
    for what in (ANSWERS, AGED, YOUNG):
        show(f"{what}, ms", ["", "number", "median", "p95", "max"], [_row(site, what) for site in sites])
    for site in sites:
        print(f"{site.name}: {dict(site.faults) or 'none lost, none twice'}")
    print(f"load average at the end {os.getloadavg()[0]:.1f}")


def _row(site: Site, what: str) -> list[str]:
    delays = sorted(site.delays[what])
    figures = statistics.median(delays), delays[int(len(delays) * 0.95)], delays[-1]
    return [site.name, str(len(delays)), *(f"{figure * 1000:.0f}" for figure in figures)]


# --- The sites ------------------------------------------------------------------------------------------------


@contextmanager
def _sites(
    directory: Path, sources: Mapping[str, Path], settings: Mapping[str, Mapping[str, str]]
) -> Iterator[list[Site]]:
    """All of them at once, each with tables of its own."""
    children = Children()
    try:
        with dynamodb_local() as url, ThreadPoolExecutor() as pool:
            starting = [
                pool.submit(_site, children, directory, url, name, source, settings.get(name, {}))
                for name, source in sources.items()
            ]
            yield [site.result() for site in starting]
    finally:
        children.close()


def _site(
    children: Children, directory: Path, dynamodb_url: str, name: str, source: Path, settings: Mapping[str, str]
) -> Site:
    word = name.replace(" ", "-")
    env = site_environment(dynamodb_url, directory) | {
        "DATABASE_URL": f"sqlite:///{directory / word}.sqlite3",
        "DYNAMODB_SESSIONS_TABLE": f"{word}-sessions",
        "DYNAMODB_EVENTS_TABLE": f"{word}-events",
        "MCP_SERVER": "tests.live.servers_for_streams:mcp",
        "RECORD_CALLS": "false",
        **settings,
    }
    setup = ["env", "-C", str(source), sys.executable, "manage.py", "dynamodb_setup"]
    subprocess.run(setup, env=env, check=True, capture_output=True)  # noqa: S603 (our own)
    log, ports = directory / f"{word}.log", free_ports(WORKERS)
    serve = ["env", "-C", str(source), *contenders.image_command(source), "--bind"]
    processes = [children.start([*serve, f"127.0.0.1:{port}"], env=env, log=log) for port in ports]
    for port, process in zip(ports, processes, strict=True):
        wait_until_ready(f"http://127.0.0.1:{port}/readyz", process, log)
    return Site(name, ports)


# --- What is measured -----------------------------------------------------------------------------------------


def _measure(site: Site, number: int, directory: Path) -> None:
    for what in (ANSWERS, AGED, YOUNG):
        with ThreadPoolExecutor(CHAINS) as pool:
            some = number // 2 if what == YOUNG else number
            shares = [some // CHAINS + (place < some % CHAINS) for place in range(CHAINS)]
            for delays in pool.map(partial(_chain, site, what, directory), shares):
                site.delays.setdefault(what, []).extend(delays)


def _chain(site: Site, what: str, directory: Path, number: int) -> list[float]:
    with Balancer(site.ports) as balancer:
        client = Client(f"{balancer.url}/mcp").begin({"elicitation": {}})
        follow = _answer if what == ANSWERS else _cancel
        delays = []
        for _ in range(number):
            age = random.uniform(*AGED_SECONDS) if what == AGED else 0.0  # noqa: S311
            if what != AGED:
                time.sleep(random.uniform(*PAUSE_SECONDS))  # noqa: S311
            delay, fault = follow(client, age, directory)
            delays.append(delay)
            if fault:
                site.faults[f"{what}: {fault}"] += 1
    return delays


def _answer(client: Client, age: float, directory: Path) -> tuple[float, str]:
    """Answer a question; the seconds until its call had its result, and what was wrong, if anything was."""
    text = secrets.token_hex(4)
    with contextlib.closing(client.open("tools/call", {"name": "ask_user", "arguments": {"question": text}})) as stream:
        arriving = messages(stream)
        question = next(arriving)
        sent = time.perf_counter()
        client.post({"id": question["id"], "result": {"action": "accept", "content": {"colour": text}}})
        results = _until_end(arriving)
    said = [result["result"]["content"][0]["text"] for _, result in results if "result" in result]
    return results[0][0] - sent, "" if said == [text] else f"answered {text}, heard {said}"


def _cancel(client: Client, age: float, directory: Path) -> tuple[float, str]:
    """Cancel a call after a time; the seconds until it had ended, and what was wrong, if anything was."""
    mark = directory / secrets.token_hex(8)
    arguments = {"seconds": 30, "mark": str(mark)}
    with contextlib.closing(client.open("tools/call", {"name": "work", "arguments": arguments})) as stream:
        arriving = messages(stream)
        next(arriving)
        time.sleep(age)
        sent = time.perf_counter()
        params = {"requestId": client.last_id}
        client.post({"method": "notifications/cancelled", "params": params})
        results = _until_end(arriving)
    ended = time.perf_counter()
    how = mark.read_text()
    return ended - sent, "" if how == "cancelled" and len(results) <= 1 else f"{how}, {len(results)} messages"


def _until_end(arriving: Iterator[Any]) -> Sequence[tuple[float, Any]]:
    """The messages of a stream to its end, each with the time at which it came."""
    return [(time.perf_counter(), message) for message in arriving]


if __name__ == "__main__":
    main()
