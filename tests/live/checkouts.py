"""The repository as it was before, beside this one."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.conformance.processes import ROOT
from tests.conftest import NOT_TESTED

BEFORE: Final = "1d1f04a307e836aa2f8724cdbf55cbaa2bbd6b0c"
"""The last commit of the version before: its workers told each other everything on one bus, by the time of day."""
SERVER: Final = Path("tests/live/servers_for_streams.py")


def checkout(commit: str, directory: Path) -> Path:
    """A folder with all files of a commit, and the server that these tests call; skips where the clone has no such."""
    found = subprocess.run(["git", "cat-file", "-e", f"{commit}^{{commit}}"], cwd=ROOT, check=False)
    if found.returncode:
        if os.environ.get("CI") == "true" and not _is_shallow():
            pytest.fail(f"This clone has no commit {commit}")
        pytest.skip(f"{NOT_TESTED} beside the version before: this clone has no commit {commit}")
    archive = directory / "before.tar"
    subprocess.run(["git", "archive", "--output", archive, commit], cwd=ROOT, check=True)
    before = directory / "before"
    shutil.unpack_archive(archive, before, filter="data")
    shutil.copy(ROOT / SERVER, before / SERVER)
    return before


def _is_shallow() -> bool:
    """Whether the clone has the newest commits alone, or is no clone at all."""
    asked = ["git", "rev-parse", "--is-shallow-repository"]
    answer = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    return answer.stdout.strip() != "false"
