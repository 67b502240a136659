"""The transport's header rules, as the SDK's own Streamable HTTP entry has them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest
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
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS
from pydantic import ValidationError

logger = logging.getLogger(__name__)

MAX_LIST_PAGES = 100


def is_json(request: HttpRequest) -> bool:
    """Whether the body says that it is JSON."""
    return request.content_type == "application/json"


def accepts(request: HttpRequest, *, json: bool = True, event_stream: bool = True) -> bool:
    """Whether the client takes the kinds of answer named (RFC 9110, section 12.5.1, wildcards included)."""
    accept = request.headers.get("Accept", "")
    types = {part.split(";")[0].strip().lower() for part in accept.split(",")}
    has_json = bool(types & {"*/*", "application/*", "application/json"})
    has_stream = bool(types & {"*/*", "text/*", "text/event-stream"})
    return (has_json or not json) and (has_stream or not event_stream)


def is_modern(request: HttpRequest) -> bool:
    """Whether a request belongs to the era without sessions: any version header that no handshake negotiates.

    Without the header it is 2025-03-26 or earlier (2025-06-18, "Protocol Version Header").
    """
    version = request.headers.get("MCP-Protocol-Version")
    return version is not None and version not in HANDSHAKE_PROTOCOL_VERSIONS


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
