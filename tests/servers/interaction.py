"""The SDK's own interaction tests over this site: those that its conftest runs over Streamable HTTP with sessions."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
FOLDERS: Final = ("tests/interaction/mcpserver", "tests/interaction/lowlevel")
NEEDED: Final = ("inline-snapshot", "dirty-equals", "trio", "logfire", "opentelemetry-sdk", "blockbuster")
ALSO_NEEDED: Final = ("pytest-examples", "pillow")
SECONDS: Final = 900

_PROMPT: Final = "an unknown prompt and a prompt's missing argument are -32602"
_RESOURCE: Final = "an unknown resource is -32002 up to 2025-11-25"
_CODE: Final = "any other exception is -32603, not 0"
_LEVEL: Final = "`logging` is a capability, and the level that a session sets is honoured"

EXPECTED: Final = {
    "test_get_unknown_prompt_is_error": _PROMPT,
    "test_get_prompt_with_a_missing_required_argument_is_an_error": _PROMPT,
    "test_get_prompt_with_a_wrong_type_argument_is_rejected_before_the_function_runs": _CODE,
    "test_read_unknown_uri_is_error": _RESOURCE,
    "test_static_resource_function_raising_not_found_is_invalid_params": _RESOURCE,
    "test_call_tool_uncaught_exception_becomes_error_response": _CODE,
    "test_initialize_minimal_server_advertises_no_capabilities": _LEVEL,
    "test_context_logging_helpers_send_log_notifications": _LEVEL,
    "test_set_logging_level_is_rejected_and_messages_are_never_filtered": _LEVEL,
}
"""Tests that assert what differs on purpose, and which difference it is."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the tests: how many passed, which failed, and of these and the expected what was not foreseen."""

    passed: int
    failed: tuple[str, ...]
    surprises: tuple[str, ...]


def run(sdk: Path, directory: Path) -> Outcome:
    """Run them, in an environment of their own in ``directory``."""
    python = _environment(directory)
    command = [
        *(str(python), "-m", "pytest", "-p", "site_for_sdk_tests", *FOLDERS, "-q", "-rfE", "--tb=no", "--color=no"),
        *("-p", "no:cacheprovider", "-p", "no:django", "-o", "log_cli=false"),
        # Of the site's connections to its DynamoDB, which outlive each test.
        *("-W", "ignore::ResourceWarning", "-W", "ignore::pytest.PytestUnraisableExceptionWarning"),
    ]
    paths = os.pathsep.join((str(ROOT / "tests" / "servers" / "plugin"), str(ROOT)))
    done = subprocess.run(
        command,
        cwd=sdk,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    failed = sorted(set(re.findall(r"^(?:FAILED|ERROR) \S+::(\w+)", done.stdout, re.MULTILINE)))
    passed = re.search(r"(\d+) passed", done.stdout)
    if passed is None:
        raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])
    surprises = [f"fails: {name}" for name in failed if name not in EXPECTED]
    surprises += [f"was to fail, and passes: {name}" for name in EXPECTED if name not in failed]
    return Outcome(int(passed[1]), tuple(failed), tuple(surprises))


def _environment(directory: Path) -> Path:
    python = directory / "env" / "bin" / "python"
    uv = str(Path(sys.executable).parent / "uv")
    if not python.exists():
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(directory / "env")], check=True)
    requirements = ["-r", str(ROOT / "requirements-dev.txt"), *NEEDED, *ALSO_NEEDED]
    subprocess.run([uv, "pip", "install", "--quiet", "--python", str(python), *requirements], check=True)
    return python
