"""What a client is told when a handler raises: the code and the text it was raised with, or no text at all."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError
from django.db import Error as DatabaseError
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.mcpserver.exceptions import ResourceNotFoundError
from mcp.shared.exceptions import MCPError
from mcp.shared.jsonrpc_dispatcher import handler_exception_to_error_data
from mcp_types import INTERNAL_ERROR, INVALID_PARAMS, ErrorData
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from mcpsite.endpoint.wire.answers import storage_error_codes
from sessions_dynamo.errors import StorageError

logger = logging.getLogger(__name__)

RESOURCE_NOT_FOUND: Final = -32002
"""Revisions up to 2025-11-25, "Resources", "Error Handling"; 2026-07-28 has -32602 in its place."""

_ARN: Final = "arn:aws"


def error_data(exc: BaseException, protocol_version: str) -> ErrorData:
    """The error that answers a request whose handler raised.

    A protocol error is as it was raised. Of others a ``ValueError`` keeps its text, and with clients of the handshake
    every exception does, as from the SDK's own app; but no text of AWS's, a database's or the operating system's.
    """
    error = handler_exception_to_error_data(exc)
    if error is not None:
        return error
    if isinstance(exc, StorageError):
        return ErrorData(code=storage_error_codes(exc)[1], message=str(exc))
    is_legacy = protocol_version not in MODERN_PROTOCOL_VERSIONS
    is_told = isinstance(exc, Exception) and (is_legacy or isinstance(exc, ValueError)) and not _has_foreign_text(exc)
    if is_told and isinstance(exc, ValueError):
        # Foreseen by its author. Its text, which may hold an argument, goes to the client alone.
        logger.info("a request handler raised %s", type(exc).__name__)
    else:
        logger.error("a request handler raised", exc_info=exc)
    return ErrorData(code=INTERNAL_ERROR, message=str(exc) if is_told else "Internal server error")


def _has_foreign_text(exc: BaseException) -> bool:
    """Whether the text may be of somebody who did not write it for clients."""
    if isinstance(exc, DatabaseError) or (isinstance(exc, OSError) and exc.errno is not None):
        return True
    return _ARN in str(exc) or any(isinstance(one, BotoCoreError | ClientError) for one in _chain(exc))


def _chain(exc: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while exc is not None and id(exc) not in seen:
        seen.add(id(exc))
        yield exc
        exc = exc.__cause__ or exc.__context__


async def specified_errors(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """Middleware of an ``MCPServer`` or FastMCP's: its own errors get the codes of the specification.

    -32602 for an unknown prompt and for a prompt's missing argument, -32002 for an unknown resource up to 2025-11-25.
    An unknown tool stays a result that failed: that is what models read, and clients of the SDK's app expect.
    """
    name = (ctx.params or {}).get("name")
    try:
        return await call_next(ctx)
    except ValueError as exc:
        if ctx.method == "prompts/get" and _is_clients_fault(str(exc), name):
            raise MCPError(code=INVALID_PARAMS, message=str(exc)) from exc
        raise
    except MCPError as exc:
        is_legacy = ctx.protocol_version not in MODERN_PROTOCOL_VERSIONS
        if ctx.method == "resources/read" and is_legacy and isinstance(exc.__context__, _not_found()):
            raise MCPError(code=RESOURCE_NOT_FOUND, message=exc.message, data=exc.data) from exc
        raise


def _not_found() -> tuple[type[Exception], ...]:
    """What says that there is no such resource: the SDK's exception, and FastMCP's where that is imported."""
    theirs = sys.modules.get("fastmcp.exceptions")
    return (ResourceNotFoundError, theirs.NotFoundError) if theirs is not None else (ResourceNotFoundError,)


def _is_clients_fault(text: str, name: object) -> bool:
    # The SDK raises both as it raises a prompt's own failure, which alone begins otherwise.
    return text == f"Unknown prompt: {name}" or text.startswith("Missing required arguments: ")
