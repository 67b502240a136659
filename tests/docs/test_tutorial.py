"""``docs/tutorial.md``, followed step by step as far as no container engine and no AWS is needed."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

from tests.docs import staff
from tests.docs.fences import ROOT, fences
from tests.docs.sites import running
from tests.engines import free_ports

SERVER, START, *SHELL, DOCKERFILE = (
    fence for fence in fences(ROOT / "docs" / "tutorial.md") if fence.mark == "run by tests/docs/test_tutorial.py"
)


def test_the_tutorial_works_as_it_is_pasted(tmp_path: Path) -> None:
    # Whatever fails in between, nothing is left running.
    script = "set -eu\ntrap 'kill -9 $(jobs -p) 2>/dev/null || true' EXIT\n" + "\n".join(block.text for block in SHELL)
    script = script.replace(".venv/bin/gunicorn", "python -m gunicorn")
    with running(START.text, tmp_path, {SERVER.title: SERVER.text}) as site:
        # The port is an argument of a function there, not a part of an address.
        for written, port in zip(("8062", "8071", "8072"), (site.port, *free_ports(2)), strict=True):
            script = re.sub(rf"\b{written}\b", str(port), script)
        done = site.shell(script)
        logs = "".join(path.read_text() for path in site.root.glob("*.log"))
        assert done.returncode == 0, done.stdout + done.stderr + logs
        (session,) = re.findall(r"^session (\S+)$", done.stdout, re.MULTILINE)
        login = staff.printed_login(site)
        assert session in staff.page(site, login, "sessions/")
        page = staff.page(site, login, f"sessions/{session}/")

    answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    ready = [answer for answer in answers if "status" in answer]
    called = [answer["result"]["structuredContent"] for answer in answers if "result" in answer]
    items = ["milk", "bread", "tea", "jam"]
    assert ready == [{"status": "ready"}] * 2
    assert called == [
        {"items": items[:1], "added": 1},
        {"items": items[:2], "added": 2},
        {"items": items[:3], "added": 3},
        {"items": items[:3]},
        {"items": items, "added": 4},
    ]
    assert "jam" in page
    assert "tools/call" in page


def test_the_image_of_the_tutorial_serves_what_was_copied_into_it() -> None:
    lines = [line for line in DOCKERFILE.text.splitlines() if line]
    (copied,) = (line.split()[-2] for line in lines if line.startswith("COPY"))
    (served,) = (line.partition("MCP_SERVER=")[2] for line in lines if line.startswith("ENV"))
    module, _, attribute = served.partition(":")
    assert lines[0] == "FROM mcp-sessions"
    assert copied == f"{module}.py" == SERVER.title
    names = [node.targets[0] for node in ast.parse(SERVER.text).body if isinstance(node, ast.Assign)]
    assert attribute in {name.id for name in names if isinstance(name, ast.Name)}
