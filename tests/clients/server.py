"""The server of the matrix as this site serves it: the five tools, a counter without a handle of its own, and the rest.

``MCP_SERVER=tests.clients.server:mcp``.
"""

from __future__ import annotations

from typing import Annotated, Any

from mcp.server.mcpserver import MCPServer, Resolve
from typing_extensions import TypedDict

from mcpsite.endpoint.tools import Session, current_session
from mcpsite.server import dynamodb_info, get_app_state, global_state, lambda_operation, store_app_state
from tests.clients.tools import add_tools

mcp: MCPServer[Any] = MCPServer("clients")
for tool in (store_app_state, get_app_state, lambda_operation, dynamodb_info, global_state):
    mcp.add_tool(tool)
add_tools(mcp)


class Counted(TypedDict):
    """What ``count`` returns."""

    count: int


@mcp.tool()
async def count(session: Annotated[Session, Resolve(current_session)]) -> Counted:
    """Counts the calls of this session."""
    return Counted(count=await session.aincr("count"))
