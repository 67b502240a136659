"""A served call: its shape, its item, and the calls that a session made last."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sessions_dynamo import schema
from sessions_dynamo.errors import InvalidState
from sessions_dynamo.operations import Operation
from sessions_dynamo.store import queries, values

MAX_BODY_BYTES: Final = 64 * 1024
"""Of any text of a call: one item too large would cost its whole batch."""

Item = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """One served call. Sizes are bytes of JSON; bodies are kept only where ``RECORD_BODIES`` is on."""

    session_id: str
    at: datetime
    method: str
    outcome: str
    """``ok``, ``tool_error``, or the JSON-RPC error code."""
    duration_ms: float
    tool: str | None = None
    request_bytes: int = 0
    response_bytes: int = 0
    request_body: str | None = None
    response_body: str | None = None


def encode(call: Call, ttl: Item) -> Item:
    """The item of a call, with its ``ttl`` attribute; texts are cut at ``MAX_BODY_BYTES``."""
    at_ms = round(call.at.timestamp() * 1000)
    item: Item = {
        "session_id": {"S": call.session_id},
        "event_id": {"S": schema.call_id(at_ms)},
        "timestamp": {"N": str(at_ms)},
        "shard": {"S": schema.shard(call.session_id)},
        "method": {"S": _cut(call.method)},
        "outcome": {"S": call.outcome},
        "duration_ms": {"N": f"{call.duration_ms:.3f}"},
        "request_bytes": {"N": str(call.request_bytes)},
        "response_bytes": {"N": str(call.response_bytes)},
        schema.TTL_ATTRIBUTE: ttl,
    }
    optional = {"tool": call.tool, "request_body": call.request_body, "response_body": call.response_body}
    return item | {name: {"S": _cut(text)} for name, text in optional.items() if text}


def recent_calls(table: str, session_id: str, limit: int = 50) -> Operation[list[Call]]:
    """The session's newest served calls, at most ``limit``, newest first."""
    items = yield from queries.query_all(
        enough=lambda items: len(items) >= limit,
        TableName=table,
        KeyConditionExpression="session_id = :session AND begins_with(event_id, :call)",
        ExpressionAttributeValues={":session": {"S": session_id}, ":call": {"S": schema.CALL_PREFIX}},
        ScanIndexForward=False,
        Limit=limit,
    )
    return [decode(item) for item in items[:limit]]


def decode(item: Item) -> Call:
    """The call of an item."""

    def text(name: str) -> str | None:
        return item[name]["S"] if name in item else None

    return Call(
        session_id=item["session_id"]["S"],
        at=datetime.fromtimestamp(int(item["timestamp"]["N"]) / 1000, UTC),
        method=item["method"]["S"],
        outcome=item["outcome"]["S"],
        duration_ms=float(item["duration_ms"]["N"]),
        tool=text("tool"),
        request_bytes=int(item["request_bytes"]["N"]),
        response_bytes=int(item["response_bytes"]["N"]),
        request_body=text("request_body"),
        response_body=text("response_body"),
    )


def body_for_record(body: Any) -> str | None:
    """A message's JSON text for the record, cut at ``MAX_BODY_BYTES``; ``None`` for what has none."""
    try:
        return _cut(values.dumps(body))
    except InvalidState:
        return None


def _cut(text: str) -> str:
    # A client's name for a method or a tool may hold a lone surrogate, which no item can.
    return text.encode(errors="replace")[:MAX_BODY_BYTES].decode(errors="ignore")
