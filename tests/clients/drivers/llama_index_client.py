"""llama-index-tools-mcp: ``BasicMCPClient`` and the tools of its ``McpToolSpec``; each call opens a session."""

from __future__ import annotations

import mcp_types as types
from llama_index.tools.mcp import BasicMCPClient, McpToolSpec
from python_steps import REPLY, main


class Peer:
    keeps_session = False
    session_for_each_call = True

    def __init__(self, url):
        self.lacks = {}
        self.client = BasicMCPClient(url, timeout=60, sampling_callback=self._sample)

    async def __aenter__(self):
        self.made = {tool.metadata.name: tool for tool in await McpToolSpec(self.client).to_tool_list_async()}
        return self

    async def __aexit__(self, *exception):
        """There is nothing to leave: the client has no end."""

    async def tools(self):
        return {tool.name: tool.input_schema for tool in (await self.client.list_tools()).tools}

    async def call(self, tool, arguments):
        output = await self.made[tool].acall(**arguments)
        if output.is_error:
            raise AssertionError(output.content)
        return f"{output.content} {output.raw_output}"

    async def call_with_progress(self, tool, arguments, noted):
        async def note(progress, total, message):
            noted(progress)

        return str(await self.client.call_tool(tool, arguments, progress_callback=note))

    async def _sample(self, context, params):
        content = types.TextContent(type="text", text=REPLY)
        return types.CreateMessageResult(role="assistant", content=content, model="none")


if __name__ == "__main__":
    main(Peer)
