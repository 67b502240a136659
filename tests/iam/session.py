"""What one run of pytest knows of the AWS calls in it."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from tests.iam import recorder

_CALLS = pytest.StashKey[Path]()
_DESELECTED = pytest.StashKey[bool]()


def begin(config: pytest.Config) -> None:
    """Record every AWS call from now on; a run inside another adds to that one's."""
    if outer := os.environ.get(recorder.DIRECTORY_VARIABLE):
        directory = Path(outer)
        directory.mkdir(exist_ok=True)
    else:
        directory = Path(tempfile.mkdtemp(prefix="aws-calls-"))
        config.add_cleanup(lambda: shutil.rmtree(directory, ignore_errors=True))
    config.stash[_CALLS] = directory
    recorder.start(directory)


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
