"""One event loop a process, and the served server's lifespan entered once on it."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar

import pytest
from mcp_types import INTERNAL_ERROR
from pytest_django import Settings

from mcpsite.endpoint.loop import LoopThread, current_loop
from tests.mcpsite import servers
from tests.mcpsite.peers import LegacyPeer, ModernPeer

variable: ContextVar[str] = ContextVar("variable", default="unset")


@pytest.fixture
def tools(settings: Settings) -> None:
    settings.MCP_SERVER = "tests.mcpsite.servers:paged"
    current_loop()
    settings.MCP_SERVER = "tests.mcpsite.servers:tools"
    servers.lives.clear()


def test_many_threads_share_one_loop(tools: None) -> None:
    with ThreadPoolExecutor(20) as pool:
        loops = {id(loop) for loop in pool.map(lambda _: current_loop(), range(100))}
    assert len(loops) == 1
    assert servers.lives == ["begun"]


def test_the_lifespan_is_entered_once_and_its_state_reaches_handlers(
    tools: None, legacy: LegacyPeer, modern: ModernPeer
) -> None:
    seen = [peer.call("who").data for peer in (legacy, modern, legacy)]
    assert {entry["thread"] for entry in seen} == {"mcp-loop"}
    assert all(entry["lifespan"] == {"thread": "mcp-loop"} for entry in seen)
    assert servers.lives == ["begun"]


def test_another_server_leaves_the_first_ones_lifespan(tools: None, settings: Settings) -> None:
    first = current_loop()
    settings.MCP_SERVER = "tests.mcpsite.servers:mirrored"
    assert current_loop() is not first
    assert servers.lives == ["begun", "ended"]


def test_what_runs_on_the_loop_sees_the_callers_context_and_keeps_its_own(tools: None) -> None:
    async def read_and_set() -> str:
        before = variable.get()
        variable.set("inside")
        return before

    variable.set("outside")
    assert current_loop().submit(read_and_set()).result() == "outside"
    assert variable.get() == "outside"


def test_an_exception_comes_back_to_who_asked(tools: None) -> None:
    async def fail() -> None:
        raise LookupError("gone")

    with pytest.raises(LookupError, match="gone"):
        current_loop().submit(fail()).result()


def test_a_closed_loop_has_left_its_lifespan_and_ended_its_thread(tools: None) -> None:
    loop = LoopThread(current_loop().server)
    loop.close()
    loop.close()
    assert servers.lives[-1] == "ended"
    assert not loop._thread.is_alive()


def test_a_lifespan_that_fails_to_start_fails_that_request_and_is_tried_again(
    modern: ModernPeer, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    servers.attempts.clear()
    settings.MCP_SERVER = "tests.mcpsite.servers:flaky"

    answer = modern.request("tools/list")
    assert answer.status == 500
    assert answer.error == {"code": INTERNAL_ERROR, "message": "Internal server error"}
    assert "a secret" in caplog.text

    assert modern.request("tools/list").status == 200
    assert servers.attempts == ["begun", "begun"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_lifespan_that_dies_later_is_entered_anew(modern: ModernPeer, settings: Settings) -> None:
    settings.MCP_SERVER = "tests.mcpsite.servers:mortal"
    settings.STREAM_KEEPALIVE_SECONDS = 1
    thread = current_loop()._thread
    modern.call("doom")
    thread.join(5)
    assert not thread.is_alive()

    assert modern.request("tools/list").status == 200


def test_a_forked_child_makes_a_loop_of_its_own(tools: None) -> None:
    async def pid() -> int:
        await asyncio.sleep(0)
        return os.getpid()

    current_loop()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if current_loop().submit(pid()).result(10) == os.getpid() else 2
        finally:
            os._exit(code)

    deadline = time.monotonic() + 20
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert os.waitstatus_to_exitcode(ended[1]) == 0
    assert any(thread.name == "mcp-loop" for thread in threading.enumerate())
