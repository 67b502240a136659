"""Every command of the README runs here as it is written; only ports, paths and the interpreter are replaced.

The word behind ``bash`` in a fence says how: none runs against the section's site in one shell, ``start`` starts that
site, ``npx`` needs Node.js, ``make`` and ``client`` are checked without being run.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import get_commands
from mcp import Client
from moto.server import ThreadedMotoServer

from deploy.image import entrypoint
from docs_site import settings
from tests.docs.answers import answers, structured
from tests.docs.fences import ROOT, fences
from tests.docs.sites import Site, documented_variables, running

README = (ROOT / "README.md").read_text()
NPX_BIN = ROOT / "tests" / "node_modules" / ".bin"


BLOCKS = list(fences(ROOT / "README.md"))


def _shell_blocks(tag: str, section: str | None = None) -> list[str]:
    return [b.text for b in BLOCKS if b.language == "bash" and b.tag == tag and section in (None, b.section)]


def _read_by_settings() -> set[str]:
    """The variables that set a setting of this site, or one that an app declares: what ``.env`` may hold."""
    others = {entrypoint.VARIABLE, *(variable.name for variable in settings.read_by(settings.GUNICORN))}
    return set(settings.variables()) - others


# --- A site of one section ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def quick_start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    (start,) = _shell_blocks("start", "Quick start")
    with running(start, tmp_path_factory.mktemp("site")) as site:
        yield site


# --- The commands ---------------------------------------------------------------------------------------------


def test_the_quick_start_serves_the_endpoint_and_the_staff_pages(quick_start: Site) -> None:
    assert quick_start.status("/healthz") == 200
    assert quick_start.status("/readyz") == 200
    assert quick_start.status("/admin/login/") == 200
    assert quick_start.status("/mcp") == 406


def test_the_curl_lines_work_and_the_session_goes_on_after_a_restart(tmp_path: Path) -> None:
    setup, calls = _shell_blocks("", "Try it with curl")
    (start,) = _shell_blocks("start", "Quick start")
    with running(start, tmp_path) as site:
        done = site.shell(setup + calls)
    (session,) = re.findall(r"^session (\S+)$", done.stdout, re.MULTILINE)
    # The same terminal: its variables are as they were.
    same = setup.replace(setup[setup.index("SESSION=") : setup.index("HEADERS+=")], f"SESSION={session}\n")
    with running(start, tmp_path) as site:
        later = site.shell(same + calls[calls.rindex("curl ") :])

    assert done.stderr == ""
    stored, read = (structured(answer) for answer in answers(done.stdout))
    assert (stored["stored"], stored["session_id"]) == (True, session)
    (again,) = (structured(answer) for answer in answers(later.stdout))
    assert (read["found"], read["data"]) == (again["found"], again["data"]) == (True, {"name": "Alice"})


def test_the_inspector_lists_and_calls_tools(quick_start: Site) -> None:
    if not (NPX_BIN / "inspector").exists():
        pytest.skip("The MCP Inspector is not installed: npm ci --prefix tests")
    (block,) = _shell_blocks("npx")
    # npx finds a package from the directory it runs in; elsewhere it would download it.
    script = f"set -e\ncd {ROOT / 'tests'}\n{block}"

    done = quick_start.shell(script, PATH=f"{NPX_BIN}:{os.environ['PATH']}")

    assert done.returncode == 0, done.stdout + done.stderr
    assert '"lambda_operation"' in done.stdout
    assert '"colour"' in done.stdout


def test_the_example_server_keeps_its_notes(tmp_path: Path) -> None:
    (example,) = (b.text for b in BLOCKS if b.language == "python" and not b.tag)
    call = (
        '\ncurl -sS -w "\\n" "$URL" "${HEADERS[@]}" -d \'{"jsonrpc": "2.0", "id": %d, "method": "tools/call",'
        ' "params": {"name": "add_note", "arguments": {"text": "%s"}}}\''
    )
    (start,) = _shell_blocks("start", "Serve your own tools")
    with running(start, tmp_path, {"notes.py": example}) as site:
        setup = _shell_blocks("", "Try it with curl")[0]
        done = site.shell(setup + call % (1, "milk") + call % (2, "bread"))
        without = asyncio.run(_notes_without_sessions(f"http://127.0.0.1:{site.port}/mcp"))

    first, second = (structured(answer) for answer in answers(done.stdout))
    assert first == {"notes": ["milk"], "number": 1}
    assert second == {"notes": ["milk", "bread"], "number": 2}
    begun, later = without
    assert begun == {"notes": ["tea"], "number": 1, "session_id": begun["session_id"]}
    assert later == {"notes": ["tea", "jam"], "number": 2}


async def _notes_without_sessions(url: str) -> list[dict[str, Any]]:
    """Two notes by the SDK's client as it comes, which negotiates 2026-07-28."""
    async with Client(url) as client:
        assert client.protocol_version == "2026-07-28"
        begun = (await client.call_tool("add_note", {"text": "tea"})).structured_content
        assert begun is not None
        later = await client.call_tool("add_note", {"text": "jam", "session_id": begun["session_id"]})
    return [begun, later.structured_content or {}]


@pytest.fixture
def aws_stand_in() -> Iterator[dict[str, str]]:
    """What stands for AWS: moto's server, and credentials for it."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "WEB_CONCURRENCY": "1",
    }
    server.stop()


def test_the_aws_setup_makes_the_tables_and_serves(tmp_path: Path, aws_stand_in: dict[str, str]) -> None:
    (start,) = _shell_blocks("start", "On AWS")
    with running(start, tmp_path, files=None, **aws_stand_in) as site:
        ready = site.status("/readyz", host="mcp.example.com")
        refused = site.status("/mcp", host="mcp.example.com")

        exports = "".join(line for line in start.splitlines(keepends=True) if line.startswith("export"))
        exports = exports.replace("/srv/mcp-sessions", str(tmp_path))
        (teardown,) = _shell_blocks("", "On AWS")
        asked = site.shell(exports + teardown)
        still_ready = site.status("/readyz", host="mcp.example.com")
        deleted = site.shell(exports + teardown.replace("--delete", "--delete --yes"))
        gone = site.status("/readyz", host="mcp.example.com")

    log = site.log.read_text()
    assert ready == 200, log
    assert refused == 401
    assert re.search(r"mcp-session-events.*created", log)
    # It asks first, and here is nobody to answer.
    assert asked.returncode != 0
    assert still_ready == 200
    assert deleted.returncode == 0, deleted.stderr
    assert gone == 503


MAKES_KEY = [
    fence.text
    for page in (ROOT / "README.md", ROOT / "docs" / "production.md")
    for fence in fences(page)
    if "secrets.token_urlsafe" in fence.text
]


@pytest.mark.parametrize("block", MAKES_KEY)
def test_a_secret_key_is_made_once_however_often_its_lines_are_pasted(tmp_path: Path, block: str) -> None:
    kept = [line for line in block.splitlines() if not line.startswith(("docker ", "make ", ".venv/"))]
    script = "\n".join([*kept, "cat .env"])
    (tmp_path / ".env").touch()

    first, second = (
        subprocess.run(["bash", "-eu"], input=script, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    )

    assert len(MAKES_KEY) == 2
    assert re.fullmatch(r"SECRET_KEY=[\w-]{50,}\n([A-Z_]+=[\w-]{50,}\n)*", first)
    assert second == first


# --- What cannot run here -------------------------------------------------------------------------------------


def _every(language: str) -> list[Any]:
    """The blocks of a language as parameters, each named by its section and its place among all blocks."""
    return [pytest.param(b.text, id=f"{b.section}-{i}") for i, b in enumerate(BLOCKS) if b.language == language]


@pytest.mark.parametrize("text", _every("bash"))
def test_shell_blocks_are_well_formed(text: str) -> None:
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)


@pytest.mark.parametrize("text", _every("json"))
def test_json_blocks_are_well_formed(text: str) -> None:
    assert json.loads(text)


def test_every_client_is_pointed_at_the_endpoint() -> None:
    assert set(re.findall(r"http://[\w.:]+/mcp\b", README)) == {"http://127.0.0.1:8062/mcp"}


def test_every_named_command_and_target_exists() -> None:
    shell = "\n".join(b.text for b in BLOCKS if b.language == "bash")
    commands = set(re.findall(r"manage\.py (\w+)", README))
    targets = set(re.findall(r"\bmake (\w+)$", shell, re.MULTILINE))

    assert commands <= set(get_commands())
    assert targets == {"run", "install", "test", "check"}
    for target in targets:
        subprocess.run(["make", "--dry-run", target], cwd=ROOT, check=True, capture_output=True)


def test_every_variable_in_a_command_is_in_a_table() -> None:
    named = {name for text in _shell_blocks("start") for name in re.findall(r"\b([A-Z][A-Z_]+)=", text)}
    assert named <= documented_variables()


# --- What stands beside it ------------------------------------------------------------------------------------


def test_the_example_environment_names_every_setting() -> None:
    lines = (ROOT / ".env.example").read_text()
    assert set(re.findall(r"^(?:# )?([A-Z_0-9]+)=", lines, re.MULTILINE)) == _read_by_settings()
