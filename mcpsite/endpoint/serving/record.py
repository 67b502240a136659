"""Served calls: counted for CloudWatch, and handed to the background recorder for the staff pages."""

from __future__ import annotations

from datetime import UTC, datetime
from time import perf_counter

from mcp_types import JSONRPCError, JSONRPCRequest

from mcpsite.endpoint.serving.kernel import is_failure
from mcpsite.endpoint.serving.served import served_server
from mcpsite.endpoint.wire.answers import Reply, size_of
from sessions_dynamo import metrics
from sessions_dynamo.conf import conf
from sessions_dynamo.recorder import CallRecorder
from sessions_dynamo.store.calls import Call, body_for_record

MAX_NAME_CHARACTERS = 256


def record_call(
    recorder: CallRecorder,
    session_id: str | None,
    message: JSONRPCRequest,
    reply: Reply,
    body: str,
    *,
    started: float,
    size: int,
) -> None:
    """Count one call, and record it where ``RECORD_CALLS`` is on; without a session it has no place to be found.

    ``started`` is of ``perf_counter`` (s), ``size`` the request's bytes, ``body`` the reply's JSON text.
    """
    duration_ms = (perf_counter() - started) * 1000
    if metrics.enabled():
        _count(message, reply, duration_ms)
    if session_id is None or not conf.RECORD_CALLS:
        return
    tool = (message.params or {}).get("name") if message.method == "tools/call" else None
    bodies = conf.RECORD_BODIES
    recorder.record(
        Call(
            session_id=session_id,
            at=datetime.now(UTC),
            method=message.method[:MAX_NAME_CHARACTERS],
            outcome=_outcome(reply),
            duration_ms=duration_ms,
            tool=tool[:MAX_NAME_CHARACTERS] if isinstance(tool, str) else None,
            request_bytes=size,
            response_bytes=size_of(body),
            request_body=body_for_record(message.params) if bodies else None,
            response_body=body_for_record(reply.model_dump(mode="json", by_alias=True)) if bodies else None,
        )
    )


def _count(message: JSONRPCRequest, reply: Reply, duration_ms: float) -> None:
    tool = _own_tool(message) if message.method == "tools/call" else None
    metrics.timing(metrics.REQUEST_LATENCY, duration_ms, tool=tool)
    if message.method == "tools/call":
        metrics.count("ToolCalls", tool=tool)
        if is_failure(reply):
            metrics.count("ToolErrors", tool=tool)


def _own_tool(message: JSONRPCRequest) -> str | None:
    """The tool that was called, if the server says that it has one of that name: a client may send any."""
    name, lookup = (message.params or {}).get("name"), served_server().get_tool_input_schema
    try:
        return name if isinstance(name, str) and lookup is not None and lookup(name) is not None else None
    except Exception:  # A server's own function; what it raises concerns its answers, not their count.
        return None


def _outcome(reply: Reply) -> str:
    if isinstance(reply, JSONRPCError):
        return str(reply.error.code)
    return "tool_error" if is_failure(reply) else "ok"
