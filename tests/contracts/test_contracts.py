"""The contracts of ``.importlinter``, each against a violation of it in a copy of the code."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINT = Path(sys.executable).with_name("lint-imports")

FOR_TYPES_ALONE = "\nfrom typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    {}\n"
VIOLATIONS = {
    "site": ("sessions_dynamo/errors.py", "from mcpsite import health"),
    "app": ("sessions_dynamo/store/values.py", FOR_TYPES_ALONE.format("from sessions_dynamo.upkeep import pricing")),
    "pages": ("sessions_dynamo/staff/sessions/rows.py", "from sessions_dynamo.staff.events import listing"),
    "site-rooms": ("mcpsite/health.py", "from mcpsite.try_it import views"),
    "endpoint": ("mcpsite/endpoint/wire/sse.py", "def f() -> None:\n    from mcpsite.endpoint.streams import outbox"),
    "circles": ("sessions_dynamo/store/values.py", "from sessions_dynamo.store import state"),
    "doors": ("sessions_dynamo/upkeep/status.py", "from sessions_dynamo.store import large_values"),
    "operations": ("sessions_dynamo/store/batches.py", "import time"),
    "boto3": ("sessions_dynamo/store/batches.py", "import boto3"),
}
"""By contract: a file, and what is added to its end."""


def _contracts() -> dict[str, str]:
    """Each contract's name by its id."""
    config = configparser.ConfigParser()
    config.read(ROOT / ".importlinter")
    marker = "importlinter:contract:"
    return {name.removeprefix(marker): config[name]["name"] for name in config.sections() if name.startswith(marker)}


def _broken(directory: Path) -> set[str]:
    """The names of the contracts that are broken in a copy of the code."""
    done = subprocess.run([LINT, "--no-logo", "--no-cache"], cwd=directory, capture_output=True, text=True, check=False)
    assert "Contracts:" in done.stdout, done.stdout + done.stderr
    return set(re.findall(r"^(.*) BROKEN", done.stdout, re.MULTILINE))


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The code, without anything else."""
    for name in ("mcpsite", "sessions_dynamo", "tests/contracts"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in (".importlinter", "tests/__init__.py"):
        shutil.copy2(ROOT / name, tmp_path / name)
    return tmp_path


def test_the_code_keeps_every_contract(copy: Path) -> None:
    assert _broken(copy) == set()


@pytest.mark.parametrize("contract", sorted(_contracts()))
def test_a_violation_is_caught(copy: Path, contract: str) -> None:
    name, added = VIOLATIONS[contract]
    with (copy / name).open("a") as file:
        file.write(f"\n{added}\n")
    assert _contracts()[contract] in _broken(copy)


@pytest.mark.parametrize("room", ["sessions_dynamo", "sessions_dynamo/staff", "mcpsite", "mcpsite/endpoint"])
def test_a_module_without_a_place_is_caught(copy: Path, room: str) -> None:
    (copy / room / "stray.py").write_text('"""It has no place in the drawing."""\n')
    assert len(_broken(copy)) == 1


def test_a_room_without_doors_is_caught(copy: Path) -> None:
    (copy / "sessions_dynamo" / "store" / "__init__.py").write_text('"""What a request reads and writes."""\n')
    done = subprocess.run([LINT, "--no-logo", "--no-cache"], cwd=copy, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "sessions_dynamo.store names no doors" in done.stdout + done.stderr
