"""The locks: complete, hashed, and installable on every Python and system that the distribution names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.release.conftest import ROOT, run_uv

LOCKS = ("requirements.txt", "requirements-image.txt", "requirements-dev.txt")
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
SYSTEMS = ("x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu", "aarch64-apple-darwin")


def _pins(lock: str) -> dict[str, str]:
    """Each requirement of a lock and its version."""
    text = (ROOT / lock).read_text()
    return dict(re.findall(r"^([\w.-]+(?:\[[\w,-]+\])?)==([^\s;]+)", text, re.MULTILINE))


@pytest.mark.parametrize("lock", LOCKS)
def test_every_requirement_is_pinned_and_hashed(lock: str) -> None:
    text = re.sub(r"\\\n\s*", "", (ROOT / lock).read_text())
    lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    named = set()
    for line in lines:
        # One name may have two versions, each for Pythons that the other is not for.
        match = re.match(r"([\w.-]+(?:\[[\w,-]+\])?)==\S+ (?:; (.*?) )?--hash=sha256:[0-9a-f]{64}", line)
        assert match, line
        named.add(match.groups())
    assert len(named) == len(lines)


def test_the_locks_agree() -> None:
    run, image, dev = map(_pins, LOCKS)
    assert run.items() >= image.items()
    assert dev.items() >= run.items()


def test_the_image_has_no_embedded_dynamodb() -> None:
    assert not {"moto", "flask", "werkzeug", "pytest"} & {name.partition("[")[0] for name in _pins(LOCKS[1])}


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("python", PYTHONS)
def test_the_site_installs_from_wheels_alone(python: str, system: str, tmp_path: Path) -> None:
    run_uv(
        *("pip", "install", "--dry-run", "--no-deps", "--require-hashes", "--only-binary", ":all:"),
        *("--python-version", python, "--python-platform", system, "--target", tmp_path),
        *("--requirements", "requirements.txt"),
    )


def test_the_locks_are_what_pyproject_asks_for() -> None:
    """No name in ``pyproject.toml`` is missing from the lock that it belongs to."""
    asked = run_uv("pip", "compile", "--quiet", "--no-deps", "--no-annotate", "--no-header", "pyproject.toml")
    names = set(re.findall(r"^([\w.-]+)", asked, re.MULTILINE))
    assert names
    assert names <= {name.partition("[")[0] for name in _pins(LOCKS[1])}
