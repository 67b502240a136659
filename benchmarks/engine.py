"""DynamoDB Local as measurements need it, and the parts of a benchmark that run over it in processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

from tests import engines
from tests.conformance.processes import ROOT, site_environment

JAVA_OPTIONS: Final = ("-Djava.library.path=DynamoDBLocal_lib",)
"""As its users run it: the tests' own options favour a quick start over a fast server."""


def dynamodb_local() -> AbstractContextManager[str]:
    """An empty one, as a process; its URL."""
    return engines.dynamodb_local(JAVA_OPTIONS)


@contextmanager
def part_environment() -> Iterator[dict[str, str]]:
    """The environment of parts that share one DynamoDB Local, which ends with the block."""
    with dynamodb_local() as url, tempfile.TemporaryDirectory() as directory:
        yield site_environment(url, Path(directory)) | {"DJANGO_SETTINGS_MODULE": "mcpsite.settings"}


def run_part(module: str, *words: str, env: dict[str, str]) -> dict[str, float]:
    """What a part printed: the module, run with these words."""
    command = [sys.executable, "-m", module, *words]
    child = subprocess.run(command, cwd=ROOT, env=env, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603 (own)
    answer: dict[str, float] = json.loads(child.stdout)
    return answer
