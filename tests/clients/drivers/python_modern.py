"""The official Python SDK 2.x: ``Client``, in the mode that ``MODE`` names: legacy (sessions) or auto (2026-07-28)."""

from __future__ import annotations

import os
import re

import mcp_types as types
from mcp.client import Client
from python_steps import COLOUR, REPLY, ROOT, main

MODE = os.environ["MODE"]


class Peer:
    keeps_session = MODE == "legacy"

    def __init__(self, url):
        self.logged = []
        self.lacks = {}
        self.client = Client(
            url,
            mode=MODE,
            elicitation_callback=self._elicit,
            sampling_callback=self._sample,
            list_roots_callback=self._list_roots,
            logging_callback=self._log,
            log_level="info",
        )
        if MODE == "legacy":
            self.set_level = self._set_level

    async def __aenter__(self):
        await self.client.__aenter__()
        return self

    async def __aexit__(self, *exception):
        await self.client.__aexit__(*exception)

    async def version(self):
        return self.client.protocol_version

    async def tools(self):
        return {tool.name: tool.input_schema for tool in (await self.client.list_tools()).tools}

    async def call(self, tool, arguments):
        return text_of(await self.client.call_tool(tool, arguments))

    async def call_with_progress(self, tool, arguments, noted):
        async def note(progress, total, message):
            noted(progress)

        return text_of(await self.client.call_tool(tool, arguments, progress_callback=note))

    async def _set_level(self, level):
        await self.client.set_logging_level(level)

    async def _elicit(self, context, params):
        return types.ElicitResult(action="accept", content={"colour": COLOUR})

    async def _sample(self, context, params):
        content = types.TextContent(type="text", text=REPLY)
        return types.CreateMessageResult(role="assistant", content=content, model="none")

    async def _list_roots(self, context):
        return types.ListRootsResult(roots=[types.Root(uri=ROOT)])

    async def _log(self, params):
        self.logged.append(params.data)


def text_of(result):
    if result.is_error:
        raise AssertionError(" ".join(getattr(block, "text", "") for block in result.content))
    return re.sub(r"\\+", "", result.model_dump_json())


if __name__ == "__main__":
    main(Peer)
