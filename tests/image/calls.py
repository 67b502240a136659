"""A call of a tool with the official SDK's client, and a bearer token."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client


def call(url: str, token: str, tool: str, arguments: dict[str, Any]) -> tuple[list[str], Any]:
    """The names of the tools that are served, and what one of them answers."""

    async def made() -> tuple[list[str], Any]:
        headers = {"Authorization": f"Bearer {token}"}
        async with (
            httpx2.AsyncClient(headers=headers, timeout=60) as http_client,
            Client(streamable_http_client(url, http_client=http_client)) as client,
        ):
            names = [listed.name for listed in (await client.list_tools()).tools]
            result = await client.call_tool(tool, arguments)
            assert not result.is_error, result
            return names, result.structured_content

    return asyncio.run(made())
