"""What a served server's tools import: their session, the arguments as sent, and the request that they serve."""

from __future__ import annotations

from mcpsite.endpoint.serving.dependencies import current_session, sent_arguments, user_session
from mcpsite.endpoint.serving.request import ServedRequest
from mcpsite.endpoint.serving.session import Session, tool_errors

__all__ = ["ServedRequest", "Session", "current_session", "sent_arguments", "tool_errors", "user_session"]
