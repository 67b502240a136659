"""``docs/tutorial.md``, followed step by step as far as no container engine and no AWS is needed."""

from __future__ import annotations

import ast
import http.cookiejar
import json
import re
import urllib.parse
import urllib.request
from pathlib import Path

from tests.docs.walkthroughs import Running, blocks_of, started
from tests.engines import free_ports

SERVER, START, *SHELL, DOCKERFILE = blocks_of("tutorial.md", "tests/docs/test_tutorial.py")


def test_the_tutorial_works_as_it_is_pasted(tmp_path: Path) -> None:
    first, second = free_ports(2)
    # Whatever fails in between, nothing is left running.
    script = "trap 'kill -9 $(jobs -p) 2>/dev/null || true' EXIT\n" + "\n".join(block.text for block in SHELL)
    with started(START.text, tmp_path, {SERVER.title: SERVER.text}) as site:
        done = site.paste(script, {"8071": first, "8072": second})
        logs = "".join((site.root / name).read_text() for name in ("first.log", "second.log"))
        assert done.returncode == 0, done.stdout + done.stderr + logs
        (session,) = re.findall(r"^session (\S+)$", done.stdout, re.MULTILINE)
        page = _page_of(site, session)

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
    assert session in page
    assert "jam" in page
    assert "tools/call" in page


def _page_of(site: Running, session: str) -> str:
    """The staff page of a session, by the login that was printed."""
    (login,) = re.findall(r"user (\S+) password (\S+)$", site.log.read_text(), re.MULTILINE)
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
    base = f"http://127.0.0.1:{site.port}"
    form = opener.open(f"{base}/admin/login/").read().decode()
    (token,) = re.findall(r'name="csrfmiddlewaretoken" value="([^"]+)"', form)[:1]
    fields = {"csrfmiddlewaretoken": token, "username": login[0], "password": login[1], "next": "/admin/"}
    opener.open(f"{base}/admin/login/", urllib.parse.urlencode(fields).encode()).read()
    listing = opener.open(f"{base}/admin/sessions/").read().decode()
    assert session in listing
    return str(opener.open(f"{base}/admin/sessions/{session}/").read().decode())


def test_the_image_of_the_tutorial_serves_what_was_copied_into_it() -> None:
    lines = [line for line in DOCKERFILE.text.splitlines() if line]
    (copied,) = (line.split()[-2] for line in lines if line.startswith("COPY"))
    (served,) = (line.partition("MCP_SERVER=")[2] for line in lines if line.startswith("ENV"))
    module, _, attribute = served.partition(":")
    assert lines[0] == "FROM mcp-sessions"
    assert copied == f"{module}.py" == SERVER.title
    names = [node.targets[0] for node in ast.parse(SERVER.text).body if isinstance(node, ast.Assign)]
    assert attribute in {name.id for name in names if isinstance(name, ast.Name)}
