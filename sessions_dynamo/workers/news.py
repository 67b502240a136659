"""What one worker tells all others: a log of its own that it alone writes, and a head that says how long the log is.

Nobody compares clocks: a log is counted by its writer, so a reader that knows how far it has read misses nothing and
reads nothing twice. Where nothing is told, a reader asks for the heads alone.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any, Final

from botocore.exceptions import ClientError

from sessions_dynamo import schema, worker_keys
from sessions_dynamo.errors import EventTooLarge, StorageError
from sessions_dynamo.operations import Driver, Operation, ask, blocking
from sessions_dynamo.schema import TTL_ATTRIBUTE
from sessions_dynamo.store import batches, queries, values
from sessions_dynamo.store.event_items import Item
from sessions_dynamo.store.times import ahead, is_expired
from sessions_dynamo.workers.inboxes import SIGNAL_TTL

logger = logging.getLogger(__name__)

MAX_ITEM_BYTES: Final = 300 * 1024
"""The text of one item; DynamoDB refuses items over 400 KB."""
FORGET_AFTER: Final = timedelta(hours=1)
"""How long a head has been expired when readers delete it; Time to Live may take days."""
FORGET_AT_ONCE: Final = 10
"""Heads that one reading deletes, a request each: where many workers came and went, the next reading goes on."""


def encoded(payload: Any) -> str:
    """The JSON text of what is to be told. Raises ``InvalidState`` for what is no JSON, ``EventTooLarge``."""
    text = values.dumps(payload)
    if (size := len(text.encode())) > MAX_ITEM_BYTES:
        raise EventTooLarge(f"News of {size} bytes is over the limit of {MAX_ITEM_BYTES}.")
    return text


class NewsOperations:
    """The logs of all workers, and their heads."""

    def __init__(self, table: str) -> None:
        self._table = table

    def publish(self, worker_id: str, number: int, texts: Iterable[str]) -> Operation[int]:
        """Add payloads, each ``encoded``, to a worker's log from a number on; the number of the last item.

        Two requests: the items, then the head, so that whoever sees the head finds them. Where it failed, the same
        texts are published under the same number again: whether or not they had arrived, readers have them once. Raises
        ``StorageError``.
        """
        ttl = ahead(SIGNAL_TTL)
        items: list[Item] = [
            {**_log_key(worker_id, number + place), "data": {"S": text}, TTL_ATTRIBUTE: ttl}
            for place, text in enumerate(_packed(texts))
        ]
        if not items:
            return number - 1
        newest = number + len(items) - 1
        yield from batches.put(self._table, items)
        head = {**_head_key(worker_id), "newest": {"N": str(newest)}, TTL_ATTRIBUTE: ttl}
        try:
            yield from ask(
                self._table,
                "PutItem",
                Item=head,
                # A request that was given up may still arrive, behind those that came after it.
                ConditionExpression="attribute_not_exists(newest) OR newest <= :newest",
                ExpressionAttributeValues={":newest": {"N": str(newest)}},
            )
        except ClientError:
            logger.debug("a head had moved on")
        return newest

    def heads(self) -> Operation[dict[str, int]]:
        """How long the log of each worker is that told something lately: one consistent Query. Raises ``StorageError``.

        Heads of workers that came and went are deleted by the way.
        """
        items = yield from queries.query_all(
            TableName=self._table,
            KeyConditionExpression="session_id = :news",
            ExpressionAttributeValues={":news": {"S": worker_keys.NEWS_PARTITION}},
            ConsistentRead=True,
        )
        heads = [item for item in items if "N" in item.get("newest", {}) and "N" in item.get(TTL_ATTRIBUTE, {})]
        yield from self._forget(heads)
        return {head["event_id"]["S"]: int(head["newest"]["N"]) for head in heads if not is_expired(head)}

    def since(self, worker_id: str, number: int, newest: int) -> Operation[list[tuple[int, list[Any]]]]:
        """What a worker told after a number, up to the number that its head gave: one consistent Query for 1 MB.

        Each item's number and payloads, in their order; an item that has expired, or cannot be read, has none. Raises
        ``StorageError``.
        """
        if newest <= number:
            return []
        items = yield from queries.query_all(
            TableName=self._table,
            KeyConditionExpression="session_id = :news AND event_id BETWEEN :first AND :newest",
            ExpressionAttributeValues={
                ":news": {"S": worker_keys.news_partition(worker_id)},
                ":first": {"S": worker_keys.news_id(number + 1)},
                ":newest": {"S": worker_keys.news_id(newest)},
            },
            ConsistentRead=True,
        )
        return [(int(item["event_id"]["S"]), [] if is_expired(item) else _payloads(item)) for item in items]

    def _forget(self, heads: Iterable[Item]) -> Operation[None]:
        long_ago = schema.now_ms() // 1000 - int(FORGET_AFTER.total_seconds())
        gone = [head for head in heads if int(head[TTL_ATTRIBUTE]["N"]) <= long_ago]
        for head in gone[:FORGET_AT_ONCE]:
            try:
                yield from ask(
                    self._table,
                    "DeleteItem",
                    Key=_head_key(head["event_id"]["S"]),
                    # The worker may be telling something just now; and a batch takes no condition.
                    ConditionExpression="#ttl <= :long_ago",
                    ExpressionAttributeNames={"#ttl": TTL_ATTRIBUTE},
                    ExpressionAttributeValues={":long_ago": {"N": str(long_ago)}},
                )
            except ClientError:
                continue
            except StorageError as exc:
                logger.warning("the heads of workers that are gone were not deleted: %s", exc)
                return


class News:
    """The logs for a caller that waits. Thread-safe."""

    def __init__(self, operations: NewsOperations, driver: Driver) -> None:
        self.operations = operations
        self.drive = driver

    publish = blocking(NewsOperations.publish)
    heads = blocking(NewsOperations.heads)
    since = blocking(NewsOperations.since)


def _packed(texts: Iterable[str]) -> Iterator[str]:
    """JSON arrays of the texts, in order, each array of a size that an item takes."""
    packed: list[str] = []
    size = 0
    for text in texts:
        length = len(text.encode()) + 1
        if packed and size + length > MAX_ITEM_BYTES:
            yield f"[{','.join(packed)}]"
            packed, size = [], 0
        packed.append(text)
        size += length
    if packed:
        yield f"[{','.join(packed)}]"


def _payloads(item: Item) -> list[Any]:
    try:
        payloads = json.loads(item["data"]["S"])
    except (KeyError, ValueError):
        payloads = None
    if not isinstance(payloads, list):
        # It would keep what lies behind it from being read, for ever.
        logger.warning("what a worker told all others cannot be read: %s", item["event_id"]["S"])
        return []
    return payloads


def _head_key(worker_id: str) -> Item:
    return {"session_id": {"S": worker_keys.NEWS_PARTITION}, "event_id": {"S": worker_id}}


def _log_key(worker_id: str, number: int) -> Item:
    return {"session_id": {"S": worker_keys.news_partition(worker_id)}, "event_id": {"S": worker_keys.news_id(number)}}
