"""A call's ``Mcp-Param-*`` headers against its arguments, as the SDK's own Streamable HTTP entry checks them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from mcp.server.connection import Connection
from mcp.server.lowlevel import Server
from mcp.server.runner import serve_one
from mcp.shared.dispatcher import DispatchContext
from mcp.shared.inbound import (
    MCP_PARAM_HEADER_PREFIX,
    InboundLadderRejection,
    validate_mcp_param_headers,
)
from mcp.shared.transport_context import TransportContext
from mcp_types import JSONRPCRequest
from mcp_types.methods import validate_client_request
from pydantic import ValidationError

logger = logging.getLogger(__name__)


MAX_LIST_PAGES = 100


async def param_header_rejection(
    server: Server[Any],
    context: DispatchContext[TransportContext],
    connection: Connection,
    lifespan_state: Any,
    message: JSONRPCRequest,
    headers: Mapping[str, str],
) -> InboundLadderRejection | None:
    """The rejection of a ``tools/call`` whose ``Mcp-Param-*`` headers disagree with its arguments.

    A schema that cannot be found rejects nothing: dispatch answers for an unknown tool.
    """
    params = message.params or {}
    name, arguments = params.get("name"), params.get("arguments")
    arguments = {} if arguments is None else arguments
    if message.method != "tools/call" or not isinstance(name, str) or not isinstance(arguments, Mapping):
        return None
    if not arguments and not any(header.startswith(MCP_PARAM_HEADER_PREFIX.lower()) for header in headers):
        return None
    try:
        if server.get_tool_input_schema is not None:
            schema: Any = server.get_tool_input_schema(name)
        else:
            schema = await _listed_schema(server, context, connection, lifespan_state, params, name)
    except Exception:
        # Header checks must not break a call that would work; loud, because the check is skipped.
        logger.exception("Mcp-Param headers were not checked: the tool's schema could not be read")
        return None
    return None if schema is None else validate_mcp_param_headers(schema, arguments, headers)


async def _listed_schema(
    server: Server[Any],
    context: DispatchContext[TransportContext],
    connection: Connection,
    lifespan_state: Any,
    params: Mapping[str, Any],
    name: str,
) -> Any:
    """The input schema of a tool as the server lists it to this caller, or ``None``; raises what listing raises."""
    if server.get_request_handler("tools/list") is None:
        return None
    listing: dict[str, Any] = {"_meta": params.get("_meta")}
    try:
        validate_client_request("tools/list", connection.protocol_version, listing)
    except ValidationError:
        return None  # The client's envelope is wrong: dispatch says so, and it is nothing to log.
    cursors: set[str] = set()
    for _ in range(MAX_LIST_PAGES):
        page = await serve_one(
            server, context, "tools/list", listing, connection=connection, lifespan_state=lifespan_state
        )
        for tool in page.get("tools", []):
            if tool.get("name") == name:
                return tool.get("inputSchema")
        cursor = page.get("nextCursor")
        if not isinstance(cursor, str):
            return None
        if cursor in cursors:
            break
        cursors.add(cursor)
        listing["cursor"] = cursor
    logger.warning("Mcp-Param headers were not checked: tools/list has no end within %d pages", MAX_LIST_PAGES)
    return None
