"""mcp-use's ``MCPClient`` and its session."""

from __future__ import annotations

import os

os.environ["MCP_USE_ANONYMIZED_TELEMETRY"] = "false"

from mcp import types
from mcp_use import MCPClient
from python_steps import COLOUR, REPLY, ROOT, main


class Peer:
    keeps_session = True
    asks_for_all_levels = True

    def __init__(self, url):
        self.logged = []
        self.lacks = {}
        self.client = MCPClient(
            {"mcpServers": {"matrix": {"url": url}}},
            sampling_callback=self._sample,
            elicitation_callback=self._elicit,
            logging_callback=self._log,
            list_roots_callback=self._list_roots,
        )

    async def __aenter__(self):
        self.session = await self.client.create_session("matrix")
        return self

    async def __aexit__(self, *exception):
        await self.client.close_all_sessions()

    async def tools(self):
        return {tool.name: tool.inputSchema for tool in await self.session.list_tools()}

    async def call(self, tool, arguments):
        result = await self.session.call_tool(tool, arguments)
        if result.isError:
            raise AssertionError(str(result.content))
        return result.model_dump_json().replace("\\", "")

    async def _log(self, params):
        self.logged.append(params.data)

    async def _elicit(self, context, params):
        return types.ElicitResult(action="accept", content={"colour": COLOUR})

    async def _sample(self, context, params):
        content = types.TextContent(type="text", text=REPLY)
        return types.CreateMessageResult(role="assistant", content=content, model="none")

    async def _list_roots(self, context):
        return types.ListRootsResult(roots=[types.Root(uri=ROOT)])


if __name__ == "__main__":
    main(Peer)
