"""docs/loop-pitfalls.md stays true: each pitfall has a test that is there, or says why it does not apply."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in (ROOT / "docs" / "loop-pitfalls.md").read_text().splitlines()
    if line.startswith("| ") and not line.startswith("| pitfall |")
]


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_a_pitfall_names_tests_that_exist_or_why_it_does_not_apply(row: list[str]) -> None:
    _, _, proof = row
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", proof)
    for path, test in named:
        assert re.search(rf"^(async )?def {test}\(", (ROOT / "tests" / path).read_text(), re.MULTILINE), (path, test)
    rest = re.sub(r"`[\w/]+\.py::\w+`", "", proof).strip()
    assert rest == "" if named else re.fullmatch(r"does not apply: .+\.", rest)


def test_wait_for_is_banned() -> None:
    code = "import asyncio\n\nget = asyncio.wait_for\n"
    command = [sys.executable, "-m", "ruff", "check", "--quiet", "--stdin-filename", "mcpsite/one.py", "-"]
    done = subprocess.run(command, cwd=ROOT, input=code, capture_output=True, text=True)
    assert "TID251" in done.stdout, done.stdout + done.stderr
