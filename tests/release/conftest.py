"""The distribution as its users get it: the built wheel, in an environment that holds nothing else.

uv makes and fills the environments: it keeps what it has fetched. A test that finds no package registry skips, and on
CI fails.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import uv

ROOT = Path(__file__).resolve().parents[2]
UV = uv.find_uv_bin()


def outside() -> dict[str, str]:
    """This process's environment without what would lead a child back to the clone, or to an AWS."""
    ours = ("AWS_", "DYNAMODB_", "MCP_", "DJANGO_", "PYTHONPATH", "VIRTUAL_ENV", "IAM_CALLS")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return kept | {"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.devnull}


def run_uv(*arguments: str | Path) -> str:
    """What uv prints; skips the test, and on CI fails it, where no package registry answers."""
    done = subprocess.run(
        [UV, *map(str, arguments)], cwd=ROOT, env=outside(), capture_output=True, text=True, check=False
    )
    if done.returncode and "error sending request" in done.stderr.lower() and os.environ.get("CI") != "true":
        pytest.skip("no package registry answers")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this clone."""
    directory = tmp_path_factory.mktemp("dist")
    run_uv("build", "--wheel", "--out-dir", directory, ".")
    (built,) = directory.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``bin`` of an environment with the wheel, its extra for development, and what they need."""
    directory = tmp_path_factory.mktemp("bare") / "venv"
    run_uv("venv", directory)
    python = directory / "bin" / "python"
    # The versions that are locked: whether others work too is not this test's question.
    run_uv("pip", "install", "--python", python, "--constraints", "requirements.txt", f"{wheel}[embedded]")
    return python.parent
