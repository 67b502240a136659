"""The SDK's clients before 2.0, in what they met with here: ``faults_python.py WHAT URL``, one line of JSON."""

from __future__ import annotations

import json
import logging
import sys
import tempfile
from pathlib import Path

import anyio
from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client

RUNS = 6
SILENCE_SECONDS = 4.0


class Kept(logging.Handler):
    """What the client's own loggers say that is worse than information."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.messages = []

    def emit(self, record):
        self.messages.append(record.getMessage())


def work(announced, seconds):
    mark = Path(tempfile.mkdtemp()) / "mark"
    return {"seconds": seconds, "mark": str(mark), "announced": announced}


async def leave_a_call(url, announced):
    """Leave the session while a call is under way, as whoever is cancelled does: DELETE goes out, the call is open."""
    async with streamablehttp_client(url) as (read, write, _), ClientSession(read, write) as session:
        await session.initialize()

        async def call():
            await session.call_tool("work", work(announced, 20))

        async with anyio.create_task_group() as group:
            group.start_soon(call)
            await anyio.sleep(0.5)
            group.cancel_scope.cancel()


def ends(url):
    """How many of some runs raised on exit."""
    raised = []
    for number in range(RUNS):
        try:
            anyio.run(leave_a_call, url, number % 2 == 1)
        except BaseException as exc:
            raised.append(repr(exc)[:300])
    return {"raised": raised}


async def wait_in_silence(url):
    async with streamablehttp_client(url) as (read, write, _), ClientSession(read, write) as session:
        await session.initialize()
        # An event with an id, on the standalone stream and on a call's, then nothing but comments.
        await session.call_tool("say_aside", {"first": 1, "last": 2})
        result = await session.call_tool("work", work(True, SILENCE_SECONDS))
        return result.content[0].text


def silence(url):
    """A silent call's result, and what was logged meanwhile."""
    kept = Kept()
    logging.getLogger("mcp").addHandler(kept)
    return {"text": anyio.run(wait_in_silence, url), "logged": kept.messages}


async def list_tools(url):
    async with streamablehttp_client(url) as (read, write, _), ClientSession(read, write) as session:
        await session.initialize()
        return [tool.name for tool in (await session.list_tools()).tools]


def tools(url):
    return {"tools": anyio.run(list_tools, url)}


if __name__ == "__main__":
    what = {"ends": ends, "silence": silence, "tools": tools}[sys.argv[1]]
    print(json.dumps(what(sys.argv[2])))
