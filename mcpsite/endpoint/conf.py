"""Every setting of the endpoint: its type and its default. A project's ``settings`` win, name by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sessions_dynamo.conf import Setting, Settings

PUBLIC: Final = "mcpsite.endpoint.access.auth.public"
"""The ``MCP_AUTH`` that lets anybody in."""


class EndpointSettings(Settings):
    """The settings of ``mcpsite.endpoint``. Times are in seconds unless the name says otherwise."""

    MCP_SERVER = Setting(str, "mcpsite.server:mcp")
    MCP_SESSION_ARGUMENT = Setting(str, "session_id")
    """By which argument of a tool a client without sessions names its own; empty offers it with no tool."""
    MCP_AUTH = Setting(str, "")
    """Unset, it is the server object's own, or public under DEBUG; else somebody must decide (``access.auth.chosen``).
    """
    MCP_ALLOW_PUBLIC = Setting(bool, derived=lambda project: bool(project.DEBUG))
    AUTH_RECHECK_SECONDS = Setting(float, 30.0)
    """How long a bearer token's good answer is remembered; 0 asks the database at every request."""
    MCP_ALLOWED_ORIGINS: Setting[Sequence[str]] = Setting(list, ())
    MCP_BASE_PATH = Setting(str, "")
    """The path under which clients reach the site, where they do not at the root; an API's stage is found by itself."""
    MCP_MAX_BODY_BYTES = Setting(int, 4 * 1024 * 1024)

    # --- Streams ----------------------------------------------------------------------------------------------

    EVENT_POLL_SECONDS = Setting(float, 0.5)
    STREAM_LEASE_SECONDS = Setting(float, 15.0)
    STREAM_KEEPALIVE_SECONDS = Setting(float, 15.0)
    STREAM_RETRY_MS = Setting(int, 1000)
    STREAM_SECONDS: Setting[float | None] = Setting(float, None)
    """How long a GET or a subscription may stay open; 0 replays and closes. Unset: until either side ends, and as 0
    where an answer leaves whole (``door.buffered``)."""
    DURABLE_ANSWERS = Setting(bool, False)
    """On: every answer to a session is a stored stream, so that a client which drops before anything was sent can
    resume too; it costs two writes a call. Off: an answer is a stream once its handler sends something."""
    THREADS = Setting(int, 64)
    """Sync tools that a process runs at once, each in a thread."""
    MAX_STREAMS = Setting(int, 10_000)
    """Open streams of a process; at most what its open files allow."""
    SHUTDOWN_GRACE_SECONDS = Setting(float, 20.0)
    BUS_URL = Setting(str, "")
    """A Redis, Valkey or ElastiCache by which workers ring for each other (``peers.bell``); empty: they look alone."""


conf: Final = EndpointSettings()
