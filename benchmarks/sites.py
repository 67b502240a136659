"""A deployed site for a benchmark: gunicorn processes over DynamoDB Local, every request to it counted."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.counting import CountingRelay
from benchmarks.engine import dynamodb_local
from tests.conformance.processes import ROOT, Children, Site, site_environment


@dataclass(frozen=True, slots=True)
class Bench:
    """The site under measurement."""

    urls: list[str]
    relay: CountingRelay
    pids: list[int]
    """Of the worker processes, in the order of ``urls``."""

    def resident_kib(self) -> int:
        """Resident memory of the first worker."""
        status = Path(f"/proc/{self.pids[0]}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])


@contextmanager
def bench_site(processes: int = 1, threads: int = 64, **environment: str) -> Iterator[Bench]:
    """Processes of one worker each, ready and warm."""
    children = Children()
    with tempfile.TemporaryDirectory() as name, dynamodb_local() as engine_url:
        directory = Path(name)
        relay = CountingRelay(engine_url)
        defaults = {"MCP_SERVER": "benchmarks.server:mcp", "RECORD_CALLS": "false", "THREADS": str(threads)}
        env = site_environment(relay.url, directory) | defaults | environment
        subprocess.run(
            [sys.executable, "manage.py", "dynamodb_setup"], cwd=ROOT, env=env, check=True, capture_output=True
        )
        try:
            site = Site(children, env | {"WEB_CONCURRENCY": "1"}, directory, processes)
            try:
                yield Bench([f"http://127.0.0.1:{port}/mcp" for port in site.ports], relay, _workers(site))
            finally:
                site.close()
        finally:
            children.close()
            relay.close()


def _workers(site: Site) -> list[int]:
    masters = [site.pid(port) for port in site.ports]
    return [int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0]) for pid in masters]
