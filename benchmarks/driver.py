"""Calls from a process of its own: what one server does for so many clients, and the CPU that it takes meanwhile.

``python -m benchmarks.driver`` reads a job a line and writes its figures; ``Driver`` is the other end.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.callers import Caller
from benchmarks.usage import cpu_seconds
from tests.conformance.processes import ROOT, base_environment


@dataclass(frozen=True, slots=True)
class Job:
    """Calls of one tool, for ``seconds`` or until ``calls`` have been made."""

    url: str
    pid: int
    """The server's; its children count with it."""
    tool: str
    clients: int
    seconds: float = 3600.0
    calls: int = sys.maxsize
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Figures:
    """What a job showed. Times are in milliseconds, ``cpu`` is that of a call."""

    calls: int
    rate: float
    cpu: float
    median: float
    p99: float


class CallFailed(Exception):
    """A call was not answered as it should be; the message says how."""


class Driver:
    """The process that calls."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.driver"],
            cwd=ROOT,
            env=base_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, job: Job) -> Figures:
        """Raises ``CallFailed``; the next job begins anew."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asdict(job)) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise CallFailed(answer["error"])
        return Figures(**answer)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


def main() -> None:
    # Sessions are kept for the next job on the same server: beginning them is no part of what is measured.
    sessions: dict[str, list[Caller]] = {}
    with asyncio.Runner() as runner:
        for line in sys.stdin:
            job = Job(**json.loads(line))
            try:
                answer = asdict(runner.run(_run(job, sessions.setdefault(job.url, []))))
            except Exception as exc:
                del sessions[job.url]
                answer = {"error": f"{type(exc).__name__}: {exc}"}
            print(json.dumps(answer), flush=True)


async def _run(job: Job, callers: list[Caller]) -> Figures:
    while len(callers) < job.clients:
        callers.append(await Caller(job.url).begin())
    chosen = callers[: job.clients]
    for caller in chosen:
        # A server that keeps idle connections for seconds would close one under the first call.
        caller.connection.close()
        await caller.connection.open()
    numbers = itertools.count(1)
    gc.collect()
    before, started = cpu_seconds(job.pid), time.perf_counter()
    ends = started + job.seconds
    latencies = await asyncio.gather(*(_calls(caller, job, numbers, ends) for caller in chosen))
    seconds, spent = time.perf_counter() - started, cpu_seconds(job.pid) - before
    for caller in chosen:
        caller.connection.close()
    each = sorted(itertools.chain(*latencies))
    return Figures(
        calls=len(each),
        rate=len(each) / seconds,
        cpu=spent / len(each) * 1000,
        median=statistics.median(each) * 1000,
        p99=each[int(len(each) * 0.99)] * 1000,
    )


async def _calls(caller: Caller, job: Job, numbers: itertools.count[int], ends: float) -> list[float]:
    latencies = []
    while time.perf_counter() < ends and (number := next(numbers)) <= job.calls:
        # A value that is stored already need not be written.
        arguments = job.arguments | ({"value": f"value {number}"} if job.tool == "store" else {})
        began = time.perf_counter()
        await caller.request("tools/call", {"name": job.tool, "arguments": arguments})
        latencies.append(time.perf_counter() - began)
    return latencies


if __name__ == "__main__":
    main()
