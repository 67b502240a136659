"""The images for Lambda: what they are made of is what the tests here run."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Final

import pytest

from tests.aws_lambda.tools import ADAPTER_VERSION
from tests.conftest import NOT_TESTED

DOCKERFILE: Final = Path(__file__).resolve().parents[2] / "deploy" / "lambda" / "Dockerfile"


def test_their_versions_are_those_that_are_tested() -> None:
    text = DOCKERFILE.read_text()
    assert f"aws-lambda-adapter:{ADAPTER_VERSION}\n" in text
    assert f"ARG AWSLAMBDARIC={version('awslambdaric')}\n" in text


def test_what_the_adapter_is_told() -> None:
    stages = DOCKERFILE.read_text().split("\nFROM ")
    streaming = next(stage for stage in stages if "AS streaming" in stage)
    for told in ("AWS_LWA_INVOKE_MODE=response_stream", "AWS_LWA_READINESS_CHECK_PATH=/healthz", "WEB_CONCURRENCY=1"):
        assert told in streaming


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = shutil.which("hadolint") or shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if hadolint is None:
        pytest.skip(f"{NOT_TESTED} with hadolint: it is not installed")
    done = subprocess.run([hadolint, DOCKERFILE], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
