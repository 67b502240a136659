"""The names of the bell's channels. They begin with whose they are, so that several deployments may share one Redis."""

from __future__ import annotations

from sessions_dynamo.conf import conf


def prefix() -> str:
    """What the channels of a deployment begin with: the region that its settings name, if any, and its events table."""
    return f"mcp:{conf.AWS_REGION}:{conf.DYNAMODB_EVENTS_TABLE}"


def inbox_channel(worker_id: str) -> str:
    """Rings when something was put into a worker's inbox."""
    return f"{prefix()}:inbox:{worker_id}"


def news_channel() -> str:
    """Rings when somebody has news for all workers."""
    return f"{prefix()}:news"


def stream_channel(stream_id: str) -> str:
    """Rings when a stream has something new."""
    return f"{prefix()}:stream:{stream_id}"
