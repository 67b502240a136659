"""langchain-mcp-adapters: tools loaded on a session that stays open, or ``get_tools()``, where each call opens one."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack

from langchain_mcp_adapters.callbacks import Callbacks
from langchain_mcp_adapters.client import MultiServerMCPClient
from langchain_mcp_adapters.tools import load_mcp_tools
from mcp import types
from python_steps import COLOUR, REPLY, ROOT, main

KEEPS = os.environ["SESSION"] == "kept"


class Peer:
    keeps_session = KEEPS
    session_for_each_call = not KEEPS

    def __init__(self, url):
        self.logged = []
        self.lacks = {}
        self.noted = None
        self.stack = AsyncExitStack()
        self.callbacks = Callbacks(
            on_logging_message=self._log, on_progress=self._progress, on_elicitation=self._elicit
        )
        session = {"sampling_callback": self._sample, "list_roots_callback": self._list_roots}
        connection = {"transport": "streamable_http", "url": url, "session_kwargs": session}
        self.client = MultiServerMCPClient({"matrix": connection}, callbacks=self.callbacks)
        if KEEPS:
            self.set_level = self._set_level

    async def __aenter__(self):
        if KEEPS:
            self.session = await self.stack.enter_async_context(self.client.session("matrix"))
            loaded = await load_mcp_tools(self.session, callbacks=self.callbacks, server_name="matrix")
        else:
            loaded = await self.client.get_tools()
        self.loaded = {tool.name: tool for tool in loaded}
        return self

    async def __aexit__(self, *exception):
        await self.stack.aclose()

    async def tools(self):
        return {name: tool.args_schema for name, tool in self.loaded.items()}

    async def call(self, tool, arguments):
        message = await self.loaded[tool].ainvoke({"type": "tool_call", "id": "1", "name": tool, "args": arguments})
        if message.status == "error":
            raise AssertionError(str(message.content))
        return f"{message.content} {message.artifact or ''}"

    async def call_with_progress(self, tool, arguments, noted):
        self.noted = noted
        return await self.call(tool, arguments)

    async def _set_level(self, level):
        await self.session.set_logging_level(level)

    async def _progress(self, progress, total, message, context):
        if self.noted:
            self.noted(progress)

    async def _log(self, params, context):
        self.logged.append(params.data)

    async def _elicit(self, request, params, context):
        return types.ElicitResult(action="accept", content={"colour": COLOUR})

    async def _sample(self, context, params):
        content = types.TextContent(type="text", text=REPLY)
        return types.CreateMessageResult(role="assistant", content=content, model="none")

    async def _list_roots(self, context):
        return types.ListRootsResult(roots=[types.Root(uri=ROOT)])


if __name__ == "__main__":
    main(Peer)
