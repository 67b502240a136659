"""What workers tell each other about streams, through the events table.

A POST's stream has an owner, which renews a lease, and one end, put only if absent. A session's standalone stream
(GET) has one holder: the newest. A client's answer that lands on another worker waits under its request's id, and the
bus carries short-lived notifications to every worker.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache
from typing import Any, Final

from botocore.exceptions import ClientError
from django.core.signals import setting_changed

from sessions_dynamo import batches, pages, schema, values
from sessions_dynamo.errors import EventTooLarge, boto_errors, error_code, is_conditional_failure
from sessions_dynamo.events import PART_BYTES, Event, EventStore, Item, cut
from sessions_dynamo.events import default_store as default_events

SIGNAL_TTL: Final = timedelta(hours=1)
"""How long an answer or a bus item is kept; each is read within seconds."""
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


@dataclass(frozen=True, slots=True)
class BusItem:
    """One notification on the bus: a topic and JSON, from a worker."""

    bus_id: str
    origin: str
    topic: str
    payload: Any


class StreamStore:
    """Leases, ends, inboxes, answers and the bus. Thread-safe: one serves a whole process."""

    def __init__(self, events: EventStore) -> None:
        self.events = events
        self._dynamodb = events.dynamodb
        self._table = events.table

    # --- Streams of a POST ------------------------------------------------------------------------------------

    def open(self, lease: Lease, events: Sequence[Event]) -> None:
        """Begin a stream: its lease and its first events in one batch."""
        encoded = [self.events.encode(event) for event in events]
        items = [self._lease(lease), *(part for _, parts in encoded for part in parts), *(item for item, _ in encoded)]
        batches.put(self._dynamodb, self._table, items)
        self.events.trim_by_chance(lease.session_id, len(events))

    def renew(self, leases: Iterable[Lease]) -> None:
        """Move the leases of streams: one request for 25."""
        batches.put(self._dynamodb, self._table, [self._lease(lease) for lease in leases])

    def lease(self, session_id: str, stream_id: str) -> Lease | None:
        """A stream's lease, by a consistent read; ``None`` where the stream is unknown."""
        item = self._get(session_id, schema.lease_id(stream_id))
        if item is None or _is_expired(item):
            return None
        request_id = item.get("request_id", {}).get("S")
        return Lease(session_id, stream_id, item["owner"]["S"], int(item["lease_expires"]["N"]), request_id)

    def end(self, event: Event) -> bool:
        """Put a stream's end, with the response it carried, if it has none; whether this call ended it.

        A paused owner that wakes and a resumer that saw its lease lapse cannot both end a stream.
        """
        item, parts = self.events.encode(replace(event, sequence=schema.END_SEQUENCE))
        batches.put(self._dynamodb, self._table, parts)
        ended = self._put_if_absent(item)
        self.events.trim_by_chance(event.session_id, 1)
        return ended

    # --- The standalone stream --------------------------------------------------------------------------------

    def claim(self, session_id: str, stream_id: str, owner: str) -> int:
        """Become the holder of a session's standalone stream; the sequence of its newest event, -1 without one.

        Whoever held it finds out at its next read or write.
        """
        answer = self._contended(
            lambda: self._dynamodb.update_item(
                TableName=self._table,
                Key={"session_id": {"S": session_id}, "event_id": {"S": schema.lease_id(stream_id)}},
                UpdateExpression=(
                    "SET #owner = :owner, lease_expires = :never, #ttl = :ttl, newest = if_not_exists(newest, :none)"
                ),
                ExpressionAttributeNames={"#owner": "owner", "#ttl": schema.TTL_ATTRIBUTE},
                ExpressionAttributeValues={
                    ":owner": {"S": owner},
                    ":never": {"N": "0"},
                    ":ttl": _ttl(self.events.event_ttl),
                    ":none": {"N": "-1"},
                },
                ReturnValues="ALL_NEW",
            )
        )
        return int(answer["Attributes"]["newest"]["N"])

    def send(self, session_id: str, stream_id: str, event_type: str, data: str) -> None:
        """Leave a message for the holder; raises ``EventTooLarge``."""
        _check_single_item(data)
        item = {
            "session_id": {"S": session_id},
            "event_id": {"S": schema.inbox_id(stream_id)},
            "message_type": {"S": event_type},
            "data": {"S": data},
            schema.TTL_ATTRIBUTE: _ttl(self.events.event_ttl),
        }
        with boto_errors(self._table):
            self._dynamodb.put_item(TableName=self._table, Item=item)

    def inbox(self, session_id: str, stream_id: str) -> tuple[str | None, list[Waiting]]:
        """The holder of a standalone stream and what waits for it, in one consistent Query."""
        holder: str | None = None
        waiting: list[Waiting] = []
        for item in pages.query_all(
            self._dynamodb,
            TableName=self._table,
            KeyConditionExpression="session_id = :session AND begins_with(event_id, :lease)",
            ExpressionAttributeValues={":session": {"S": session_id}, ":lease": {"S": schema.lease_id(stream_id)}},
            ConsistentRead=True,
        ):
            if "owner" in item:
                holder = item["owner"]["S"]
            elif not _is_expired(item):
                waiting.append(Waiting(item["event_id"]["S"], item["message_type"]["S"], item["data"]["S"]))
        return holder, waiting

    def deliver(self, owner: str, events: Sequence[Event], inbox_keys: Sequence[str] = ()) -> bool:
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
                        ":ttl": _ttl(self.events.event_ttl),
                    },
                }
            }
        ]
        for event in events:
            _check_single_item(event.data)
            put = {"TableName": self._table, "Item": self.events.encode(event)[0], "ConditionExpression": _ABSENT}
            actions.append({"Put": put})
        for key in inbox_keys:
            delete = {
                "TableName": self._table,
                "Key": {"session_id": {"S": session_id}, "event_id": {"S": key}},
                "ConditionExpression": "attribute_exists(event_id)",
            }
            actions.append({"Delete": delete})
        try:
            self._contended(lambda: self._dynamodb.transact_write_items(TransactItems=actions))
        except ClientError:
            return False
        self.events.trim_by_chance(session_id, len(events))
        return True

    # --- Answers to our requests ------------------------------------------------------------------------------

    def reply(self, session_id: str, request_id: str, message: str) -> bool:
        """Keep a client's answer (JSON text) to a request of ours; ``False`` for a second answer."""
        texts, ttl = cut(message), _ttl(SIGNAL_TTL)
        # Parts under keys of their own: those of a second answer must not get into the first.
        parts_id = f"{schema.reply_id(request_id)}.{secrets.token_hex(8)}"
        item: Item = {
            "session_id": {"S": session_id},
            "event_id": {"S": schema.reply_id(request_id)},
            "data": {"S": texts[0]},
            schema.TTL_ATTRIBUTE: ttl,
        }
        if len(texts) > 1:
            item |= {"parts_id": {"S": parts_id}, "parts": {"N": str(len(texts) - 1)}}
        parts = [
            {**_part_key(session_id, parts_id, number), "data": {"S": text}, schema.TTL_ATTRIBUTE: ttl}
            for number, text in enumerate(texts[1:], 1)
        ]
        batches.put(self._dynamodb, self._table, parts)
        return self._put_if_absent(item)

    def replies(self, requests: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
        """The answers that have come, by ``(session_id, request_id)``: one request for 100 of ordinary size."""
        keys = [
            {"session_id": {"S": session_id}, "event_id": {"S": schema.reply_id(request_id)}}
            for session_id, request_id in requests
        ]
        return {
            (item["session_id"]["S"], item["event_id"]["S"].removeprefix(schema.REPLY_PREFIX)): self._reply_text(item)
            for item in batches.get(self._dynamodb, self._table, keys)
        }

    def _reply_text(self, item: Item) -> str:
        text: str = item["data"]["S"]
        if "parts" not in item:
            return text
        session_id, parts_id = item["session_id"]["S"], item["parts_id"]["S"]
        keys = [_part_key(session_id, parts_id, number) for number in range(1, int(item["parts"]["N"]) + 1)]
        found = {part["event_id"]["S"]: part["data"]["S"] for part in batches.get(self._dynamodb, self._table, keys)}
        return text + "".join(found[key["event_id"]["S"]] for key in keys)

    # --- The bus ----------------------------------------------------------------------------------------------

    def publish(self, origin: str, topic: str, payload: Any) -> str:
        """Put a notification on the bus; its id."""
        bus_id = schema.bus_id()
        item = {
            "session_id": {"S": schema.BUS_PARTITION},
            "event_id": {"S": bus_id},
            "origin": {"S": origin},
            "topic": {"S": topic},
            "data": {"S": values.dumps(payload)},
            schema.TTL_ATTRIBUTE: _ttl(SIGNAL_TTL),
        }
        with boto_errors(self._table):
            self._dynamodb.put_item(TableName=self._table, Item=item)
        return bus_id

    def bus_since(self, since_ms: int) -> list[BusItem]:
        """The bus's notifications from a time on, by a consistent read."""
        return [
            BusItem(item["event_id"]["S"], item["origin"]["S"], item["topic"]["S"], values.loads(item["data"]["S"]))
            for item in pages.query_all(
                self._dynamodb,
                TableName=self._table,
                KeyConditionExpression="session_id = :bus AND event_id >= :since",
                ExpressionAttributeValues={
                    ":bus": {"S": schema.BUS_PARTITION},
                    ":since": {"S": f"{since_ms:013d}"},
                },
                ConsistentRead=True,
            )
        ]

    # --- Inside -----------------------------------------------------------------------------------------------

    def _lease(self, lease: Lease) -> Item:
        item: Item = {
            "session_id": {"S": lease.session_id},
            "event_id": {"S": schema.lease_id(lease.stream_id)},
            "owner": {"S": lease.owner},
            "lease_expires": {"N": str(lease.expires)},
            schema.TTL_ATTRIBUTE: _ttl(self.events.event_ttl),
        }
        if lease.request_id is not None:
            item["request_id"] = {"S": lease.request_id}
        return item

    def _get(self, session_id: str, key: str) -> Item | None:
        with boto_errors(self._table):
            answer = self._dynamodb.get_item(
                TableName=self._table,
                Key={"session_id": {"S": session_id}, "event_id": {"S": key}},
                ConsistentRead=True,
            )
        return answer.get("Item")

    def _put_if_absent(self, item: Item) -> bool:
        try:
            with boto_errors(self._table):
                self._dynamodb.put_item(
                    TableName=self._table,
                    Item=item,
                    ConditionExpression=_ABSENT,
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )
        except ClientError as exc:
            # A write whose answer was lost is sent again by the AWS client, and then refused for what it did itself.
            return bool(exc.response.get("Item") == item)
        return True

    def _contended(self, write: Callable[[], Any]) -> Any:
        """The answer to a write, tried again where a transaction on one of its items was under way."""
        with boto_errors(self._table):
            for attempt in range(1, ATTEMPTS):
                try:
                    return write()
                except ClientError as exc:
                    if not _is_contention(exc):
                        raise
                time.sleep(random.uniform(0, 0.01 * 2**attempt))  # noqa: S311 (jitter, no secret)
            return write()


_ABSENT: Final = "attribute_not_exists(event_id)"


@cache
def default_store() -> StreamStore:
    """The process's store, made on first use."""
    return StreamStore(default_events())


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


def _part_key(session_id: str, parts_id: str, number: int) -> Item:
    return {"session_id": {"S": session_id}, "event_id": {"S": schema.part_id(parts_id, number)}}


def _is_expired(item: Item) -> bool:
    """Whether Time to Live should have deleted an item; it does so late."""
    return int(item[schema.TTL_ATTRIBUTE]["N"]) <= schema.now_ms() // 1000


def _ttl(ahead: timedelta) -> Item:
    return {"N": str((schema.now_ms() + ahead // timedelta(milliseconds=1)) // 1000)}


def _forget(*, setting: str, **_: object) -> None:
    if setting.startswith(("DYNAMODB_", "AWS_")) or setting in {"EVENT_TTL_HOURS", "MAX_EVENTS_PER_SESSION"}:
        default_store.cache_clear()


setting_changed.connect(_forget)
