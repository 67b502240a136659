"""What the examples' own pages say: the command that runs each, its tools, and that none is left out."""

from __future__ import annotations

import re

import pytest

from mcpsite.endpoint.server_object.loading import load_server
from tests.conformance.processes import ROOT

EXAMPLES = ROOT / "examples"
NAMES = sorted(path.parent.name for path in EXAMPLES.glob("*/server.py"))


def _page(name: str) -> str:
    return (EXAMPLES / name / "README.md").read_text()


@pytest.mark.parametrize("name", NAMES)
async def test_its_command_serves_what_its_page_describes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    (command,) = re.findall(r"^```bash\n(.*?)\n```$", _page(name), re.MULTILINE | re.DOTALL)
    assert command.endswith(" make run")
    settings = dict(word.split("=", 1) for word in command.removesuffix(" make run").split())

    tools = await load_server(settings["MCP_SERVER"]).list_tools()

    assert settings["MCP_SERVER"] == f"examples/{name}/server.py:mcp"
    assert {tool.name for tool in tools if f"`{tool.name}`" not in _page(name)} == set()
    assert [tool.name for tool in tools if not tool.description] == []


def test_the_overview_names_every_example() -> None:
    linked = re.findall(r"\]\((\w+)/README\.md\)", (EXAMPLES / "README.md").read_text())
    assert sorted(linked) == NAMES
