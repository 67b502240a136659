"""What one run of pytest knows of the AWS calls in it."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, Final

import pytest

from tests.iam import recorder

_CALLS = pytest.StashKey[Path]()
_DESELECTED = pytest.StashKey[bool]()
_GIVEN: Final = "aws_calls"


def begin(config: pytest.Config) -> None:
    """Record every AWS call from now on; a run inside another adds to that one's, a worker of a run to the run's."""
    given = getattr(config, "workerinput", {}).get(_GIVEN) or os.environ.get(recorder.DIRECTORY_VARIABLE)
    if given:
        directory = Path(given)
        directory.mkdir(exist_ok=True)
    else:
        directory = Path(tempfile.mkdtemp(prefix="aws-calls-"))
        config.add_cleanup(lambda: shutil.rmtree(directory, ignore_errors=True))
    config.stash[_CALLS] = directory
    # A run that has workers calls nothing itself, and a worker that inherited its environment would record twice.
    if config.getoption("dist", "no") == "no":
        recorder.start(directory)


def hand_over(config: pytest.Config, workerinput: dict[str, Any]) -> None:
    """Have a worker of this run record where the run does."""
    workerinput[_GIVEN] = str(calls(config))


def calls(config: pytest.Config) -> Path:
    """The directory of what was recorded."""
    return config.stash[_CALLS]


def note_deselected(config: pytest.Config) -> None:
    config.stash[_DESELECTED] = True


def why_not_whole(config: pytest.Config) -> str:
    """Why this run is not one of the whole suite; empty when it is."""
    if config.args_source is not pytest.Config.ArgsSource.TESTPATHS:
        return "paths were given"
    if config.stash.get(_DESELECTED, False):
        return "some tests were deselected"
    return ""
