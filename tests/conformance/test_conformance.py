"""The official suite as a test, and the judgements of the program that runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.conformance.processes import ROOT
from tests.conformance.run import MARKS, STREAMED_ANSWERS, Outcome
from tests.conformance.suite import Check, Kill, Scenario
from tests.conftest import NOT_TESTED, SHOWN

RUN_SECONDS = 1200


@pytest.mark.conformance
@pytest.mark.parametrize("options", [[], ["--kill"]], ids=["side by side", "while processes die"])
def test_every_scenario_passes_whichever_process_answers(
    options: list[str], record_property: Callable[[str, object], None]
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.conformance.run", *options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        output, _ = process.communicate(timeout=RUN_SECONDS)
    finally:
        # It ends every process of its own when it is told to end, and would not when it is killed.
        process.terminate()
        process.wait()
    if process.returncode == os.EX_UNAVAILABLE:
        if os.environ.get("CI") == "true":
            pytest.fail(output)
        pytest.skip(f"{NOT_TESTED} for conformance: {output.strip()}")
    record_property(SHOWN, output.strip())
    assert process.returncode == 0


# --- What the program calls a pass ----------------------------------------------------------------------------


def _scenario(name: str, *statuses: str, started: float = 0, ended: float = 1) -> Scenario:
    return Scenario(name, started, ended, tuple(Check(f"{name} {status}", status, "") for status in statuses))


def _objections(*scenarios: Scenario, whole: bool = False) -> list[str]:
    return list(Outcome("2025-06-18", scenarios).objections(whole=whole))


def test_a_scenario_whose_checks_succeed_passes() -> None:
    assert _objections(_scenario("ping", "SUCCESS", "INFO")) == []


@pytest.mark.parametrize("statuses", [(), ("INFO",), ("SKIPPED",), ("SUCCESS", "WARNING"), ("SUCCESS", "FAILURE")])
def test_a_scenario_with_a_warning_or_without_a_success_does_not(statuses: tuple[str, ...]) -> None:
    assert _objections(_scenario("ping", *statuses)) == ["2025-06-18: ping"]


def test_a_whole_revision_has_all_scenarios_and_as_many_checks_as_the_reference() -> None:
    mark = MARKS["2025-06-18"]
    scenarios = [_scenario(str(number), "SUCCESS", "SUCCESS") for number in range(mark.scenarios - 1)]
    enough = ["SUCCESS"] * (mark.checks - 2 * len(scenarios))

    assert _objections(*scenarios, _scenario("last", *enough), whole=True) == []
    assert _objections(*scenarios, _scenario("last", *enough[1:]), whole=True) != []
    assert _objections(*scenarios[1:], _scenario("last", *enough, "SUCCESS", "SUCCESS"), whole=True) != []


def test_answers_in_json_are_no_check_that_failed() -> None:
    mark = MARKS["2025-06-18"]
    scenarios = [_scenario(str(number), "SUCCESS") for number in range(mark.scenarios - 1)]
    checks = [Check("other", "SUCCESS", "")] * (mark.checks - len(scenarios) - 1)
    in_json = [Check(STREAMED_ANSWERS, "INFO", "")]

    assert _objections(*scenarios, Scenario("last", 0, 1, tuple(checks)), whole=True) != []
    assert _objections(*scenarios, Scenario("last", 0, 1, tuple(checks + in_json)), whole=True) == []
    assert _objections(*scenarios, Scenario("last", 0, 1, tuple(checks[1:] + in_json)), whole=True) != []


def test_a_kill_hits_what_was_under_way() -> None:
    kills = [Kill(5.0, 5.1), Kill(9.0, 9.1)]
    assert _scenario("ping", started=4, ended=5.05).hit_by(kills)
    assert _scenario("ping", started=5.05, ended=6).hit_by(kills)
    assert not _scenario("ping", started=5.5, ended=8.5).hit_by(kills)
