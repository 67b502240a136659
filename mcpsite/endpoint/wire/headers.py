"""The transport's header rules, as the SDK's own Streamable HTTP entry has them."""

from __future__ import annotations

from typing import Final

from django.http import HttpRequest
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS

SESSION_HEADER: Final = "Mcp-Session-Id"


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
