"""openai-agents' ``MCPServerStreamableHttp``, called as its runner calls it."""

from __future__ import annotations

from agents.mcp import MCPServerStreamableHttp
from python_steps import main


class Peer:
    keeps_session = False
    calls_in_turn = True

    def __init__(self, url):
        self.lacks = {}
        self.server = MCPServerStreamableHttp({"url": url, "timeout": 60}, client_session_timeout_seconds=60)

    async def __aenter__(self):
        await self.server.connect()
        return self

    async def __aexit__(self, *exception):
        await self.server.cleanup()

    async def tools(self):
        return {tool.name: tool.input_schema for tool in await self.server.list_tools()}

    async def call(self, tool, arguments):
        result = await self.server.call_tool(tool, arguments)
        if result.is_error:
            raise AssertionError(str(result.content))
        return result.model_dump_json().replace("\\", "")


if __name__ == "__main__":
    main(Peer)
