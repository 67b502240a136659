"""Frames of an event stream (HTML standard, "Server-sent events"; Streamable HTTP, "Sending Messages")."""

from __future__ import annotations

from mcp_types.version import is_version_at_least

KEEP_ALIVE = b": keep-alive\n"
"""A comment, and no blank line behind it: that ends an event, and some clients then take an empty one for a message."""
PRIMING_SINCE = "2025-11-25"
"""The first revision whose clients know an event without data."""


def has_priming(protocol_version: str | None) -> bool:
    """Whether clients of a revision know priming events, and so may be told to come back later."""
    return is_version_at_least(protocol_version or "", PRIMING_SINCE)


def message(data: str, event_id: str | None = None) -> bytes:
    """One JSON-RPC message; JSON has no line breaks of its own."""
    identity = f"id: {event_id}\n" if event_id is not None else ""
    return f"{identity}event: message\ndata: {data}\n\n".encode()


def priming(event_id: str) -> bytes:
    """The event without a message that gives a client its first cursor (2025-11-25, "Sending Messages", item 6)."""
    return f"id: {event_id}\ndata: \n\n".encode()


def farewell(protocol_version: str | None, retry_ms: int) -> bytes:
    """The hint before a stream's end that asks a client to come back after so many milliseconds, and no sooner.

    Streamable HTTP 2025-11-25, "Sending Messages", item 6. Empty for 0, and for clients of older revisions, some of
    which take it for a message.
    """
    return f"retry: {retry_ms}\n\n".encode() if retry_ms > 0 and has_priming(protocol_version) else b""
