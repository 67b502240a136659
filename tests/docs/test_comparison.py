"""``docs/comparison.md`` speaks of the versions that ``benchmarks.compare`` measures, and of every one of them."""

from __future__ import annotations

import re

import pytest

from tests.conformance.processes import ROOT

PAGE = (ROOT / "docs" / "comparison.md").read_text()
PINS = {
    name: version
    for path in (ROOT / "benchmarks" / "peers").glob("*.txt")
    for name, version in re.findall(r"^([\w.-]+)==(\S+)$", path.read_text(), re.MULTILINE)
}


@pytest.mark.parametrize(
    ("package", "shown"),
    [("mcp-persist", "mcp-persist"), ("fastmcp", "FastMCP"), ("awslabs-mcp-lambda-handler", "mcp-lambda-handler")],
)
def test_its_versions_are_those_that_are_measured(package: str, shown: str) -> None:
    said = set(re.findall(rf"{re.escape(shown)}\]\([^)]*\) (\d[\d.]*\d)", PAGE))
    assert said == {PINS[package]}


def test_each_row_of_the_overview_has_its_section() -> None:
    linked = set(re.findall(r"\]\(#([\w-]+)\)", PAGE))
    anchors = {
        re.sub(r"[^\w -]", "", line[3:]).strip().lower().replace(" ", "-")
        for line in PAGE.splitlines()
        if line.startswith("## ")
    }
    assert linked <= anchors, linked - anchors
