"""FastMCP's ``Client``, from 2 on; what differs between its lines is found out here."""

from __future__ import annotations

import re

import fastmcp
from fastmcp import Client
from python_steps import COLOUR, REPLY, ROOT, main

MAJOR = int(fastmcp.__version__.split(".")[0])


class Peer:
    keeps_session = MAJOR < 4
    asks_for_all_levels = MAJOR >= 4

    def __init__(self, url):
        self.logged = []
        self.lacks = {}
        self.client = Client(
            url,
            roots=[ROOT],
            elicitation_handler=self._elicit,
            sampling_handler=self._sample,
            log_handler=self._log,
        )
        if MAJOR < 4:
            self.set_level = self._set_level
            self.cancel_last = self._cancel_last

    async def __aenter__(self):
        await self.client.__aenter__()
        return self

    async def __aexit__(self, *exception):
        await self.client.__aexit__(*exception)

    async def version(self):
        if MAJOR < 4:
            return str(self.client.initialize_result.protocolVersion)
        return self.client.session.protocol_version

    async def tools(self):
        return {
            tool.name: tool.inputSchema if MAJOR < 4 else tool.input_schema for tool in await self.client.list_tools()
        }

    async def call(self, tool, arguments):
        return text_of(await self.client.call_tool(tool, arguments))

    async def call_with_progress(self, tool, arguments, noted):
        async def note(progress, total, message):
            noted(progress)

        return text_of(await self.client.call_tool(tool, arguments, progress_handler=note))

    async def _set_level(self, level):
        await self.client.set_logging_level(level)

    async def _cancel_last(self, tool):
        """The client has a method for it, and no public way to the id that it wants."""
        (waiting,) = self.client.session._response_streams
        await self.client.cancel(waiting, "changed my mind")

    async def _elicit(self, message, response_type, params, context):
        return response_type(colour=COLOUR)

    async def _sample(self, messages, params, context):
        return REPLY

    async def _log(self, message):
        data = message.data
        self.logged.append(data["msg"] if isinstance(data, dict) else data)


def text_of(result):
    texts = [getattr(block, "text", "") for block in result.content]
    return re.sub(r"\\+", "", " ".join([*texts, str(result.structured_content or ""), str(result.meta or "")]))


if __name__ == "__main__":
    main(Peer)
