"""axe-core in a page: what somebody with a screen reader or weak sight would stumble over."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Page

SCRIPT: Final = Path(__file__).resolve().parents[1] / "node_modules" / "axe-core" / "axe.min.js"
GRAVE: Final = ("serious", "critical")
MAX_NODES: Final = 5


class AxeMissing(Exception):
    """axe-core is not installed; the message says how to install it."""


@cache
def _script() -> str:
    if not SCRIPT.exists():
        raise AxeMissing("axe-core is not installed: run 'npm ci --prefix tests'")
    return SCRIPT.read_text()


def grave_violations(page: Page) -> list[str]:
    """Serious and critical violations, each with its rule and the elements that break it."""
    page.evaluate(_script())
    found: dict[str, Any] = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [_described(violation) for violation in found["violations"] if violation["impact"] in GRAVE]


def _described(violation: dict[str, Any]) -> str:
    lines = [f"{violation['impact']}: {violation['id']}: {violation['help']}"]
    for node in violation["nodes"][:MAX_NODES]:
        lines += [f"  {node['target']} {node['html'][:300]}", f"    {node['failureSummary']}"]
    if (more := len(violation["nodes"]) - MAX_NODES) > 0:
        lines.append(f"  and {more} more")
    return "\n".join(lines)
