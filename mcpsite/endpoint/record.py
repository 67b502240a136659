"""Served calls, handed to the background recorder for the staff pages."""

from __future__ import annotations

from datetime import UTC, datetime
from time import perf_counter

from django.conf import settings
from mcp_types import JSONRPCError, JSONRPCRequest

from mcpsite.endpoint.answers import Reply
from mcpsite.endpoint.kernel import is_failure
from sessions_dynamo.calls import Call, body_for_record, default_recorder

MAX_NAME_CHARACTERS = 256


def record_call(
    session_id: str | None, message: JSONRPCRequest, reply: Reply, body: str, *, started: float, size: int
) -> None:
    """Record one call, where ``RECORD_CALLS`` is on; a call without a session has no place to be found.

    ``started`` is of ``perf_counter`` (s), ``size`` the request's bytes, ``body`` the reply's JSON text.
    """
    if session_id is None or not settings.RECORD_CALLS:
        return
    tool = (message.params or {}).get("name") if message.method == "tools/call" else None
    bodies = settings.RECORD_BODIES
    default_recorder().record(
        Call(
            session_id=session_id,
            at=datetime.now(UTC),
            method=message.method[:MAX_NAME_CHARACTERS],
            outcome=_outcome(reply),
            duration_ms=(perf_counter() - started) * 1000,
            tool=tool[:MAX_NAME_CHARACTERS] if isinstance(tool, str) else None,
            request_bytes=size,
            response_bytes=len(body.encode()),
            request_body=body_for_record(message.params) if bodies else None,
            response_body=body_for_record(reply.model_dump(mode="json", by_alias=True)) if bodies else None,
        )
    )


def _outcome(reply: Reply) -> str:
    if isinstance(reply, JSONRPCError):
        return str(reply.error.code)
    return "tool_error" if is_failure(reply) else "ok"
