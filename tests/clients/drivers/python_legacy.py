"""The official Python SDK 1.x: ``ClientSession`` over ``streamablehttp_client``."""

from __future__ import annotations

import inspect
import re
from contextlib import AsyncExitStack

import mcp.types as types
from mcp.client.session import ClientSession
from mcp.client.streamable_http import streamablehttp_client
from python_steps import COLOUR, REPLY, ROOT, main

TAKES = inspect.signature(ClientSession.__init__).parameters


class Peer:
    keeps_session = True

    def __init__(self, url):
        self.url = url
        self.logged = []
        self.lacks = {}
        self.stack = AsyncExitStack()
        if "elicitation_callback" not in TAKES:
            self.lacks["elicitation"] = "this release has no elicitation"

    async def __aenter__(self):
        read, write, *_ = await self.stack.enter_async_context(streamablehttp_client(self.url))
        callbacks = {
            "elicitation_callback": self._elicit,
            "sampling_callback": self._sample,
            "list_roots_callback": self._list_roots,
            "logging_callback": self._log,
        }
        session = ClientSession(read, write, **{name: value for name, value in callbacks.items() if name in TAKES})
        self.session = await self.stack.enter_async_context(session)
        self.initialized = await self.session.initialize()
        return self

    async def __aexit__(self, *exception):
        await self.stack.aclose()

    async def version(self):
        return str(self.initialized.protocolVersion)

    async def tools(self):
        return {tool.name: tool.inputSchema for tool in (await self.session.list_tools()).tools}

    async def call(self, tool, arguments):
        return text_of(await self.session.call_tool(tool, arguments))

    async def call_with_progress(self, tool, arguments, noted):
        async def note(progress, total, message):
            noted(progress)

        return text_of(await self.session.call_tool(tool, arguments, progress_callback=note))

    async def set_level(self, level):
        await self.session.set_logging_level(level)

    async def cancel_last(self, tool):
        """These releases send no cancellation of their own: a caller sends the notification."""
        (waiting,) = self.session._response_streams
        params = types.CancelledNotificationParams(requestId=waiting, reason="changed my mind")
        cancelled = types.CancelledNotification(method="notifications/cancelled", params=params)
        await self.session.send_notification(types.ClientNotification(cancelled))

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
    """All that a result says, its structured part included where the release knows of one."""
    if result.isError:
        raise AssertionError(" ".join(getattr(block, "text", "") for block in result.content))
    return re.sub(r"\\+", "", result.model_dump_json())


if __name__ == "__main__":
    main(Peer)
