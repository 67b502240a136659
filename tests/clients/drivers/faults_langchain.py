"""LangChain's tools, each call in a session of its own that it ends: ``faults_langchain.py URL``, one line of JSON."""

from __future__ import annotations

import asyncio
import json
import sys

from langchain_core.tools import ToolException
from langchain_mcp_adapters.client import MultiServerMCPClient


def text_of(content):
    return content if isinstance(content, str) else content[0]["text"]


async def pass_the_handle_on(url):
    client = MultiServerMCPClient({"site": {"transport": "streamable_http", "url": url}})
    tools = {tool.name: tool for tool in await client.get_tools()}
    stored = await tools["store_app_state"].ainvoke({"key": "colour", "data": "blue"})
    handle = json.loads(text_of(stored))["session_id"]
    try:
        said = text_of(await tools["get_app_state"].ainvoke({"key": "colour", "session_id": handle}))
    except ToolException as refused:
        said = str(refused)
    async with client.session("site") as session:
        begun = await session.initialize()
    return {"handle": handle, "said": said, "instructions": begun.instructions}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(pass_the_handle_on(sys.argv[1]))))
