"""Clients that others wrote, each in what it met with here: over three processes, each request to the next of them."""

from __future__ import annotations

import json
import logging
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.client import Client

from tests.clients.environments import Go, Maven, NotBuilt, Pip, Recipe, prepared
from tests.conftest import NOT_TESTED
from tests.engines import on_dynamodb_local
from tests.live.stream_sites import StreamSite, stream_site

pytestmark = on_dynamodb_local

SECONDS = 240
GO_SDK = Go("go/lost.go", "github.com/modelcontextprotocol/go-sdk@v1.8.0")


@pytest.fixture(scope="module")
def site(engine: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[StreamSite]:
    with stream_site(engine[1], tmp_path_factory.mktemp("faults"), STREAM_KEEPALIVE_SECONDS="1") as site:
        yield site


def said(name: str, recipe: Recipe, *arguments: str) -> str:
    """What a client's driver printed; its environment is built first."""
    try:
        command = prepared(f"fault {name}", recipe)
    except NotBuilt as exc:
        if os.environ.get("CI") == "true":
            pytest.fail(str(exc))
        pytest.skip(f"{NOT_TESTED} with {name}: {exc}")
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def answered(name: str, recipe: Recipe, *arguments: str) -> dict[str, Any]:
    """The last line, which is JSON."""
    answer: dict[str, Any] = json.loads(said(name, recipe, *arguments).splitlines()[-1])
    return answer


def python(version: str) -> tuple[str, Pip]:
    return f"Python SDK {version}", Pip("faults_python.py", (f"mcp=={version}",))


# --- What goes over the line ------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1.0.2", "2.0.1"])
def test_javas_client_reads_every_kind_of_stream(site: StreamSite, version: str) -> None:
    """It fails on a stream that says ``retry``."""
    lines = said(f"Java SDK {version}", Maven("Faults", version), site.url).splitlines()
    steps = dict(line.split("\t", 1) for line in lines if "\t" in line)
    assert steps["progress"] == "[1.0, 2.0, 3.0]"
    assert steps["question"] == "green"
    assert steps["silence"].startswith("worked on process")
    assert steps["standalone"] == "[1, 2, 3]"


@pytest.mark.parametrize("version", ["1.22.0", "1.30.0"])
def test_pythons_client_takes_no_comment_for_a_message(site: StreamSite, version: str) -> None:
    """Up to 1.22 it logs a traceback for each blank line after an event with an id."""
    answer = answered(*python(version), "silence", site.url)
    assert answer["text"].startswith("worked on process")
    assert answer["logged"] == []


def test_the_client_of_today_hears_nothing_of_comments(
    site: StreamSite, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def wait() -> Any:
        async with Client(site.url, mode="legacy") as client:
            await client.call_tool("say_aside", {"first": 1, "last": 2})
            return await client.call_tool("work", {"seconds": 4, "mark": str(tmp_path / "mark"), "announced": True})

    with caplog.at_level(logging.WARNING):
        assert not anyio.run(wait).is_error
    assert [record for record in caplog.records if record.name.startswith("mcp.client")] == []


# --- The end of a session ---------------------------------------------------------------------------------------


def test_pythons_client_leaves_in_peace_while_a_call_is_under_way(site: StreamSite) -> None:
    """It raises on exit for an answer that finds its session closed; the call may run on another worker."""
    assert answered(*python("1.30.0"), "ends", site.url) == {"raised": []}


def test_fastmcps_client_does_too(site: StreamSite) -> None:
    recipe = Pip("faults_fastmcp.py", ("fastmcp==2.14.7",))
    assert answered("FastMCP 2.14", recipe, site.url) == {"raised": []}


def test_gos_client_knows_a_lost_session(site: StreamSite) -> None:
    assert said("go-sdk", GO_SDK, site.url).splitlines() == ["before: <nil>", "ended: 200", "lost: true"]


def test_langchains_tools_are_told_that_a_handle_ended_with_its_session(site: StreamSite) -> None:
    """They open a session for each call and end it."""
    port, recipe = site.ports[0], Pip("faults_langchain.py", ("langchain-mcp-adapters==0.3.2", "mcp==1.30.0"))
    site.kill(port)
    site.start(port, MCP_SERVER="mcpsite.server:mcp")
    try:
        answer = answered("langchain", recipe, f"http://127.0.0.1:{port}/mcp")
    finally:
        site.kill(port)
        site.start(port)
    assert "names nothing from then on" in answer["instructions"]
    assert repr(answer["handle"]) in answer["said"]
    assert "Leave session_id out" in answer["said"]


# --- The path ---------------------------------------------------------------------------------------------------


def test_a_slash_at_the_end_is_no_other_endpoint(site: StreamSite) -> None:
    assert "work" in answered(*python("1.30.0"), "tools", f"{site.url}/")["tools"]
    assert "lost: true" in said("go-sdk", GO_SDK, f"{site.url}/")
