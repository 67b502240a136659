"""What a server object asks for that this site decides by itself: each said once, where it is not the default."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from inspect import signature
from typing import Any, Final

from mcp.server.lowlevel import Server
from mcp.server.mcpserver import MCPServer
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

_SESSIONS: Final = "Sessions live in DynamoDB: SESSION_TTL_HOURS says how long."
_ALLOWED: Final = "ALLOWED_HOSTS and MCP_ALLOWED_ORIGINS say who is answered."
_STREAMS: Final = "Streams are stored in DynamoDB, and resumed on any process."
_ANSWERS: Final = "An answer is JSON, or an event stream once its handler sends something."

_OF_THE_TRANSPORT: Final[Mapping[str, str]] = {
    "event_store": _STREAMS,
    "json_response": _ANSWERS,
    "stateless": _SESSIONS,
    "security_settings": _ALLOWED,
    "retry_interval": "STREAM_RETRY_MS is what clients are told.",
    "session_idle_timeout": _SESSIONS,
    "max_request_body_size": "MCP_MAX_BODY_BYTES bounds a request.",
    "max_sessions": "Sessions are rows of a table, as many as there are.",
}
"""By the parameters of the SDK's session manager, which holds what ``streamable_http_app()`` was called with."""

_NAMES: Final = {"stateless": "stateless_http", "security_settings": "transport_security"}

_LOOPBACK_HOSTS: Final = ["127.0.0.1:*", "localhost:*", "[::1]:*"]
"""What the SDK allows by itself, where its author said nothing."""

_OF_FASTMCP: Final[Mapping[str, str]] = {
    "stateless_http": _SESSIONS,
    "json_response": _ANSWERS,
    "http_session_idle_timeout": _SESSIONS,
    "http_host_origin_protection": _ALLOWED,
    "http_allowed_hosts": _ALLOWED,
    "http_allowed_origins": _ALLOWED,
    "streamable_http_path": "The endpoint is /mcp, or where urls.py includes mcpsite.routes.",
    "debug": "DEBUG is the site's.",
}
"""By FastMCP's settings (``FASTMCP_…``); those of its command line, such as the port, are nobody's wish here."""


@dataclass(frozen=True, slots=True)
class Unserved:
    """One wish that is not followed."""

    what: str
    instead: str


def unserved(target: Any) -> Iterator[Unserved]:
    """What of a server object is not followed. Ask before its HTTP application is made again."""
    if isinstance(target, MCPServer):
        yield from _of_mcp_server(target)
    elif not isinstance(target, Server):
        yield from _of_fastmcp()
        return
    yield from _of_transport(target)


def _of_mcp_server(server: MCPServer[Any]) -> Iterator[Unserved]:
    if server.settings.debug:
        yield Unserved("debug=True", "DEBUG is the site's.")
    if server.settings.log_level != "INFO":
        yield Unserved(f"log_level={server.settings.log_level!r}", "LOG_LEVEL, or LOGGING of a project, is the site's.")
    if server.dependencies:
        yield Unserved("dependencies", "Install them into the site's environment.")


def _of_transport(server: MCPServer[Any] | Server[Any]) -> Iterator[Unserved]:
    """Of an HTTP application that the author made, in whose place this site serves."""
    try:
        manager = server.session_manager
    except RuntimeError:
        return
    parameters = signature(StreamableHTTPSessionManager).parameters
    for name, instead in _OF_THE_TRANSPORT.items():
        value = getattr(manager, name)
        is_implied = name == "security_settings" and value is not None and value.allowed_hosts == _LOOPBACK_HOSTS
        if value != parameters[name].default and not is_implied:
            yield Unserved(f"{_NAMES.get(name, name)}={_shown(value)}", instead)


def _of_fastmcp() -> Iterator[Unserved]:
    settings = getattr(sys.modules["fastmcp"], "settings", None)
    fields = getattr(type(settings), "model_fields", {})
    for name, instead in _OF_FASTMCP.items():
        if name in fields and (value := getattr(settings, name)) != fields[name].default:
            yield Unserved(f"FASTMCP_{name.upper()}={_shown(value)}", instead)


def _shown(value: object) -> str:
    return repr(value) if isinstance(value, str | int | float | list | None) else type(value).__name__
