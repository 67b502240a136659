"""What AWS gives away of Lambda, built once from its registries: the runtime interface emulator, the Web Adapter."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

from tests.conftest import NOT_TESTED

EMULATOR: Final = "github.com/aws/aws-lambda-runtime-interface-emulator"
EMULATOR_VERSION: Final = "v0.0.0-20261030222936-bef5c4ba774d"
ADAPTER: Final = "lambda_web_adapter"
ADAPTER_VERSION: Final = "0.9.1"
LONG: Final = "TEST_LAMBDA"
"""``make lambda`` sets it: what takes minutes to build is built."""

_CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mcp-sessions" / "lambda"


def emulator() -> Path:
    """AWS's runtime interface emulator; skips where there is no Go to build it with."""
    made = _CACHE / EMULATOR_VERSION / "aws-lambda-rie"
    if not made.exists():
        if shutil.which("go") is None:
            pytest.skip(f"{NOT_TESTED} against the runtime interface emulator: it is built with Go, which is not here")
        env = {"GOBIN": str(made.parent), "GOPATH": str(_CACHE / "go"), "GOFLAGS": "-modcacherw"}
        _build(["go", "install", f"{EMULATOR}/cmd/aws-lambda-rie@{EMULATOR_VERSION}"], env)
    return made


def adapter() -> Path:
    """The AWS Lambda Web Adapter; skips where it was not built, which takes minutes, and ``make lambda`` does."""
    made = _CACHE / ADAPTER_VERSION / "bin" / "lambda-adapter"
    if not made.exists():
        if LONG not in os.environ:
            pytest.skip(f"{NOT_TESTED} behind the Lambda Web Adapter: it is not built; make lambda builds it")
        if shutil.which("cargo") is None:
            pytest.skip(f"{NOT_TESTED} behind the Lambda Web Adapter: it is built with Cargo, which is not here")
        command = ["cargo", "install", ADAPTER, "--version", ADAPTER_VERSION, "--locked", "--debug"]
        env = {"CARGO_TARGET_DIR": str(_CACHE / "target")}
        _build([*command, "--root", str(made.parent.parent)], env)
    return made


def _build(command: Sequence[str], env: dict[str, str]) -> None:
    done = subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True)
    if done.returncode:
        if "CI" in os.environ:
            raise RuntimeError(f"{' '.join(command)}:\n{done.stderr[-2000:]}")
        pytest.skip(f"{NOT_TESTED}: {command[0]} could not build it: {done.stderr.strip().splitlines()[-1]}")
