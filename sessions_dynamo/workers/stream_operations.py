"""What workers tell each other about streams, through the events table, as operations.

A POST's stream has an owner, which renews a lease, and one end, put only if absent. A session's standalone stream
(GET) has one holder: the newest.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final, Self

from botocore.exceptions import ClientError

from sessions_dynamo import schema
from sessions_dynamo.conf import forget_on_change
from sessions_dynamo.errors import EventTooLarge, boto_errors, error_code, is_conditional_failure
from sessions_dynamo.operations import Operation, Pause, Request, ask
from sessions_dynamo.store import batches, queries
from sessions_dynamo.store.event_items import PART_BYTES, Event, Item
from sessions_dynamo.store.event_operations import EventOperations
from sessions_dynamo.store.event_operations import default_operations as default_events
from sessions_dynamo.store.times import ahead, is_expired
from sessions_dynamo.workers.bus import BusOperations
from sessions_dynamo.workers.once import ABSENT, put_if_absent
from sessions_dynamo.workers.replies import ReplyOperations
from sessions_dynamo.workers.roster import RosterOperations

MAX_DELIVERY: Final = 30
"""Messages in one transaction: two items each and the holder's, of DynamoDB's 100."""
MAX_DELIVERY_BYTES: Final = 1536 * 1024
"""The text of one transaction, which is put in one item and deleted in another, of DynamoDB's 4 MB."""
ATTEMPTS: Final = 6
"""Tries of a write that meets another's transaction, with back-off: about 0.3 s in all."""


@dataclass(frozen=True, slots=True)
class Lease:
    """Who serves a stream, for which request (JSON text of its id), and until when (ms) unless renewed."""

    session_id: str
    stream_id: str
    owner: str
    expires: int
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message in a standalone stream's inbox."""

    key: str
    event_type: str
    data: str


class StreamOperations:
    """Leases, ends, holders and inboxes, with ``replies`` and the ``bus``. One serves a whole process."""

    def __init__(self, events: EventOperations) -> None:
        self.events = events
        self._table = events.table
        self.replies = ReplyOperations(events.table)
        self.bus = BusOperations(events.table)
        self.roster = RosterOperations(events.table)

    @classmethod
    def from_settings(cls) -> Self:
        """The operations on the table that the settings describe."""
        return cls(EventOperations.from_settings())

    # --- Streams of a POST ------------------------------------------------------------------------------------

    def open(self, lease: Lease, events: Sequence[Event]) -> Operation[None]:
        """Begin a stream: its lease and its first events in one batch."""
        encoded = [self.events.encode(event) for event in events]
        items = [self._lease(lease), *(part for _, parts in encoded for part in parts), *(item for item, _ in encoded)]
        yield from batches.put(self._table, items)
        yield from self.events.trim_by_chance(lease.session_id, len(events))

    def renew(self, leases: Iterable[Lease]) -> Operation[None]:
        """Move the leases of streams: one request for 25."""
        yield from batches.put(self._table, [self._lease(lease) for lease in leases])

    def lease(self, session_id: str, stream_id: str) -> Operation[Lease | None]:
        """A stream's lease, by a consistent read; ``None`` where the stream is unknown."""
        answer = yield from ask(
            self._table,
            "GetItem",
            Key={"session_id": {"S": session_id}, "event_id": {"S": schema.lease_id(stream_id)}},
            ConsistentRead=True,
        )
        item = answer.get("Item")
        if item is None or is_expired(item):
            return None
        request_id = item.get("request_id", {}).get("S")
        return Lease(session_id, stream_id, item["owner"]["S"], int(item["lease_expires"]["N"]), request_id)

    def end(self, event: Event) -> Operation[bool]:
        """Put a stream's end, with the response it carried, if it has none; whether this call ended it.

        A paused owner that wakes and a resumer that saw its lease lapse cannot both end a stream.
        """
        item, parts = self.events.encode(replace(event, sequence=schema.END_SEQUENCE))
        yield from batches.put(self._table, parts)
        ended = yield from put_if_absent(self._table, item)
        yield from self.events.trim_by_chance(event.session_id, 1)
        return ended

    # --- The standalone stream --------------------------------------------------------------------------------

    def claim(self, session_id: str, stream_id: str, owner: str) -> Operation[int]:
        """Become the holder of a session's standalone stream; the sequence of its newest event, -1 without one.

        Whoever held it finds out at its next read or write.
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
                ":ttl": ahead(self.events.event_ttl),
                ":none": {"N": "-1"},
            },
            "ReturnValues": "ALL_NEW",
        }
        answer = yield from self._contended(Request("UpdateItem", update))
        return int(answer["Attributes"]["newest"]["N"])

    def send(self, session_id: str, stream_id: str, event_type: str, data: str) -> Operation[None]:
        """Leave a message for the holder; raises ``EventTooLarge``."""
        _check_single_item(data)
        item = {
            "session_id": {"S": session_id},
            "event_id": {"S": schema.inbox_id(stream_id)},
            "message_type": {"S": event_type},
            "data": {"S": data},
            schema.TTL_ATTRIBUTE: ahead(self.events.event_ttl),
        }
        yield from ask(self._table, "PutItem", Item=item)

    def inbox(self, session_id: str, stream_id: str) -> Operation[tuple[str | None, list[Waiting]]]:
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

    def deliver(self, owner: str, events: Sequence[Event], inbox_keys: Sequence[str] = ()) -> Operation[bool]:
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
                        ":ttl": ahead(self.events.event_ttl),
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

    def _lease(self, lease: Lease) -> Item:
        item: Item = {
            "session_id": {"S": lease.session_id},
            "event_id": {"S": schema.lease_id(lease.stream_id)},
            "owner": {"S": lease.owner},
            "lease_expires": {"N": str(lease.expires)},
            schema.TTL_ATTRIBUTE: ahead(self.events.event_ttl),
        }
        if lease.request_id is not None:
            item["request_id"] = {"S": lease.request_id}
        return item

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


@cache
def default_operations() -> StreamOperations:
    """The process's, made on first use."""
    return StreamOperations(default_events())


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


forget_on_change(default_operations.cache_clear, "DYNAMODB_", "AWS_", "EVENT_TTL_HOURS", "MAX_EVENTS_")
