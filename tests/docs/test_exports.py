"""What docs/exports.md says of a move from the embedded DynamoDB to DynamoDB Local, with both."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.conftest import start_or_skip
from tests.docs.fences import ROOT, fences
from tests.docs.sites import running
from tests.engines import DYNAMODB_LOCAL

CALL = """
curl -sS -o /dev/null http://127.0.0.1:8062/mcp -H 'Content-Type: application/json' \\
  -H 'Accept: application/json, text/event-stream' -d '{"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
  "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "curl", "version": "1"}}}'
"""


def test_a_session_goes_from_the_embedded_dynamodb_to_dynamodb_local(
    tmp_path: Path, start_engine: Callable[[str], str]
) -> None:
    _, url = start_or_skip(DYNAMODB_LOCAL, start_engine)
    (block,) = [fence.text for fence in fences(ROOT / "docs" / "exports.md") if "test_exports" in fence.mark]
    assert block.count("http://127.0.0.1:8000") == 1
    # Tables of its own: the engine is that of every other test.
    names = {"DYNAMODB_SESSIONS_TABLE": "moved-sessions", "DYNAMODB_EVENTS_TABLE": "moved-events"}
    with running("make run", tmp_path, None, **names) as site:
        site.shell(CALL)
        done = site.shell("set -e -o pipefail\n" + block.replace("http://127.0.0.1:8000", url))

    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 items of sessions" in done.stdout.splitlines()[-1], done.stdout
