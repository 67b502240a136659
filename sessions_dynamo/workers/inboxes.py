"""Messages for one worker, in a partition of its own: it reads all of it, acts, and removes what it read.

No message is found or ordered by a clock, and none is read by anybody else. What is left for a worker that is gone lies
there until Time to Live takes it.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from sessions_dynamo import schema, worker_keys
from sessions_dynamo.operations import Driver, Operation, ask, blocking
from sessions_dynamo.store import batches, queries, values
from sessions_dynamo.store.event_items import Item, cut
from sessions_dynamo.store.times import ahead, is_expired
from sessions_dynamo.workers.once import put_if_absent

SIGNAL_TTL: Final = timedelta(hours=1)
"""How long what workers tell each other is kept; it is read within seconds."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message: its topic, JSON, and the sort keys of its items."""

    topic: str
    payload: Any
    keys: tuple[str, ...]


class InboxOperations:
    """Puts, reads and removes messages."""

    def __init__(self, table: str) -> None:
        self._table = table

    def send(self, worker_id: str, topic: str, payload: Any, *, once: str | None = None) -> Operation[bool]:
        """Leave a message for a worker: one PutItem, and one request for 25 further parts of a large one.

        Under a name given by ``once`` only the first waits there: ``False`` for a second. Raises ``StorageError``;
        ``EventTooLarge`` before any write.
        """
        partition, key = worker_keys.inbox_partition(worker_id), once or secrets.token_hex(8)
        texts, ttl = cut(values.dumps(payload)), ahead(SIGNAL_TTL)
        item: Item = {
            **_key(partition, key),
            "topic": {"S": topic},
            "data": {"S": texts[0]},
            schema.TTL_ATTRIBUTE: ttl,
        }
        if len(texts) > 1:
            # Parts under keys of their own: those of a second message must not get into the first.
            keys = [schema.part_id(f"{key}.{secrets.token_hex(8)}", number) for number in range(1, len(texts))]
            item["parts"] = {"L": [{"S": part} for part in keys]}
            parts = [
                {**_key(partition, part), "data": {"S": text}, schema.TTL_ATTRIBUTE: ttl}
                for part, text in zip(keys, texts[1:], strict=True)
            ]
            # Before the message: whoever sees that sees all of it.
            yield from batches.put(self._table, parts)
        if once is not None:
            return (yield from put_if_absent(self._table, item))
        yield from ask(self._table, "PutItem", Item=item)
        return True

    def read(self, worker_id: str) -> Operation[list[Message]]:
        """All that waits for a worker: one consistent Query for 1 MB. Raises ``StorageError``."""
        items = yield from queries.query_all(
            TableName=self._table,
            KeyConditionExpression="session_id = :inbox",
            ExpressionAttributeValues={":inbox": {"S": worker_keys.inbox_partition(worker_id)}},
            ConsistentRead=True,
        )
        texts = {item["event_id"]["S"]: item["data"]["S"] for item in items if not is_expired(item)}
        messages = []
        for item in items:
            key = item["event_id"]["S"]
            keys = (key, *(part["S"] for part in item.get("parts", {}).get("L", ())))
            if "topic" in item and all(part in texts for part in keys):
                payload = values.loads("".join(texts[part] for part in keys))
                messages.append(Message(item["topic"]["S"], payload, keys))
        return messages

    def remove(self, worker_id: str, messages: Iterable[Message]) -> Operation[None]:
        """Delete messages that were read: one request for 25 items. Raises ``StorageError``."""
        partition = worker_keys.inbox_partition(worker_id)
        yield from batches.delete(self._table, [_key(partition, key) for message in messages for key in message.keys])


class Inboxes:
    """Workers' inboxes for a caller that waits. Thread-safe."""

    def __init__(self, operations: InboxOperations, driver: Driver) -> None:
        self.operations = operations
        self.drive = driver

    send = blocking(InboxOperations.send)
    read = blocking(InboxOperations.read)
    remove = blocking(InboxOperations.remove)


def _key(partition: str, key: str) -> Item:
    return {"session_id": {"S": partition}, "event_id": {"S": key}}
