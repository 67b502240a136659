"""strands' ``MCPClient``, whose connection lives in a thread of its own."""

from __future__ import annotations

import asyncio
import uuid

import mcp_types as types
from python_steps import COLOUR, main
from strands.tools.mcp import MCPClient


class Peer:
    keeps_session = False

    def __init__(self, url):
        self.lacks = {}
        self.client = MCPClient(url=url, elicitation_callback=self._elicit)

    async def __aenter__(self):
        await asyncio.to_thread(self.client.start)
        return self

    async def __aexit__(self, *exception):
        await asyncio.to_thread(self.client.stop, None, None, None)

    async def tools(self):
        listed = await asyncio.to_thread(self.client.list_tools_sync)
        return {tool.tool_name: tool.tool_spec["inputSchema"]["json"] for tool in listed}

    async def call(self, tool, arguments):
        return await self._call(tool, arguments)

    async def call_with_progress(self, tool, arguments, noted):
        async def note(progress, total, message):
            noted(progress)

        return await self._call(tool, arguments, progress_callback=note)

    async def _call(self, tool, arguments, **options):
        result = await self.client.call_tool_async(uuid.uuid4().hex, tool, arguments, **options)
        if result["status"] != "success":
            raise AssertionError(str(result["content"]))
        return str(result).replace("\\", "")

    async def _elicit(self, context, params):
        return types.ElicitResult(action="accept", content={"colour": COLOUR})


if __name__ == "__main__":
    main(Peer)
