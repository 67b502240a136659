"""What the examples' own pages say: the command that runs each, its tools, and that none is left out."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conformance.processes import ROOT, base_environment

EXAMPLES = ROOT / "examples"
NAMES = sorted(path.parent.name for path in EXAMPLES.glob("*/server.py"))


def _page(name: str) -> str:
    return (EXAMPLES / name / "README.md").read_text()


@pytest.mark.parametrize("name", NAMES)
def test_its_command_serves_it(name: str, tmp_path: Path) -> None:
    (command,) = re.findall(r"^```bash\n(.*?)\n```$", _page(name), re.MULTILINE | re.DOTALL)
    assert command.endswith(" make run")
    settings = dict(word.split("=", 1) for word in command.removesuffix(" make run").split())
    assert settings["MCP_SERVER"] == f"examples/{name}/server.py:mcp"

    env = base_environment() | {"DEBUG": "true", "DATABASE_URL": f"sqlite:///{tmp_path / 'db.sqlite3'}", **settings}
    check = subprocess.run(
        [sys.executable, "manage.py", "check", "--fail-level", "WARNING"],
        cwd=ROOT,
        env={**env, "PYTHONPATH": os.fspath(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert check.returncode == 0, check.stderr


@pytest.mark.parametrize("name", NAMES)
def test_its_page_names_every_tool(name: str) -> None:
    tree = ast.parse((EXAMPLES / name / "server.py").read_text())
    tools = {
        node.name
        for node in tree.body
        if isinstance(node, ast.AsyncFunctionDef)
        and any(ast.unparse(decorator) == "mcp.tool()" for decorator in node.decorator_list)
    }
    assert tools
    assert {tool for tool in tools if f"`{tool}`" not in _page(name)} == set()


def test_the_overview_names_every_example() -> None:
    linked = re.findall(r"\]\((\w+)/README\.md\)", (EXAMPLES / "README.md").read_text())
    assert sorted(linked) == NAMES
