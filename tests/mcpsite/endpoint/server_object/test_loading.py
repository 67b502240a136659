"""What ``MCP_SERVER`` may name, and what is said of everything else."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from textwrap import dedent

import pytest
from django.core.checks import run_checks
from mcp.server.lowlevel import Server
from mcp.server.mcpserver import MCPServer
from pytest_django import Settings

from mcpsite.endpoint.server_object import authored
from mcpsite.endpoint.server_object.authored import CannotServe
from mcpsite.endpoint.server_object.loading import load_server, low_level
from mcpsite.endpoint.serving.served import served_server
from tests.mcpsite.peers import LegacyPeer, ModernPeer

NOTES = """
    from mcp.server.mcpserver import MCPServer

    notes = MCPServer("notes")

    @notes.tool()
    def add(text: str) -> str:
        return f"added {text}"
"""


class Project:
    """A directory that modules are imported from."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, name: str, text: str) -> Path:
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(text))
        return file


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """It is the current directory, and the first on the path; nothing of it stays imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    before = set(sys.modules)
    yield Project(tmp_path)
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
    load_server.cache_clear()


def _refusal(path: str) -> CannotServe:
    with pytest.raises(CannotServe) as caught:
        load_server(path)
    return caught.value


@pytest.mark.parametrize("name", ["mcp", "server", "app"])
@pytest.mark.parametrize("path", ["usual", "usual.py", "./usual.py"])
def test_without_an_attribute_it_is_found_by_the_sdks_own_names(project: Project, name: str, path: str) -> None:
    project.write("usual.py", NOTES.replace("notes", name))
    assert load_server(path) is load_server(path)
    assert load_server(path).name == name


def test_what_has_a_usual_name_and_is_no_server_is_passed_over(project: Project) -> None:
    project.write("usual.py", NOTES + "\n    mcp = object()\n    app = notes\n")
    assert load_server("usual").name == "notes"


def test_a_module_without_a_usual_name_says_what_it_has(project: Project) -> None:
    project.write("unusual.py", NOTES + "\n    app = notes.streamable_http_app()\n    memos = MCPServer('memos')\n")
    refusal = _refusal("unusual")
    assert "none of mcp, server, app is a server; app is a Starlette" in str(refusal)
    assert "MCP_SERVER=unusual:notes, MCP_SERVER=unusual:memos" in str(refusal)
    assert "MCP_SERVER=./unusual.py:notes" in str(_refusal("./unusual.py"))


def test_a_file_is_served_with_what_lies_beside_it(project: Project, legacy: LegacyPeer, settings: Settings) -> None:
    project.write("servers/words.py", 'WORD = "hello"')
    file = project.write(
        "servers/greeter.py",
        """
        from words import WORD
        from mcp.server.mcpserver import MCPServer
        mcp = MCPServer("greeter")

        @mcp.tool()
        def greet() -> str:
            return WORD
        """,
    )
    settings.MCP_SERVER = f"{file}:mcp"
    assert legacy.call("greet").text == "hello"
    # By its own name, so that whatever imports it gets the same module.
    assert sys.modules["greeter"].mcp is load_server(str(file))


def test_a_file_of_a_package_may_import_in_both_ways(project: Project) -> None:
    project.write("pack/__init__.py", "")
    project.write("pack/inner/__init__.py", "")
    project.write("pack/inner/words.py", 'WORD = "hello"')
    project.write("pack/inner/other.py", 'OTHER = "world"')
    file = project.write(
        "pack/inner/server.py",
        """
        from mcp.server.mcpserver import MCPServer
        from .words import WORD
        from other import OTHER
        mcp = MCPServer(WORD + OTHER)
        """,
    )
    assert load_server(str(file)).name == "helloworld"
    assert "pack.inner.server" in sys.modules


def test_a_file_with_another_modules_name_hides_nothing(project: Project) -> None:
    mcp, json = sys.modules["mcp"], sys.modules["json"]
    for name in ("mcp", "json", "__main__"):
        file = project.write(f"{name}.py", NOTES.replace("notes", "server").replace('"server"', f'"{name}"'))
        assert load_server(f"{file}:server").name == name
    assert sys.modules["mcp"] is mcp
    assert sys.modules["json"] is json


def test_a_file_that_is_not_there_is_named(project: Project) -> None:
    assert str(project.path / "nowhere.py") in str(_refusal("nowhere.py:mcp"))
    assert "path/to/file.py:attribute" in _refusal("nowhere.py:mcp").hint


@pytest.mark.parametrize(
    "factory",
    [
        "def make(name='made'): return MCPServer(name)",
        "async def make(*args, **options): return MCPServer('made')",
        "class Maker:\n    def make(self): return MCPServer('made')\nmake = Maker().make",
        "from functools import partial\nmake = partial(MCPServer, 'made')",
        "def make(): return MCPServer('made')._lowlevel_server",
    ],
)
def test_a_function_makes_the_server_once(project: Project, factory: str) -> None:
    (project.path / "factory.py").write_text(f"from mcp.server.mcpserver import MCPServer\n{factory}\n")
    made = load_server("factory:make")
    assert isinstance(made, MCPServer | Server)
    assert made.name == "made"
    assert load_server("factory:make") is made


def test_an_async_function_makes_it_where_a_loop_runs_already(project: Project) -> None:
    project.write(
        "factory.py",
        """
        import asyncio
        from mcp.server.mcpserver import MCPServer
        async def make():
            await asyncio.sleep(0)
            return MCPServer("made")
        """,
    )

    async def load() -> str:
        name: str = load_server("factory:make").name
        return name

    assert asyncio.run(load()) == "made"


def test_a_made_server_is_served_in_both_eras(
    project: Project, legacy: LegacyPeer, modern: ModernPeer, settings: Settings
) -> None:
    project.write("factory.py", NOTES + "\n    def make(): return notes\n")
    settings.MCP_SERVER = "factory:make"
    for peer in (legacy, modern):
        assert peer.call("add", text="milk").text == "added milk"


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("class make(MCPServer): ...", "it is the class make"),
        ("make = MCPServer", "it is the class MCPServer"),
        ("def make(name, port=1): ...", "it is a function that needs arguments (name)"),
        ("def make(): return MCPServer", "make() returned the class MCPServer"),
        ("def make(): ...", "make() returned a NoneType"),
        ("make = MCPServer('x').streamable_http_app()", "it is a Starlette"),
        ("make = 'mcp'", "it is a str"),
        ("def make():\n    raise KeyError('TOKEN')", "calling make() raised KeyError: 'TOKEN'"),
        ("import sys\ndef make():\n    sys.exit('no')", "calling make() raised SystemExit: no"),
        ("async def make():\n    raise OSError('no')", "calling make() raised OSError: no"),
    ],
)
def test_what_makes_no_server_is_said(project: Project, code: str, problem: str) -> None:
    (project.path / "factory.py").write_text(
        f"from mcp.server.mcpserver import MCPServer\nother = MCPServer('x')\n{code}\n"
    )
    assert problem in str(_refusal("factory:make"))
    assert _refusal("factory:make").hint


@pytest.mark.parametrize(
    ("code", "problem", "line"),
    [
        ("value = 1\nraise ValueError('no\\nkey')", "ValueError: no\nkey", "line 2, in <module>: raise ValueError"),
        ("import json\njson.loads('{')", "JSONDecodeError: Expecting", "line 2, in <module>: json.loads('{')"),
        ("mcp = (\n", "SyntaxError: '(' was never closed", "line 1: mcp = ("),
        ("def f():\n  x\n y\n", "IndentationError: unindent does not match", "line 3: y"),
        ("import sys\nsys.exit()", "SystemExit", "line 2, in <module>: sys.exit()"),
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'", "line 1, in <module>"),
        ("from json import nothing", "ImportError: cannot import name 'nothing'", "line 1, in <module>"),
        ("mcp = undefined", "NameError: name 'undefined' is not defined", "line 1, in <module>: mcp = undefined"),
        ("assert False", "AssertionError (", "line 1, in <module>: assert False"),
    ],
)
@pytest.mark.parametrize("by", ["broken:mcp", "broken.py:mcp", "outer:mcp"])
def test_a_module_that_raises_is_a_check_error_with_the_cause_and_its_place(
    project: Project, settings: Settings, code: str, problem: str, line: str, by: str
) -> None:
    file = project.path / "broken.py"
    file.write_text(code)
    project.write("outer.py", "import broken\nmcp = broken.mcp")
    settings.MCP_SERVER = by
    (error,) = (found for found in run_checks() if found.id == "mcp_endpoint.E004")
    assert problem in error.msg
    assert f"{file}, {line}" in error.msg
    assert error.hint
    assert str(file) in _refusal(by).files


def test_a_module_that_is_mended_is_served(project: Project, settings: Settings) -> None:
    settings.MCP_SERVER = "mended:mcp"
    project.write("mended.py", "mcp = undefined")
    assert [found.id for found in run_checks() if (found.id or "").startswith("mcp_endpoint.")] == ["mcp_endpoint.E004"]
    # Longer: a compiled file is known by its source's time and size.
    project.write("mended.py", NOTES.replace("notes", "mcp"))
    assert [found.id for found in run_checks() if (found.id or "").startswith("mcp_endpoint.")] == []
    assert served_server().name == "mcp"


def test_what_the_site_waits_for_is_said(
    project: Project, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    said = threading.Event()

    class Heard(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.set()

    heard = Heard()
    monkeypatch.setattr(authored, "SLOW_SECONDS", 0.05)
    # A server that runs: until the log has it, and no longer.
    monkeypatch.setattr(MCPServer, "run", partial(said.wait, 60))
    file = project.write("running.py", NOTES + "\n    notes.run()\n")
    authored.logger.addHandler(heard)
    try:
        assert load_server("running:notes").name == "notes"
    finally:
        authored.logger.removeHandler(heard)
    (record,) = caplog.records
    assert record.getMessage() == (
        f"importing running has taken 0.05 s, and the site waits for it; it is at {file}, line 10: notes.run(). What"
        " runs a server, such as mcp.run(), belongs under if __name__ == '__main__'."
    )


def test_fastmcps_server_object_is_found(project: Project, settings: Settings) -> None:
    pytest.importorskip("fastmcp", reason="FastMCP 4 is not installed: its server object is not loaded")
    project.write("fast.py", "from fastmcp import FastMCP\nmcp = FastMCP('fast')\nasync def make(): return mcp")
    for path in ("fast", "fast:mcp", "fast.py:make"):
        assert isinstance(low_level(load_server(path)), Server)
    settings.MCP_SERVER = "fast"
    assert served_server().name == "fast"


def test_fastmcp_is_not_imported_for_others(project: Project) -> None:
    before = {name for name in sys.modules if name.startswith("fastmcp")}
    project.write("plain.py", NOTES)
    low_level(load_server("plain:notes"))
    assert {name for name in sys.modules if name.startswith("fastmcp")} == before
