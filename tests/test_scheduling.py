"""Several processes share the tests: what takes turns runs in one of them, what is last when all else has ended."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest

from tests.scheduling import ALONE, IN_TURN, SharedScheduling, unit_of

STORE = [f"tests/sessions_dynamo/store/test_{name}.py::test_x[moto]" for name in "abcdefgh"]
LIVE = ["tests/live/test_a.py::test_x", "tests/browser/test_b.py::test_x", "tests/live/test_c.py::test_x"]
IAM = ["tests/test_iam.py::test_x", "tests/test_iam.py::test_y"]


class Worker:
    """What the scheduler knows of a process: it begins a test when it has the next one, or is told that none comes."""

    def __init__(self, name: str) -> None:
        self.gateway = SimpleNamespace(id=name)
        self.shutting_down = False
        self.queue: list[int] = []

    def send_runtest_some(self, indices: list[int]) -> None:
        self.queue += indices

    def shutdown(self) -> None:
        self.shutting_down = True

    @property
    def may_go_on(self) -> bool:
        return len(self.queue) > (0 if self.shutting_down else 1)


class Run:
    """A run of two processes, one test at a time of whichever ``chosen`` takes."""

    def __init__(self, config: pytest.Config, tests: list[str]) -> None:
        self.scheduler = SharedScheduling(config)
        self.tests = tests
        self.ran: list[tuple[str, str]] = []
        self.workers = [Worker("gw0"), Worker("gw1")]
        for worker in self.workers:
            self.scheduler.add_node(worker)
            self.scheduler.add_node_collection(worker, tests)
        self.scheduler.schedule()

    def go_on(self, chosen: Callable[[list[Worker]], Worker]) -> None:
        """Until nothing is left to run."""
        while able := [worker for worker in self.workers if worker.may_go_on or worker.shutting_down]:
            worker = chosen(able)
            if worker.queue:
                index = worker.queue.pop(0)
                self.ran.append((self.tests[index], worker.gateway.id))
                self.scheduler.mark_test_complete(worker, index)
            else:
                self.workers.remove(worker)
                # One that was never needed is not known any more.
                assert worker not in self.scheduler.nodes or self.scheduler.remove_node(worker) is None


@pytest.fixture
def run(pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch) -> Callable[[list[str]], Run]:
    monkeypatch.setattr(pytestconfig.option, "tx", ["2*popen"])
    monkeypatch.setattr(pytestconfig.option, "loadscopereorder", True)
    return lambda tests: Run(pytestconfig, tests)


@pytest.mark.parametrize(
    ("nodeid", "unit"),
    [
        ("tests/sessions_dynamo/test_x.py::test_y[boto3-moto]", "tests/sessions_dynamo/test_x.py on moto"),
        (
            "tests/sessions_dynamo/test_x.py::A::test_y[dynamodb_local-1]",
            "tests/sessions_dynamo/test_x.py on dynamodb_local",
        ),
        ("tests/sessions_dynamo/test_x.py::test_y[1]", "tests/sessions_dynamo/test_x.py"),
        ("tests/browser/test_x.py::test_y", IN_TURN),
        ("tests/test_readme.py::test_y[moto]", IN_TURN),
        ("tests/test_iam.py::test_y[serve]", ALONE),
    ],
)
def test_tests_run_together_by_module_and_engine(nodeid: str, unit: str) -> None:
    assert unit_of(nodeid) == unit


@pytest.mark.parametrize("chosen", [0, -1], ids=["the first is quicker", "the last is quicker"])
@pytest.mark.parametrize(
    ("ordinary", "turns", "last"),
    [(8, 3, 2), (8, 0, 2), (0, 3, 2), (1, 0, 2), (1, 3, 2), (8, 3, 0), (0, 3, 0), (0, 0, 2)],
)
def test_each_test_runs_once_and_in_its_turn(
    run: Callable[[list[str]], Run], ordinary: int, turns: int, last: int, chosen: int
) -> None:
    tests = STORE[:ordinary] + LIVE[:turns] + IAM[:last]
    sharing = run(tests)

    sharing.go_on(lambda able: able[chosen])

    ran = [test for test, _ in sharing.ran]
    assert sorted(ran) == sorted(tests)
    assert [test for test in ran if test in LIVE] == [test for test in tests if test in LIVE]
    assert len({worker for test, worker in sharing.ran if test in LIVE}) <= 1
    assert ran[len(ran) - last :] == IAM[:last]
    assert not sharing.workers


def test_what_is_last_begins_when_every_other_process_has_ended(run: Callable[[list[str]], Run]) -> None:
    sharing = run(STORE + LIVE + IAM)
    ended: list[int] = []

    def slowly(able: list[Worker]) -> Worker:
        if sharing.ran and sharing.ran[-1][0] == IAM[0]:
            ended.append(len(sharing.workers))
        return able[0]

    sharing.go_on(slowly)

    assert ended[0] == 1


def test_what_a_process_that_died_had_left_is_run_before_the_last(run: Callable[[list[str]], Run]) -> None:
    sharing = run(STORE + LIVE + IAM)
    first = sharing.workers[0]
    assert first.queue

    sharing.workers.remove(first)
    lost = sharing.scheduler.remove_node(first)
    sharing.go_on(lambda able: able[0])

    ran = [test for test, _ in sharing.ran]
    assert lost == LIVE[0]
    assert sorted(ran) == sorted(STORE + LIVE + IAM)
    assert ran[-2:] == IAM
