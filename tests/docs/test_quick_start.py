"""``docs/quick-start.md``, followed step by step."""

from __future__ import annotations

from pathlib import Path

from tests.docs.walkthroughs import blocks_of, started

SERVER, START, STORE, ANSWER = blocks_of("quick-start.md", "tests/docs/test_quick_start.py")


def test_the_quick_start_stores_a_note(tmp_path: Path) -> None:
    with started(START.text, tmp_path, {SERVER.title: SERVER.text}) as site:
        done = site.paste(STORE.text, {})
        log = site.log.read_text()

    assert done.stdout == ANSWER.text, done.stderr
    assert f"Staff login (shown this once): http://127.0.0.1:{site.port}/admin/" in log
    assert f"http://127.0.0.1:{site.port}/mcp" in log
