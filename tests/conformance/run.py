"""``make conformance``: the official suite against three processes behind a balancer that is not sticky.

Exits with 0 only if every scenario of every revision passes, with no warning and with no fewer passing checks than
the SDK's own endpoint has. There is no list of expected failures.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from tests.conformance.processes import FIXTURE, Children, DidNotStart, Site, serve_reference, serve_site
from tests.conformance.suite import Kill, Scenario, SuiteMissing, node, run_suite, server_scenarios
from tests.engines import EngineMissing
from tests.live.clocks import FaketimeMissing, clock_off_by


@dataclass(frozen=True, slots=True)
class Mark:
    """What a revision asks for: its scenarios, and how many checks of them pass on the SDK's own endpoint."""

    scenarios: int
    checks: int


MARKS: Final = {"2025-06-18": Mark(27, 56), "2025-11-25": Mark(33, 84), "2026-07-28": Mark(40, 152)}

STREAMED_ANSWERS: Final = "ServerSSEStreamsFunctional"
"""Of 2025-11-25: ``--durable`` makes every answer a stream, as the SDK's are, and the check passes."""

SUITE_SECONDS: Final = 300.0
SCENARIO_SECONDS: Final = 60.0
KILL_EVERY_SECONDS: Final = (2.0, 4.0)
NOTICED_AFTER_SECONDS: Final = (0.0, 1.0)
"""How long a dead process stays in the balancer's turn, refusing connections."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A revision's scenarios after one pass, retries included."""

    revision: str
    scenarios: tuple[Scenario, ...]
    retried: tuple[str, ...] = ()
    seconds: float = 0.0

    def count(self, status: str) -> int:
        return sum(len(scenario.having(status)) for scenario in self.scenarios)

    @property
    def count_answered_in_json(self) -> int:
        """The check of answers that are streams, where all of them were JSON: the suite calls streams optional."""
        return sum(check.name == STREAMED_ANSWERS for one in self.scenarios for check in one.having("INFO"))

    @property
    def passed(self) -> int:
        return sum(scenario.passed for scenario in self.scenarios)

    def objections(self, *, whole: bool) -> Iterator[str]:
        """Why this is not good enough; ``whole`` where every scenario of the revision was to run."""
        for scenario in self.scenarios:
            if not scenario.clean:
                yield f"{self.revision}: {scenario.name}"
        mark = MARKS[self.revision]
        if whole and len(self.scenarios) != mark.scenarios:
            yield f"{self.revision}: {len(self.scenarios)} scenarios ran, not {mark.scenarios}"
        passed = self.count("SUCCESS") + self.count_answered_in_json
        if whole and passed < mark.checks:
            yield f"{self.revision}: {passed} checks passed, fewer than {mark.checks}"


class Killer:
    """Kills a random process every few seconds and starts another in its place, until it is stopped."""

    def __init__(self, site: Site) -> None:
        self.kills: list[Kill] = []
        self._site = site
        self._stopped = threading.Event()
        self._killing = threading.Lock()
        self._successors: dict[int, Future[None]] = {}
        self._pool = ThreadPoolExecutor(len(site.ports))
        self._thread = threading.Thread(target=self._run, name="killer", daemon=True)
        self._thread.start()

    @contextmanager
    def resting(self) -> Iterator[None]:
        """No process dies meanwhile, and all are there. Raises what kept one from starting."""
        with self._killing:
            for successor in self._successors.values():
                successor.result()
            yield

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()
        self._pool.shutdown()

    def _run(self) -> None:
        while not self._stopped.wait(random.uniform(*KILL_EVERY_SECONDS)):
            with self._killing:
                there = [port for port in self._site.ports if self._is_there(port)]
                if len(there) < 2:  # one is left to answer
                    continue
                port = random.choice(there)
                started = time.monotonic()
                self._site.kill(port)
                self.kills.append(Kill(started, time.monotonic()))
                self._successors[port] = self._pool.submit(self._replace, port)

    def _is_there(self, port: int) -> bool:
        successor = self._successors.get(port)
        return successor is None or (successor.done() and successor.exception() is None)

    def _replace(self, port: int) -> None:
        self._stopped.wait(random.uniform(*NOTICED_AFTER_SECONDS))
        self._site.replace(port)


@dataclass(frozen=True, slots=True)
class Run:
    """Where to run what."""

    children: Children
    url: str
    output: Path
    revisions: Sequence[str]
    scenario: str | None
    jobs: int

    def once(self, name: str, killer: Killer | None = None) -> list[Outcome]:
        """Every revision once, side by side; a scenario that a kill hit gets one more try."""
        with ThreadPoolExecutor(self.jobs) as pool:
            try:
                outcomes = list(pool.map(lambda revision: self._revision(name, revision), self.revisions))
            except BaseException:
                self.children.close()  # else the pool waits for suites that nobody reads
                raise
        return [self._retried(name, outcome, killer) for outcome in outcomes] if killer else outcomes

    def extensions(self) -> list[Scenario]:
        """The scenarios of protocol extensions, which no revision asks for."""
        names = [name for name, revisions in server_scenarios().items() if revisions == {"extension"}]
        with ThreadPoolExecutor(self.jobs) as pool:
            return [scenario for ran in pool.map(self._extension, names) for scenario in ran]

    def _revision(self, name: str, revision: str) -> Outcome:
        started = time.monotonic()
        scenarios = self._suite(self.output / name / revision, revision, self.scenario, SUITE_SECONDS)
        return Outcome(revision, tuple(scenarios), seconds=time.monotonic() - started)

    def _retried(self, name: str, outcome: Outcome, killer: Killer) -> Outcome:
        scenarios, retried = [], []
        for scenario in outcome.scenarios:
            if not scenario.clean and scenario.hit_by(killer.kills):
                retried.append(scenario.name)
                output = self.output / name / f"{outcome.revision}-retried"
                with killer.resting():
                    (scenario,) = self._suite(output, outcome.revision, scenario.name, SCENARIO_SECONDS)
            scenarios.append(scenario)
        return replace(outcome, scenarios=tuple(scenarios), retried=tuple(retried))

    def _extension(self, name: str) -> list[Scenario]:
        return self._suite(self.output / "extensions", None, name, SCENARIO_SECONDS)

    def _suite(self, output: Path, revision: str | None, scenario: str | None, seconds: float) -> list[Scenario]:
        return run_suite(self.children, self.url, output, revision=revision, scenario=scenario, seconds=seconds)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    # A supervisor's SIGTERM ends the run as Ctrl-C does: with every process that it started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ExitStack() as ending:
        directory = options.output or Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="conformance-")))
        directory.mkdir(parents=True, exist_ok=True)
        children = Children()
        ending.callback(children.close)
        try:
            node()
            objections = _run(options, children, directory)
        except (SuiteMissing, EngineMissing, FaketimeMissing) as exc:
            print(exc, file=sys.stderr)
            return os.EX_UNAVAILABLE
        except DidNotStart as exc:
            print(exc, file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return 128 + signal.SIGINT
    for objection in objections:
        print(f"NOT PASSED  {objection}")
    print("FAILED" if objections else "PASSED", flush=True)
    if objections and not options.output:
        print('--output DIR keeps every check and log, as in: make conformance ARGS="--output /tmp/conformance"')
    return 1 if objections else 0


def _run(options: argparse.Namespace, children: Children, directory: Path) -> list[str]:
    """Serve, run, report; what stands against a pass."""
    revisions = _revisions(options.revision, options.scenario)
    if options.backend == "reference":
        with serve_reference(children, directory) as url:
            run = Run(children, url, directory, revisions, options.scenario, options.jobs)
            return _passes(run, options.runs)
    settings = {"MCP_SERVER": options.server, "DURABLE_ANSWERS": str(options.durable).lower()}
    odd = clock_off_by(options.clock) if options.clock else None
    with serve_site(
        children, directory, count=options.processes, threads=options.threads, settings=settings, odd=odd
    ) as site:
        run = Run(children, site.url, directory, revisions, options.scenario, options.jobs)
        if options.kill:
            return _killing(run, site, options.runs, options.kills)
        return _passes(run, options.runs)


def _passes(run: Run, runs: int) -> list[str]:
    objections: list[str] = []
    for number in range(1, runs + 1):
        objections += _reported(f"run {number}", run, run.once(f"run-{number}"))
    if not run.scenario:
        _report_extensions(run.extensions())
    return objections


def _killing(run: Run, site: Site, runs: int, kills: int) -> list[str]:
    """Passes while processes die, until there were enough of both."""
    objections: list[str] = []
    killer = Killer(site)
    try:
        number = 0
        while number < runs or len(killer.kills) < kills:
            number += 1
            outcomes = run.once(f"kill-run-{number}", killer)
            with killer.resting():
                objections += _reported(f"kill run {number}", run, outcomes)
    finally:
        killer.stop()
    print(f"{len(killer.kills)} processes killed in {number} runs", flush=True)
    return objections


def _reported(title: str, run: Run, outcomes: Iterable[Outcome]) -> list[str]:
    objections: list[str] = []
    for outcome in outcomes:
        retried = f"; retried after a kill: {', '.join(outcome.retried)}" if outcome.retried else ""
        print(
            f"{title}  {outcome.revision}  {outcome.passed}/{len(outcome.scenarios)} scenarios,"
            f" {outcome.count('SUCCESS')} checks passed, {outcome.count('FAILURE')} failed,"
            f" {outcome.count('WARNING')} warned{retried} ({outcome.seconds:.1f} s)"
        )
        for scenario in outcome.scenarios:
            if not scenario.having("SUCCESS"):
                print(f"    NO SUCCESS  {scenario.name}: {len(scenario.checks)} checks")
            for check in scenario.having("FAILURE") + scenario.having("WARNING"):
                print(f"    {check.status}  {scenario.name}: {check.name}: {check.message}")
        objections += [f"{title}  {why}" for why in outcome.objections(whole=not run.scenario)]
    sys.stdout.flush()
    return objections


def _report_extensions(scenarios: Iterable[Scenario]) -> None:
    print("Extensions, which no revision asks for:")
    for scenario in scenarios:
        passed, failed, skipped = (len(scenario.having(status)) for status in ("SUCCESS", "FAILURE", "SKIPPED"))
        print(f"    {scenario.name}: {passed} checks passed, {failed} failed, {skipped} skipped")
    sys.stdout.flush()


def _revisions(chosen: Sequence[str] | None, scenario: str | None) -> list[str]:
    """Those asked for, or all that a scenario belongs to."""
    if scenario and scenario not in server_scenarios():
        raise SystemExit(f"The suite has no scenario {scenario}: {', '.join(server_scenarios())}")
    return [revision for revision in chosen or MARKS if not scenario or revision in server_scenarios()[scenario]]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make conformance", description=__doc__)
    parser.add_argument("--runs", type=int, default=1, metavar="N", help="how often, in a row (default 1)")
    parser.add_argument("--revision", action="append", choices=MARKS, help="only this one; may be repeated")
    parser.add_argument("--scenario", metavar="NAME", help="only this one")
    parser.add_argument(
        "--backend",
        choices=("site", "reference"),
        default="site",
        help="what serves: this site (default), or the SDK's own endpoint in one process",
    )
    parser.add_argument(
        "--server",
        default=FIXTURE,
        metavar="MCP_SERVER",
        help="the server object that the site serves, such as path/to/mcp_everything_server/server.py of the SDK's"
        " sources (default: the fixture)",
    )
    parser.add_argument("--durable", action="store_true", help="make every answer a stored stream (DURABLE_ANSWERS)")
    parser.add_argument("--kill", action="store_true", help="kill a process every few seconds and start another")
    parser.add_argument("--kills", type=int, default=10, metavar="N", help="with --kill: at least so many (default 10)")
    parser.add_argument("--clock", type=int, metavar="SECONDS", help="one process's clock is off by so much")
    parser.add_argument("--processes", type=int, default=3, metavar="N", help="gunicorn processes (default 3)")
    parser.add_argument("--threads", type=int, default=64, metavar="N", help="threads of each (default 64)")
    parser.add_argument("--jobs", type=int, default=len(MARKS), metavar="N", help="suites side by side (default 3)")
    parser.add_argument("--output", type=Path, metavar="DIR", help="keep every checks.json and log here")
    return parser


if __name__ == "__main__":
    sys.exit(main())
