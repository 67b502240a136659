"""A session's standalone stream (GET): who holds it, which is the newest, and what waits for it, as operations."""

from __future__ import annotations

import random
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from botocore.exceptions import ClientError

from sessions_dynamo import schema, worker_keys
from sessions_dynamo.errors import EventTooLarge, boto_errors, error_code, is_conditional_failure
from sessions_dynamo.operations import Driver, Operation, Pause, Request, ask, blocking
from sessions_dynamo.store import queries
from sessions_dynamo.store.event_items import PART_BYTES, Event, Item
from sessions_dynamo.store.event_operations import EventOperations
from sessions_dynamo.store.times import ahead, from_ms, is_expired, seconds
from sessions_dynamo.workers.inboxes import InboxOperations
from sessions_dynamo.workers.once import ABSENT, item_at

MAX_DELIVERY: Final = 30
"""Messages in one transaction: two items each and the holder's, of DynamoDB's 100."""
MAX_DELIVERY_BYTES: Final = 1536 * 1024
"""The text of one transaction, which is put in one item and deleted in another, of DynamoDB's 4 MB."""
ATTEMPTS: Final = 6
"""Tries of a write that meets another's transaction, with back-off: about 0.3 s in all."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What a standalone stream was when it was taken over."""

    newest: int
    """The sequence of its newest event, -1 without one."""
    previous: str | None
    """Who held it, if anybody did: it may have left long ago."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message in a standalone stream's inbox."""

    key: str
    event_type: str
    data: str


def holder_name(worker_id: str) -> str:
    """A fresh name under which a worker holds a standalone stream."""
    return f"{worker_id}/{secrets.token_hex(4)}"


def worker_of(holder: str) -> str | None:
    """The worker that holds a stream under a name; ``None`` for one of the version before, which has no inbox."""
    worker_id = holder.partition("/")[0]
    return worker_id if worker_keys.is_worker_id(worker_id) else None


class StandaloneOperations:
    """Holders of standalone streams, and what waits for them."""

    def __init__(self, events: EventOperations, inboxes: InboxOperations) -> None:
        self.events = events
        self._inboxes = inboxes
        self._table = events.table

    def claim(self, session_id: str, stream_id: str, owner: str, expires_at: datetime) -> Operation[Claim]:
        """Become the holder of a session's standalone stream, for as long as the session lives.

        Whoever held it finds out at its next write; it is for the caller to tell it.
        """
        update = {
            "TableName": self._table,
            "Key": {"session_id": {"S": session_id}, "event_id": {"S": schema.lease_id(stream_id)}},
            "UpdateExpression": (
                "SET #owner = :owner, lease_expires = :never, #ttl = :ttl, newest = if_not_exists(newest, :none)"
            ),
            "ExpressionAttributeNames": {"#owner": "owner", "#ttl": schema.TTL_ATTRIBUTE},
            "ExpressionAttributeValues": {
                ":owner": {"S": owner},
                ":never": {"N": "0"},
                ":ttl": self._standalone_ttl(expires_at),
                ":none": {"N": "-1"},
            },
            "ReturnValues": "ALL_OLD",
        }
        answer = yield from self._contended(Request("UpdateItem", update))
        before = answer.get("Attributes", {})
        previous = before.get("owner", {}).get("S")
        # Its answer was lost, and the AWS client asked again.
        return Claim(int(before.get("newest", {"N": "-1"})["N"]), None if previous == owner else previous)

    def holder(self, session_id: str, stream_id: str) -> Operation[str | None]:
        """Who holds a standalone stream, or did last, by a consistent read."""
        item = yield from item_at(self._table, session_id, schema.lease_id(stream_id))
        return item["owner"]["S"] if item is not None else None

    def send(self, session_id: str, stream_id: str, event_type: str, data: str) -> Operation[str | None]:
        """Leave a message for the holder, and wake it; the worker that was told. Raises ``EventTooLarge``.

        The message first, then the question who holds the stream: who takes it over claims it first, then reads.
        """
        _check_single_item(data)
        item = {
            "session_id": {"S": session_id},
            "event_id": {"S": schema.inbox_id(stream_id)},
            "message_type": {"S": event_type},
            "data": {"S": data},
            schema.TTL_ATTRIBUTE: ahead(self.events.event_ttl),
        }
        yield from ask(self._table, "PutItem", Item=item)
        return (yield from self.tell_holder(session_id, stream_id, "wake"))

    def tell_holder(self, session_id: str, stream_id: str, topic: str) -> Operation[str | None]:
        """Send a message of a topic about a standalone stream to the worker that holds it, if any does; which."""
        holder = yield from self.holder(session_id, stream_id)
        return None if holder is None else (yield from self.tell(session_id, holder, topic))

    def tell(self, session_id: str, holder: str, topic: str) -> Operation[str | None]:
        """Send a message of a topic to the worker that held a standalone stream under a name; which, if it was told.

        It is for that holder alone, and for none that holds the stream under another name by then.
        """
        worker_id = worker_of(holder)
        if worker_id is not None:
            yield from self._inboxes.send(worker_id, topic, [session_id, holder])
        return worker_id

    def waiting(self, session_id: str, stream_id: str) -> Operation[tuple[str | None, list[Waiting]]]:
        """The holder of a standalone stream and what waits for it, in one consistent Query."""
        holder: str | None = None
        waiting: list[Waiting] = []
        items = yield from queries.query_all(
            TableName=self._table,
            KeyConditionExpression="session_id = :session AND begins_with(event_id, :lease)",
            ExpressionAttributeValues={":session": {"S": session_id}, ":lease": {"S": schema.lease_id(stream_id)}},
            ConsistentRead=True,
        )
        for item in items:
            if "owner" in item:
                holder = item["owner"]["S"]
            elif not is_expired(item):
                waiting.append(Waiting(item["event_id"]["S"], item["message_type"]["S"], item["data"]["S"]))
        return holder, waiting

    def deliver(
        self, owner: str, events: Sequence[Event], inbox_keys: Sequence[str] = (), *, expires_at: datetime
    ) -> Operation[bool]:
        """Make events of a standalone stream, taking ``inbox_keys`` out of its inbox, in one transaction.

        ``False``, and nothing is written, if ``owner`` no longer holds the stream or another took a message first:
        no message becomes two events. At most ``MAX_DELIVERY`` events and, unless it is one, ``MAX_DELIVERY_BYTES``.
        """
        session_id, stream_id = events[0].session_id, events[0].stream_id
        actions: list[Any] = [
            {
                "Update": {
                    "TableName": self._table,
                    "Key": {"session_id": {"S": session_id}, "event_id": {"S": schema.lease_id(stream_id)}},
                    # Kept with the holder: the events themselves expire and are trimmed, and no id may be used again.
                    "UpdateExpression": "SET newest = :newest, #ttl = :ttl",
                    "ConditionExpression": "#owner = :owner",
                    "ExpressionAttributeNames": {"#owner": "owner", "#ttl": schema.TTL_ATTRIBUTE},
                    "ExpressionAttributeValues": {
                        ":owner": {"S": owner},
                        ":newest": {"N": str(events[-1].sequence)},
                        ":ttl": self._standalone_ttl(expires_at),
                    },
                }
            }
        ]
        for event in events:
            _check_single_item(event.data)
            put = {"TableName": self._table, "Item": self.events.encode(event)[0], "ConditionExpression": ABSENT}
            actions.append({"Put": put})
        for key in inbox_keys:
            delete = {
                "TableName": self._table,
                "Key": {"session_id": {"S": session_id}, "event_id": {"S": key}},
                "ConditionExpression": "attribute_exists(event_id)",
            }
            actions.append({"Delete": delete})
        try:
            # Sent again because its answer was lost, it would be refused for what it did itself, but for its token.
            token = secrets.token_hex(16)
            delivery = {"TransactItems": actions, "ClientRequestToken": token}
            yield from self._contended(Request("TransactWriteItems", delivery))
        except ClientError:
            return False
        yield from self.events.trim_by_chance(session_id, len(events))
        return True

    # --- Inside -----------------------------------------------------------------------------------------------

    def _standalone_ttl(self, expires_at: datetime) -> Item:
        """Of the holder, who may say nothing for as long as the session lives: no write is owed for an idle stream."""
        return seconds(max(expires_at, from_ms(schema.now_ms())) + self.events.event_ttl)

    def _contended(self, write: Request) -> Operation[Any]:
        """The answer to a write, tried again where a transaction on one of its items was under way."""
        with boto_errors(self._table):
            for attempt in range(1, ATTEMPTS):
                try:
                    return (yield write)
                except ClientError as exc:
                    if not _is_contention(exc):
                        raise
                yield Pause(random.uniform(0, 0.01 * 2**attempt))  # noqa: S311 (jitter, no secret)
            return (yield write)


class Standalone:
    """The same for a caller that waits. Thread-safe."""

    def __init__(self, operations: StandaloneOperations, driver: Driver) -> None:
        self.operations = operations
        self.drive = driver

    claim = blocking(StandaloneOperations.claim)
    holder = blocking(StandaloneOperations.holder)
    send = blocking(StandaloneOperations.send)
    tell_holder = blocking(StandaloneOperations.tell_holder)
    tell = blocking(StandaloneOperations.tell)
    waiting = blocking(StandaloneOperations.waiting)
    deliver = blocking(StandaloneOperations.deliver)


def _check_single_item(data: str) -> None:
    size = len(data.encode())
    if size > PART_BYTES:
        raise EventTooLarge(f"A message of {size} bytes is over the limit of {PART_BYTES} on this channel.")


def _is_contention(exc: ClientError) -> bool:
    """Whether a write was refused for a transaction that was under way, and for no condition."""
    if error_code(exc) == "TransactionCanceledException":
        reasons: list[dict[str, str]] = exc.response.get("CancellationReasons", [])  # type: ignore[assignment]
        conflict = any(reason.get("Code") == "TransactionConflict" for reason in reasons)
        return conflict and not is_conditional_failure(exc)
    return error_code(exc) == "TransactionConflictException"
