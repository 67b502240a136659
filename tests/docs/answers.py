"""What the endpoint answers among the lines that a page's commands print."""

from __future__ import annotations

import json
from typing import Any


def answers(output: str) -> list[dict[str, Any]]:
    """The JSON-RPC answers among the lines of a shell's output."""
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")]


def structured(answer: dict[str, Any]) -> dict[str, Any]:
    """The structured result of a tool's call that succeeded."""
    assert "error" not in answer, answer
    assert not answer["result"].get("isError"), answer
    content: dict[str, Any] = answer["result"]["structuredContent"]
    return content
