"""pydantic-ai's ``MCPToolset``, called as its agents call it."""

from __future__ import annotations

from pydantic_ai.mcp import MCPToolset
from python_steps import COLOUR, REPLY, main


class Peer:
    keeps_session = False
    asks_for_all_levels = True

    def __init__(self, url):
        self.logged = []
        self.lacks = {}
        self.noted = None
        self.toolset = MCPToolset(
            url,
            elicitation_handler=self._elicit,
            sampling_handler=self._sample,
            log_handler=self._log,
            progress_handler=self._progress,
            read_timeout=60,
        )

    async def __aenter__(self):
        await self.toolset.__aenter__()
        return self

    async def __aexit__(self, *exception):
        await self.toolset.__aexit__(*exception)

    async def tools(self):
        return {tool.name: tool.input_schema for tool in await self.toolset.list_tools()}

    async def call(self, tool, arguments):
        return str(await self.toolset.direct_call_tool(tool, arguments))

    async def call_with_progress(self, tool, arguments, noted):
        self.noted = noted
        return await self.call(tool, arguments)

    async def _progress(self, progress, total, message):
        if self.noted:
            self.noted(progress)

    async def _log(self, message):
        data = message.data
        self.logged.append(data["msg"] if isinstance(data, dict) else data)

    async def _elicit(self, message, response_type, params, context):
        return response_type(colour=COLOUR)

    async def _sample(self, messages, params, context):
        return REPLY


if __name__ == "__main__":
    main(Peer)
