"""``docs/tools.md``: the five tools, and all of them called by curl as the page has it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.docs.answers import answers, structured
from tests.docs.fences import ROOT, fences
from tests.docs.sites import Site, running

PAGE = ROOT / "docs" / "tools.md"
SETUP, *CALLS = (fence.text for fence in fences(PAGE))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running("make run", tmp_path_factory.mktemp("tools")) as site:
        yield site


def test_the_curl_lines_work_pasted_one_after_the_other(site: Site) -> None:
    done = site.shell("\n".join([SETUP, *CALLS]))
    assert done.stderr == ""
    *_, deleted, gone = done.stdout.split()
    stored, operation, region, info, read = (structured(answer) for answer in answers(done.stdout))
    session = re.search(r"^session (\S+)$", done.stdout, re.MULTILINE)

    assert session
    assert stored["stored"] is True
    assert stored["session_id"] == session[1]
    assert operation["execution_count"] == 1
    assert operation["result"]["input"] == {"batch_id": 123, "items": 50}
    assert region["region"] == "us-west-2"
    assert "mcp-session-events" in str(info)
    assert (read["found"], read["data"]) == (True, {"name": "Alice", "role": "admin"})
    assert int(deleted) in (200, 202, 204)
    assert gone == "404"


def test_the_table_names_the_tools_that_are_served(site: Site) -> None:
    listed = '\ncurl -sS "$URL" "${HEADERS[@]}" -d \'{"jsonrpc": "2.0", "id": 9, "method": "tools/list"}\''
    (answer,) = answers(site.shell(SETUP + listed).stdout)
    rows = dict(re.findall(r"^\| `(\w+)` \|([^|]*)\|", PAGE.read_text(), re.MULTILINE))
    arguments = {name: set(re.findall(r"`(\w+)`", cell)) for name, cell in rows.items()}

    served = {tool["name"]: set(tool["inputSchema"]["properties"]) for tool in answer["result"]["tools"]}

    assert {name: names - {"session_id"} for name, names in served.items()} == arguments
