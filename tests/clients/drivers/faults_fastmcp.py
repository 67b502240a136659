"""FastMCP's client that leaves while a call is under way: ``faults_fastmcp.py URL``, one line of JSON."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import anyio
from fastmcp import Client

RUNS = 6


async def leave_a_call(url):
    async with Client(url) as client:
        mark = Path(tempfile.mkdtemp()) / "mark"

        async def call():
            await client.call_tool("work", {"seconds": 20, "mark": str(mark), "announced": False})

        async with anyio.create_task_group() as group:
            group.start_soon(call)
            await anyio.sleep(0.5)
            group.cancel_scope.cancel()


if __name__ == "__main__":
    raised = []
    for _ in range(RUNS):
        try:
            anyio.run(leave_a_call, sys.argv[1])
        except BaseException as exc:
            raised.append(repr(exc)[:300])
    print(json.dumps({"raised": raised}))
