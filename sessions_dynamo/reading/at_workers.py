"""What of one session workers have in hand, as they left word of it for each other, and what was cancelled of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sessions_dynamo import schema, worker_keys
from sessions_dynamo.errors import boto_errors
from sessions_dynamo.schema import EventKind
from sessions_dynamo.store.events import EventStore

Item = dict[str, Any]

MAX_READ: Final = 100
"""Items of one look: a session has a few."""


@dataclass(frozen=True, slots=True)
class InHand:
    """A call that runs on a worker, or another thing of the session, such as a stream that a client follows there."""

    worker_id: str
    request_id: str | None
    """The request's id as text, cut to size; ``None`` for what is no request's."""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """That calls are not to go on, for such as have left no word of themselves yet."""

    is_of_all: bool
    """Whether all of the session's are meant, or those of one request."""
    hangs_up: bool
    """Whether they end without an answer."""


@dataclass(frozen=True, slots=True)
class AtWorkers:
    """One look; ``has_more`` where there was more than is shown."""

    in_hand: list[InHand]
    cancelled: list[Cancelled]
    has_more: bool = False


def of_session(store: EventStore, session_id: str) -> AtWorkers:
    """A session's, live or not, without what has expired: one consistent Query."""
    with boto_errors(store.table):
        answer = store.dynamodb.query(
            TableName=store.table,
            # The one stands right before the other; no kind of key is between them.
            KeyConditionExpression="session_id = :session AND event_id BETWEEN :first AND :last",
            FilterExpression="#ttl > :now",
            ExpressionAttributeNames={"#ttl": schema.TTL_ATTRIBUTE},
            ExpressionAttributeValues={
                ":session": {"S": session_id},
                ":first": {"S": worker_keys.CANCELLATION_PREFIX},
                ":last": {"S": f"{worker_keys.HOLDING_PREFIX}~"},
                ":now": {"N": str(schema.now_ms() // 1000)},
            },
            ConsistentRead=True,
            Limit=MAX_READ,
        )
    found = AtWorkers([], [], has_more="LastEvaluatedKey" in answer)
    for item in answer["Items"]:
        match schema.kind_of(session_id, item["event_id"]["S"]):
            case EventKind.HOLDING:
                # Whatever else lies under such a key is none of ours.
                if worker_id := item.get("worker", {}).get("S"):
                    found.in_hand.append(InHand(worker_id, item.get("request_id", {}).get("S")))
            case EventKind.CANCELLATION:
                is_of_all = item["event_id"]["S"] == worker_keys.cancellation_id("")
                found.cancelled.append(Cancelled(is_of_all, item.get("hang_up", {}).get("BOOL") is True))
    return found
