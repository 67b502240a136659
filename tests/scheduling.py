"""How several processes share the tests, under ``pytest -n``: most side by side, some in turn, a few alone."""

from __future__ import annotations

import re
from typing import Final

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

IN_TURN: Final = "in turn"
ALONE: Final = "alone"

TURNS: Final = (
    "aws_lambda",
    "browser",
    "clients",
    "conformance",
    "docs",
    "examples",
    "image",
    "live",
    "release",
    "test_packaging.py",
    "test_readme.py",
)
"""Each starts several processes or a browser, and some kill them: one after the other, beside ordinary tests."""
LAST: Final = ("test_iam.py",)
"""Looks at what all the others have called: begins when every other test has ended."""

_ENGINE: Final = re.compile(r"\[.*\b(moto|dynamodb_local)\b")


def unit_of(nodeid: str) -> str:
    """What a test runs together with, in one process: its module's tests on its engine, as pytest has sorted them."""
    path = nodeid.partition("::")[0]
    place = path.removeprefix("tests/")
    if place in LAST:
        return ALONE
    if place.partition("/")[0] in TURNS:
        return IN_TURN
    engine = _ENGINE.search(nodeid)
    return f"{path} on {engine[1]}" if engine else path


class SharedScheduling(LoadScopeScheduling):  # type: ignore[misc]
    """The next unit to whichever process is free; all that takes turns to one process, at once; the rest at the end."""

    def __init__(self, config: pytest.Config, log: Producer | None = None) -> None:
        super().__init__(config, log)
        # As they were collected: the tests of one engine, then of the other.
        config.option.loadscopereorder = False

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)

    def _assign_work_unit(self, node: WorkerController) -> None:
        for unit, last in ((IN_TURN, False), (ALONE, True)):
            if unit in self.workqueue:
                self.workqueue.move_to_end(unit, last=last)
        if next(iter(self.workqueue)) != ALONE or self.nodes == [node]:
            super()._assign_work_unit(node)
        elif not all(other.shutting_down for other in self.nodes if other is not node):
            # One process is enough for what is left.
            node.shutdown()

    def remove_node(self, node: WorkerController) -> str | None:
        """As inherited; and whoever is left may be alone now."""
        crashed: str | None = super().remove_node(node)
        for other in self.nodes:
            self._reschedule(other)
        return crashed
