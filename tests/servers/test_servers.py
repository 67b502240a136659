"""Servers that the SDK's authors wrote, a few of them: what differs from the SDK's own app is what is declared."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.asking import Asked, Seen
from tests.servers.differences import DIFFERENCES, explained

ROOT = Path(__file__).resolve().parents[2]
NOT_FETCHED = 3
SOME = ("docs_src/handling_errors", "docs_src/prompts", "docs_src/lowlevel")


def test_some_servers_answer_as_under_the_sdks_own_app_but_for_what_is_declared() -> None:
    only = [word for one in SOME for word in ("--only", one)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.servers.run", *only],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    if done.returncode == NOT_FETCHED and os.environ.get("CI") != "true":
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert "servers of the SDK's documents" in done.stdout


def _error(code: int, message: str) -> Seen:
    return Seen(200, ({"jsonrpc": "2.0", "id": 1, "error": {"code": code, "message": message}},))


ASKED = Asked("legacy", "unknown prompt", "prompts/get", {"name": "nope"})
THEIRS = _error(0, "Unknown prompt: nope")


def test_a_declared_difference_is_explained_by_itself_alone() -> None:
    assert explained(ASKED, THEIRS, _error(-32602, "Unknown prompt: nope")) == [DIFFERENCES[0]]
    assert explained(ASKED, THEIRS, THEIRS) == []


@pytest.mark.parametrize(
    "ours", [_error(-32601, "Unknown prompt: nope"), _error(-32602, "nope"), Seen(500, ()), Seen(400, THEIRS.messages)]
)
def test_what_nobody_declared_is_not_explained(ours: Seen) -> None:
    assert explained(ASKED, THEIRS, ours) is None
