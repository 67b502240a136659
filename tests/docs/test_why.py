"""``docs/index.md``: its picture, and what the SDKs that are installed here say of a session that they do not know."""

from __future__ import annotations

import inspect
import re
from xml.etree import ElementTree

import pytest
from mcp.client import streamable_http
from mcp.server import streamable_http_manager

from tests.conformance.processes import ROOT

PAGE = (ROOT / "docs" / "index.md").read_text()
PICTURE = ROOT / "docs" / "pictures" / "why.svg"
SVG = "{http://www.w3.org/2000/svg}"
SDKS = ROOT / "tests" / "node_modules" / "@modelcontextprotocol"


def test_the_picture_says_what_it_shows_and_asks_nobody_for_anything() -> None:
    text = PICTURE.read_text()
    root = ElementTree.fromstring(text)
    assert root.find(f"{SVG}title") is not None
    assert root.find(f"{SVG}desc") is not None
    assert re.findall(r"https?://[^\s\"']+", text) == ["http://www.w3.org/2000/svg"]
    assert "@import" not in text
    assert "url(" not in re.sub(r"url\(#[\w-]+\)", "", text)


def test_the_picture_has_each_of_its_colours_in_the_dark_too() -> None:
    light, _, dark = PICTURE.read_text().partition("prefers-color-scheme: dark")
    named = re.compile(r"^\s+(\.?[\w-]+) \{[^}]*(?:fill|stroke): #", re.MULTILINE)
    assert set(named.findall(light)) == set(named.findall(dark.partition("</style>")[0]))


def test_the_page_quotes_the_python_sdk() -> None:
    assert 'error_response("Session not found", 404)' in inspect.getsource(streamable_http_manager)
    assert "`MCPError: Session not found`" in PAGE
    # With a body that is no JSON-RPC error, such as a balancer's own, it is the former text.
    assert 'message="Session terminated"' in inspect.getsource(streamable_http)
    assert "`McpError: Session terminated`" in PAGE


@pytest.mark.parametrize(
    ("package", "texts"),
    [
        (
            "sdk/dist/esm/client/streamableHttp.js",
            ["Streamable HTTP error: ${message}", "Error POSTing to endpoint: ${"],
        ),
        ("sdk/dist/esm/server/webStandardStreamableHttp.js", ["404, -32001, 'Session not found'", "not initialized"]),
        ("client/dist/index.mjs", ["Error POSTing to endpoint: ${"]),
    ],
)
def test_the_page_quotes_the_typescript_sdks(package: str, texts: list[str]) -> None:
    if not SDKS.exists():
        pytest.skip("The TypeScript SDKs are not installed: npm ci --prefix tests")
    source = (SDKS / package).read_text()
    assert [text for text in texts if text not in source] == []
    assert "Streamable HTTP error: Error POSTing to endpoint: {" in PAGE
