"""Clients that others wrote, against ``manage.py runserver``: the official SDK's in both modes, and the Inspector."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any, Literal

import anyio
import pytest
from mcp.client import Client
from mcp.shared.exceptions import MCPError

from tests.live.servers import Server

TESTS = Path(__file__).resolve().parents[1]
NPX_BIN = TESTS / "node_modules" / ".bin"
Mode = Literal["legacy", "auto"]


async def _use_all_five(url: str, mode: Mode) -> dict[str, Any]:
    """Every tool's structured result, by a client that passes on the handle it was given."""
    results: dict[str, Any] = {}
    async with Client(url, mode=mode) as client:

        async def call(name: str, **arguments: Any) -> Any:
            result = await client.call_tool(name, arguments)
            assert not result.is_error, result.content
            results[name] = result.structured_content
            return result.structured_content

        results["tools"] = [tool.name for tool in (await client.list_tools()).tools]
        results["version"] = client.protocol_version
        stored = await call("store_app_state", key="user_profile", data={"name": "Alice", "role": "admin"})
        # The client of a session needs none.
        handle = {} if mode == "legacy" else {"session_id": stored["session_id"]}
        await call("get_app_state", key="user_profile", **handle)
        await call("lambda_operation", operation="process_batch", input={"batch_id": 123}, **handle)
        await call("lambda_operation", operation="process_batch", input={"batch_id": 124}, **handle)
        await call("global_state", region="us-west-2", data={"cache_warmed": True}, **handle)
        await call("dynamodb_info")
    return results


@pytest.mark.parametrize(("mode", "version"), [("legacy", "2025-11-25"), ("auto", "2026-07-28")])
def test_the_sdks_client_uses_all_five_tools(development_server: Server, mode: Mode, version: str) -> None:
    results = anyio.run(_use_all_five, development_server.url, mode)

    assert results["version"] == version
    assert set(results["tools"]) == results.keys() - {"tools", "version"}
    assert results["get_app_state"]["data"] == {"name": "Alice", "role": "admin"}
    assert results["lambda_operation"]["execution_count"] == 2
    assert results["global_state"]["session_id"] == results["store_app_state"]["session_id"]
    assert [table["status"] for table in results["dynamodb_info"]["tables"]] == ["ACTIVE", "ACTIVE"]


def test_the_sdks_client_begins_anew_after_its_session_ended(development_server: Server) -> None:
    from tests.mcpsite.peers import LegacyPeer

    async def use() -> None:
        async with Client(development_server.url, mode="legacy") as client:
            stored = await client.call_tool("store_app_state", {"key": "a", "data": 1})
            assert stored.structured_content is not None
            session_id = stored.structured_content["session_id"]
            ended = LegacyPeer(development_server.connect(), {"Mcp-Session-Id": session_id}).end()
            assert ended.status == 200
            with pytest.raises(MCPError):
                await client.call_tool("get_app_state", {"key": "a"})
        # What a client does on a 404: a new handshake.
        async with Client(development_server.url, mode="legacy") as client:
            found = await client.call_tool("get_app_state", {"key": "a"})
            assert found.structured_content == {"found": False, "key": "a", "data": None}

    anyio.run(use)


def _inspect(url: str, *arguments: str) -> Any:
    if not (NPX_BIN / "inspector").exists():
        pytest.skip("The MCP Inspector is not installed: npm ci --prefix tests")
    done = subprocess.run(
        ["npx", "@modelcontextprotocol/inspector", "--cli", url, "--transport", "http", *arguments],
        # npx finds a package from the directory it runs in; elsewhere it would download it.
        cwd=TESTS,
        env={**os.environ, "PATH": f"{NPX_BIN}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_the_inspector_lists_the_tools_and_calls_one(development_server: Server) -> None:
    listed = _inspect(development_server.url, "--method", "tools/list")
    assert {tool["name"] for tool in listed["tools"]} >= {"store_app_state", "dynamodb_info"}

    call = ["--method", "tools/call", "--tool-name", "store_app_state"]
    stored = _inspect(
        development_server.url, *call, "--tool-args-json", '{"key": "colour", "data": {"deep": ["blue"]}}'
    )
    assert stored["structuredContent"]["data"] == {"deep": ["blue"]}
