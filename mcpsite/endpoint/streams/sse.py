"""Frames of an event stream (HTML standard, "Server-sent events"; Streamable HTTP, "Sending Messages")."""

from __future__ import annotations

CONTENT_TYPE = "text/event-stream"
KEEP_ALIVE = b": keep-alive\n\n"


def message(data: str, event_id: str | None = None) -> bytes:
    """One JSON-RPC message; JSON has no line breaks of its own."""
    identity = f"id: {event_id}\n" if event_id is not None else ""
    return f"{identity}event: message\ndata: {data}\n\n".encode()


def priming(event_id: str, retry_ms: int) -> bytes:
    """The event without a message that gives a client its first cursor (2025-11-25, "Sending Messages", item 6)."""
    return f"id: {event_id}\nretry: {retry_ms}\ndata: \n\n".encode()


def retry(retry_ms: int) -> bytes:
    """The hint that goes before a stream which the server closes: come back after this many milliseconds."""
    return f"retry: {retry_ms}\n\n".encode()
