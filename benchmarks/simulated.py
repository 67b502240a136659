"""A DynamoDB that is simulated, in a time that is simulated: what workers ask of it in a minute, counted in a second.

Nothing in it depends on the machine or on what else runs there. An answer takes ``ANSWER_SECONDS``; nothing fails, and
nothing is throttled. Units are those that DynamoDB prices, by the sizes of items: 1 KB a write, 4 KB a consistent read.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import selectors
import time
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import ExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Any, Final, TypeVar
from unittest import mock

from mcpsite.endpoint.streams.outbox import Outbox
from mcpsite.endpoint.streams.worker import Worker
from sessions_dynamo.dataplane import loops
from sessions_dynamo.store.session_items import Session

T = TypeVar("T")
Item = dict[str, Any]
Place = tuple[str, int]
"""A partition, and a second (virtual)."""

ANSWER_SECONDS: Final = 0.005
WRITE_BYTES: Final = 1024
READ_BYTES: Final = 4096
_ASSIGNMENT: Final = re.compile(r"([#\w]+) = (?:if_not_exists\([#\w]+, (:\w+)\)|(:\w+))")


class _Selector(selectors.DefaultSelector):
    """Never waits: the time that it would have waited has passed."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(0)
        if not events:
            if timeout is None:
                raise RuntimeError("nothing will ever happen")
            self._clock.now += max(0.0, timeout)
        return events


class Clock:
    """What ``time.monotonic`` and the event loop go by, in seconds."""

    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Store:
    """Answers the requests of one event loop, and counts them; put in the place of its data plane by ``simulate``."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.requests: Counter[str] = Counter()
        """By action."""
        self.written: Counter[Place] = Counter()
        """Write units."""
        self.read: Counter[Place] = Counter()
        """Read units."""
        self.queries: Counter[str] = Counter()
        """By partition."""
        self.items: Counter[str] = Counter()
        """Items that were put, deleted and read, by what was done."""
        self._tables: dict[str, dict[str, dict[str, Item]]] = {}

    def forget_counts(self) -> None:
        """Count anew; what is stored stays."""
        for counter in (self.requests, self.written, self.read, self.queries, self.items):
            counter.clear()

    async def request(self, action: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """As ``DataPlane.request``, for the actions and expressions that workers use."""
        self.requests[action] += 1
        await asyncio.sleep(ANSWER_SECONDS / 2)
        answer = self._answer(action, parameters)
        await asyncio.sleep(ANSWER_SECONDS / 2)
        return answer

    # --- What is asked ----------------------------------------------------------------------------------------

    def _answer(self, action: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        match action:
            case "PutItem":
                # Conditions are those of writers that meet nobody here.
                self._put(asked["TableName"], asked["Item"])
                return {}
            case "DeleteItem":
                self._delete(asked["TableName"], asked["Key"])
                return {}
            case "UpdateItem":
                return {"Attributes": self._update(asked)}
            case "GetItem":
                found = self._get(asked["TableName"], asked["Key"])
                return {"Item": found} if found else {}
            case "BatchGetItem":
                return {
                    "Responses": {
                        table: [item for key in wanted["Keys"] if (item := self._get(table, key))]
                        for table, wanted in asked["RequestItems"].items()
                    }
                }
            case "BatchWriteItem":
                for table, writes in asked["RequestItems"].items():
                    for write in writes:
                        if "PutRequest" in write:
                            self._put(table, write["PutRequest"]["Item"])
                        else:
                            self._delete(table, write["DeleteRequest"]["Key"])
                return {}
            case "Query":
                items = self._query(asked)
                return {"Items": items, "Count": len(items)}
        raise NotImplementedError(action)

    def _put(self, table: str, item: Item) -> None:
        partition = self._partition(table, item)
        before = partition.get(_sort_key(item), {})
        self._wrote("put", item, max(size(before), size(item)))
        partition[_sort_key(item)] = item

    def _delete(self, table: str, key: Item) -> None:
        before = self._partition(table, key).pop(_sort_key(key), {})
        self._wrote("deleted", key, size(before))

    def _update(self, asked: Mapping[str, Any]) -> Item:
        key, names, values = asked["Key"], asked.get("ExpressionAttributeNames", {}), asked["ExpressionAttributeValues"]
        before = self._partition(asked["TableName"], key).get(_sort_key(key), {})
        after = {**before, **key}
        for name, default, value in _ASSIGNMENT.findall(asked["UpdateExpression"]):
            attribute = names.get(name, name)
            if not (default and attribute in after):
                after[attribute] = values[default or value]
        self._put(asked["TableName"], after)
        return before

    def _get(self, table: str, key: Item) -> Item | None:
        item = self._partition(table, key).get(_sort_key(key))
        self._took("read", key, size(item or {}))
        return item

    def _query(self, asked: Mapping[str, Any]) -> list[Item]:
        condition, values = asked["KeyConditionExpression"], asked["ExpressionAttributeValues"]
        name, *bounds = (values[place]["S"] for place in re.findall(r":\w+", condition))
        partition = self._tables.get(asked["TableName"], {}).get(name, {})
        keys = sorted(partition)
        if "begins_with" in condition:
            keys = [key for key in keys if key.startswith(bounds[0])]
        elif "BETWEEN" in condition:
            keys = [key for key in keys if bounds[0] <= key <= bounds[1]]
        found = [partition[key] for key in keys]
        self.queries[name] += 1
        self.items["read"] += max(0, len(found) - 1)
        self._took("read", {"session_id": {"S": name}}, sum(map(size, found)), bool(found))
        return found

    # --- What it costs ----------------------------------------------------------------------------------------

    def _partition(self, table: str, key: Item) -> dict[str, Item]:
        return self._tables.setdefault(table, {}).setdefault(key["session_id"]["S"], {})

    def _wrote(self, what: str, key: Item, size_bytes: int) -> None:
        self.items[what] += 1
        self.written[key["session_id"]["S"], int(self.clock.now)] += max(1, ceil(size_bytes / WRITE_BYTES))

    def _took(self, what: str, key: Item, size_bytes: int, is_found: bool = True) -> None:
        self.items[what] += is_found
        self.read[key["session_id"]["S"], int(self.clock.now)] += max(1, ceil(size_bytes / READ_BYTES))


def simulate(work: Coroutine[Any, Any, T], store: Store) -> T:
    """Run to its end what asks this store, in virtual time. Threads have no part in it."""
    clock = store.clock
    loop = asyncio.SelectorEventLoop(_Selector(clock))
    with ExitStack() as stack:
        stack.callback(loop.close)
        stack.enter_context(mock.patch.object(loop, "time", clock))
        stack.enter_context(mock.patch.object(time, "monotonic", clock))
        stack.enter_context(mock.patch("mcpsite.endpoint.peers.lease._clock", clock))
        stack.enter_context(mock.patch.object(loops, "plane_of_this_loop", return_value=store))
        return loop.run_until_complete(work)


def size(item: Mapping[str, Any]) -> int:
    """Bytes of an item, as DynamoDB counts them."""
    return sum(len(name.encode()) + _size(value) for name, value in item.items())


def _size(typed: Mapping[str, Any]) -> int:
    ((kind, value),) = typed.items()
    match kind:
        case "S":
            return len(value.encode())
        case "N":
            return len(value.strip("-0.")) // 2 + 2
        case "L":
            return 3 + sum(1 + _size(one) for one in value)
        case "M":
            return 3 + sum(1 + len(name.encode()) + _size(one) for name, one in value.items())
        case "SS":
            return sum(len(one.encode()) for one in value)
    return 1


def largest(units: Counter[Place]) -> tuple[int, str]:
    """The most units of one partition in one second, and which partition that was."""
    return max(((number, partition) for (partition, _), number in units.items()), default=(0, "-"))


# --- Workers --------------------------------------------------------------------------------------------------


@asynccontextmanager
async def running(number: int) -> AsyncIterator[list[Worker]]:
    """So many workers, with their pollers; they began a little apart from each other, as processes do."""
    workers, tasks = [], []
    try:
        for _ in range(number):
            workers.append(Worker())
            tasks.append(asyncio.create_task(workers[-1].run()))
            await asyncio.sleep(workers[-1].poll_seconds / number)
        yield workers
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def hold(worker: Worker) -> Outbox:
    """Open the standalone stream of a new session there, as a GET does; what it has to send."""
    now = datetime.now(UTC)
    session = Session(secrets.token_hex(16), now, now, now + timedelta(days=1), protocol_version="2025-11-25")
    await worker.attend()
    outbox = Outbox()
    await worker.hold(session, outbox)
    return outbox


def _sort_key(item: Mapping[str, Any]) -> str:
    key: str = item.get("event_id", {}).get("S", "")
    return key
