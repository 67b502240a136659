"""What is asked of the sessions table for values that others keep there under keys of their own: an item each.

They belong to no session: no list, count or export has them, and each has a ``ttl``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import cache
from typing import Any, Final

from sessions_dynamo import schema
from sessions_dynamo.conf import conf, forget_on_change
from sessions_dynamo.errors import InvalidState
from sessions_dynamo.operations import Operation, ask
from sessions_dynamo.store import batches, values
from sessions_dynamo.store.session_items import check_value_size

MAX_ID_BYTES: Final = 2048
"""DynamoDB's limit of a partition key."""
MAX_TTL_SECONDS: Final = 100 * 366 * 24 * 3600

Item = dict[str, Any]
Found = tuple[dict[str, Any], float]
"""A value, and the seconds that it has left."""


class KeyValueOperations:
    """Gets, puts and deletes values, each a JSON object under a collection and a key."""

    def __init__(self, table: str, default_ttl: timedelta) -> None:
        """``default_ttl`` is how long a value lives that was put without one."""
        self._table = table
        self._default_ttl = default_ttl

    def get(self, collection: str, keys: Sequence[str]) -> Operation[list[Found | None]]:
        """The values of some keys, in their order, by consistent reads; ``None`` where there is none, or no more.

        Raises ``InvalidState`` for what can be no key.
        """
        ids = [_id(collection, key) for key in keys]
        if len(ids) == 1:
            answer = yield from ask(self._table, "GetItem", Key=_key(ids[0]), ConsistentRead=True)
            items = [answer["Item"]] if answer.get("Item") else []
        else:
            items = yield from batches.get(self._table, [_key(item_id) for item_id in dict.fromkeys(ids)])
        found = {item["session_id"]["S"]: _decode(item) for item in items}
        return [found.get(item_id) for item_id in ids]

    def put(
        self, collection: str, entries: Sequence[tuple[str, Mapping[str, Any]]], ttl: float | None = None
    ) -> Operation[None]:
        """Put values, the last of a key that comes twice; ``ttl`` is in seconds, above 0.

        One value is one write, and several are written 25 at a time: those of a call that fails may be there in part.
        Raises ``InvalidState`` or ``StateTooLarge`` before anything is written.
        """
        expires = _expires(self._default_ttl.total_seconds() if ttl is None else ttl)
        items: dict[str, Item] = {}
        for key, value in entries:
            text = values.dumps(dict(value))
            check_value_size(repr(key), text)
            item_id = _id(collection, key)
            items[item_id] = {**_key(item_id), "value": {"S": text}, schema.TTL_ATTRIBUTE: {"N": str(expires)}}
        if len(items) == 1:
            yield from ask(self._table, "PutItem", Item=next(iter(items.values())))
        else:
            yield from batches.put(self._table, items.values())

    def delete(self, collection: str, keys: Sequence[str]) -> Operation[int]:
        """Delete values; how many of them there were. Raises ``InvalidState`` for what can be no key.

        A request whose answer was lost is sent again, and then finds nothing: the count may be less.
        """
        deleted = 0
        for item_id in dict.fromkeys(_id(collection, key) for key in keys):
            answer = yield from ask(self._table, "DeleteItem", Key=_key(item_id), ReturnValues="ALL_OLD")
            old = answer.get("Attributes")
            deleted += bool(old) and _decode(old) is not None
        return deleted


def _key(item_id: str) -> Item:
    return {"session_id": {"S": item_id}}


def _id(collection: str, key: str) -> str:
    item_id = schema.key_value_id(collection, key)
    try:
        size = len(item_id.encode())
    except UnicodeEncodeError as exc:
        raise InvalidState("The key holds a lone surrogate: send well-formed strings.") from exc
    if size > MAX_ID_BYTES:
        raise InvalidState(f"The key takes {size} bytes with its collection; the limit is {MAX_ID_BYTES}: shorten it.")
    return item_id


def _expires(ttl: float) -> int:
    if not 0 < ttl <= MAX_TTL_SECONDS:
        raise InvalidState(f"A ttl is above 0 and at most {MAX_TTL_SECONDS} seconds.")
    # Whole seconds, and never less than was asked for.
    return math.ceil(schema.now_ms() / 1000 + ttl)


def _decode(item: Item) -> Found | None:
    """The value of an item; ``None`` for one that has expired, or that somebody else wrote there."""
    expires, text = item.get(schema.TTL_ATTRIBUTE, {}).get("N"), item.get("value", {}).get("S")
    if expires is None or text is None:
        return None
    left = float(expires) - schema.now_ms() / 1000
    if left <= 0:
        return None
    try:
        value = values.loads(text)
    except ValueError:
        return None
    return (value, left) if isinstance(value, dict) else None


@cache
def default_operations() -> KeyValueOperations:
    """The process's, made on first use: a value without a ``ttl`` lives as long as a session without use."""
    return KeyValueOperations(conf.DYNAMODB_SESSIONS_TABLE, timedelta(hours=conf.SESSION_TTL_HOURS))


forget_on_change(default_operations.cache_clear, "DYNAMODB_", "AWS_", "SESSION_TTL_HOURS")
