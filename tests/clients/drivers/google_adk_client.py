"""google-adk's ``McpToolset``, its tools run as an agent runs them."""

from __future__ import annotations

import json
import uuid

import mcp_types as types
from google.adk.agents import LlmAgent
from google.adk.agents.invocation_context import InvocationContext
from google.adk.sessions import InMemorySessionService
from google.adk.tools.mcp_tool import McpToolset, StreamableHTTPConnectionParams
from google.adk.tools.tool_context import ToolContext
from python_steps import COLOUR, REPLY, main


class Peer:
    keeps_session = True

    def __init__(self, url):
        self.lacks = {}
        self.noted = None
        self.toolset = McpToolset(
            connection_params=StreamableHTTPConnectionParams(url=url, timeout=60),
            sampling_callback=self._sample,
            elicitation_callback=self._elicit,
            progress_callback=self._progress,
        )

    async def __aenter__(self):
        sessions = InMemorySessionService()
        self.invocation = InvocationContext(
            session_service=sessions,
            invocation_id=uuid.uuid4().hex,
            agent=LlmAgent(name="matrix"),
            session=await sessions.create_session(app_name="matrix", user_id="matrix"),
        )
        self.loaded = {tool.name: tool for tool in await self.toolset.get_tools()}
        return self

    async def __aexit__(self, *exception):
        await self.toolset.close()

    async def tools(self):
        return {name: tool.raw_mcp_tool.input_schema for name, tool in self.loaded.items()}

    async def call(self, tool, arguments):
        context = ToolContext(self.invocation, function_call_id=uuid.uuid4().hex)
        result = await self.loaded[tool].run_async(args=arguments, tool_context=context)
        if result.get("isError") or "error" in result:
            raise AssertionError(json.dumps(result))
        return json.dumps(result).replace("\\", "")

    async def call_with_progress(self, tool, arguments, noted):
        self.noted = noted
        return await self.call(tool, arguments)

    async def _progress(self, progress, total, message):
        if self.noted:
            self.noted(progress)

    async def _elicit(self, context, params):
        return types.ElicitResult(action="accept", content={"colour": COLOUR})

    async def _sample(self, context, params):
        content = types.TextContent(type="text", text=REPLY)
        return types.CreateMessageResult(role="assistant", content=content, model="none")


if __name__ == "__main__":
    main(Peer)
