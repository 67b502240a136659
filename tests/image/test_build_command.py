"""``make image``: which engine it takes, and what it says where there is none."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.image.compose import ROOT

ENGINES = ("docker", "podman", "nerdctl", "buildah")


def _made(directory: Path, engines: dict[str, bool], *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """``make image`` in a clone, where these engines are on PATH, each of which answers or does not."""
    clone, programs = directory / "clone", directory / "programs"
    (clone / "deploy" / "image").mkdir(parents=True)
    programs.mkdir()
    shutil.copy2(ROOT / "Makefile", clone)
    shutil.copy2(ROOT / "deploy" / "image" / "build", clone / "deploy" / "image")
    for name in ("make", "sh", "dirname", "rm"):
        (programs / name).symlink_to(shutil.which(name) or "")
    for name, answers in engines.items():
        engine = programs / name
        engine.write_text(
            f'#!/bin/sh\nif [ "$1" = info ]; then exit {0 if answers else 1}; fi\necho "$PWD: {name} $*"\n'
        )
        engine.chmod(0o755)
    return subprocess.run(
        ["make", "--no-print-directory", "image", *arguments],
        cwd=clone,
        env={"PATH": str(programs), **env},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("engine", ENGINES)
def test_the_first_engine_that_answers_builds(engine: str, tmp_path: Path) -> None:
    others = {name: ENGINES.index(name) > ENGINES.index(engine) for name in ENGINES if name != engine}
    done = _made(tmp_path, {**others, engine: True})
    assert done.returncode == 0, done.stderr
    # Their own format has no HEALTHCHECK.
    kind = "--format docker " if engine in ("podman", "buildah") else ""
    assert done.stdout.splitlines() == [
        f"Building mcp-sessions with {engine}.",
        f"{tmp_path / 'clone'}: {engine} build --tag mcp-sessions {kind}.",
    ]


def test_its_name_and_the_engine_s_options_can_be_given(tmp_path: Path) -> None:
    done = _made(tmp_path, {"docker": True}, "ARGS=--pull --build-arg PYTHON_IMAGE=other", "TAG=registry/mine:1")
    assert done.stdout.splitlines()[1:] == [
        f"{tmp_path / 'clone'}: docker build --tag registry/mine:1 --pull --build-arg PYTHON_IMAGE=other ."
    ]


def test_without_an_engine_it_says_what_is_missing(tmp_path: Path) -> None:
    done = _made(tmp_path, {})
    assert done.returncode != 0
    assert "An image needs docker, podman, nerdctl or buildah, and none of them is on PATH." in done.stderr


def test_an_engine_that_does_not_answer_is_named(tmp_path: Path) -> None:
    done = _made(tmp_path, {"docker": False, "buildah": False})
    assert done.returncode != 0
    assert "does not answer: docker buildah. Start it" in done.stderr
