"""Drive clients through the matrix and write ``docs/clients.md``: ``python -m tests.clients.run --help``."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from pathlib import Path

from tests.clients import report
from tests.clients.catalogue import CLIENTS, Client
from tests.clients.environments import NotBuilt
from tests.clients.matrix import readings, serve
from tests.clients.steps import STEPS, Reading


def main() -> int:
    """0 where nothing failed but what fails on the SDK's own server as well."""
    options = _options()
    # So that no process outlives this one.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    chosen = [client for client in CLIENTS if not options.only or any(word in client.name for word in options.only)]
    if not chosen:
        sys.exit(f"No client is named so; there are: {', '.join(client.name for client in CLIENTS)}")
    found = report.kept()
    faults = 0
    for processes in options.processes:
        with tempfile.TemporaryDirectory(prefix="clients-") as folder, serve(Path(folder), processes) as servers:
            for client in chosen:
                try:
                    steps = readings(client, servers, options.steps or tuple(STEPS))
                except NotBuilt as error:
                    print(f"{client.name}: NOT TESTED: {error}", flush=True)
                    faults += 1
                    continue
                faults += _show(client, processes, steps)
                counts = found.setdefault(report.identity(client), {})
                counts[str(processes)] = {**counts.get(str(processes), {}), **steps}
                if options.write:
                    report.write(found)
            if options.logs:
                _keep_logs(Path(folder), Path(options.logs) / f"{processes}")
    return 1 if faults else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.clients.run", description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="clients whose name has one of these in it")
    parser.add_argument("--steps", nargs="+", choices=tuple(STEPS), help="these steps alone")
    parser.add_argument("--processes", nargs="+", type=int, default=[1, 3], metavar="COUNT")
    parser.add_argument("--logs", metavar="FOLDER", help="keep what servers and drivers wrote")
    parser.add_argument("--no-write", dest="write", action="store_false", help="leave docs/clients.md as it is")
    return parser.parse_args()


def _show(client: Client, processes: int, steps: dict[str, Reading]) -> int:
    """Print a client's row; the number of its faults."""
    signs = " ".join(f"{step} {report.sign(reading)}" for step, reading in steps.items())
    print(f"{client.name}, {processes} processes: {signs}", flush=True)
    failed = {step: reading for step, reading in steps.items() if reading.ok is False}
    for step, reading in failed.items():
        print(f"  {step}: {reading.detail}", flush=True)
        if reading.on_sdk:
            print(f"    on the SDK's own server: {reading.on_sdk}", flush=True)
    return sum(not reading.is_clients_own for reading in failed.values())


def _keep_logs(source: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for log in source.glob("*.log"):
        (target / log.name).write_text(log.read_text(errors="replace"))


if __name__ == "__main__":
    sys.exit(main())
