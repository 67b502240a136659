"""``docs/quick-start.md``, followed step by step."""

from __future__ import annotations

import re
from pathlib import Path

from tests.docs import staff
from tests.docs.fences import ROOT, fences
from tests.docs.sites import running

SERVER, START, STORE, ANSWER = (
    fence for fence in fences(ROOT / "docs" / "quick-start.md") if fence.mark == "run by tests/docs/test_quick_start.py"
)


def test_the_quick_start_stores_a_note_that_is_there_after_a_restart(tmp_path: Path) -> None:
    with running(START.text, tmp_path, {SERVER.title: SERVER.text}) as site:
        done = site.shell(STORE.text)
        login = staff.printed_login(site)
        assert done.stdout == ANSWER.text, done.stderr
        (session,) = re.findall(r'data-copy="([\w-]+)"', staff.page(site, login, "sessions/"))
        assert "bread" in staff.page(site, login, f"sessions/{session}/")
        log = site.log.read_text()

    assert f"Staff login (shown this once): http://127.0.0.1:{site.port}/admin/" in log
    assert f"http://127.0.0.1:{site.port}/mcp" in log

    with running(START.text, tmp_path) as again:
        assert "bread" in staff.page(again, login, f"sessions/{session}/")
