"""The workers of the service: each keeps one item, whose beat is its lease, and which says what it holds.

A lease is a counter that its owner moves. Nobody compares clocks: who watches a worker takes it for gone once the
counter stood still for a whole lease of the watcher's own time, or once the item is not there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sessions_dynamo import worker_keys
from sessions_dynamo.operations import Driver, Operation, answered_at, ask, blocking
from sessions_dynamo.schema import TTL_ATTRIBUTE
from sessions_dynamo.store import batches
from sessions_dynamo.store.event_items import Item
from sessions_dynamo.store.times import ahead, from_ms, from_seconds, to_ms

WORKER_TTL: Final = timedelta(hours=1)
"""How long a worker that stopped without a word is remembered."""
HOLDINGS: Final = ("streams", "followed", "standalone", "calls", "questions", "subscriptions")
"""What a worker may hold, as its item counts it: streams of calls that run there, streams that clients follow there,
sessions' standalone streams, calls, questions to clients that are out, and ``subscriptions/listen`` streams."""


@dataclass(frozen=True, slots=True)
class WorkerItem:
    """One worker as it told of itself at its last beat."""

    worker_id: str
    beat: int
    lease_seconds: float
    """The beat moves at least thrice in it while anything is held."""
    interval_seconds: float
    """When the next beat was meant to come."""
    host: str
    pid: int
    started_at: datetime
    beat_at: datetime
    """By the clock of DynamoDB where its answers tell the time, else by the worker's own; for people alone."""
    holds: Mapping[str, int] = field(default_factory=dict)
    """How many of each of ``HOLDINGS``."""


@dataclass(frozen=True, slots=True)
class Roll:
    """Every worker that has not left, longest-serving first, and when DynamoDB told of them."""

    workers: list[WorkerItem]
    told_at: datetime | None
    """By DynamoDB's clock, as ``beat_at`` is; ``None`` where its answer did not say."""
    unreadable: int = 0
    """Items of workers that are none as this version writes them."""


@dataclass(frozen=True, slots=True)
class Beat:
    """What a watcher reads of a worker."""

    number: int
    lease_seconds: float


class RosterOperations:
    """The items of all workers."""

    def __init__(self, table: str) -> None:
        self._table = table

    def keep(self, worker: WorkerItem) -> Operation[datetime | None]:
        """Put a worker's item: its beat moves. When DynamoDB answered, by its clock, if it says; raises
        ``StorageError``."""
        item: Item = {
            **_key(worker.worker_id),
            "beat": {"N": str(worker.beat)},
            "lease_seconds": {"N": str(worker.lease_seconds)},
            "interval_seconds": {"N": str(worker.interval_seconds)},
            "host": {"S": worker.host},
            "pid": {"N": str(worker.pid)},
            "started_at": {"N": str(to_ms(worker.started_at))},
            "beat_at": {"N": str(to_ms(worker.beat_at))},
            "holds": {"M": {name: {"N": str(number)} for name, number in worker.holds.items()}},
            TTL_ATTRIBUTE: ahead(WORKER_TTL),
        }
        return answered_at((yield from ask(self._table, "PutItem", Item=item)))

    def leave(self, worker_id: str) -> Operation[None]:
        """Delete a worker's item: it holds nothing any more. Raises ``StorageError``."""
        yield from ask(self._table, "DeleteItem", Key=_key(worker_id))

    def beats(self, worker_ids: Iterable[str]) -> Operation[dict[str, Beat]]:
        """The beats of some workers, by consistent reads: one request for 100. Raises ``StorageError``."""
        projection = ("event_id", "beat", "lease_seconds")
        items = yield from batches.get(self._table, map(_key, worker_ids), projection=projection)
        return {
            item["event_id"]["S"]: Beat(int(item["beat"]["N"]), float(item["lease_seconds"]["N"])) for item in items
        }

    def all(self) -> Operation[Roll]:
        """Every worker that has not left: one consistent Query for some 3,000 of them. Raises ``StorageError``.

        Those that stopped without a word are among them until ``WORKER_TTL``.
        """
        items: list[Item] = []
        query: dict[str, Any] | None = {
            "KeyConditionExpression": "session_id = :workers",
            "ExpressionAttributeValues": {":workers": {"S": worker_keys.WORKERS_PARTITION}},
            "ConsistentRead": True,
        }
        told_at = None
        while query is not None:
            answer = yield from ask(self._table, "Query", **query)
            items += answer["Items"]
            told_at = answered_at(answer) or told_at
            last = answer.get("LastEvaluatedKey")
            query = None if last is None else {**query, "ExclusiveStartKey": last}
        workers, unreadable = list[WorkerItem](), 0
        now = told_at or datetime.now(UTC)
        for item in items:
            try:
                if from_seconds(item[TTL_ATTRIBUTE]) > now:
                    workers.append(_worker(item))
            except (LookupError, TypeError, ValueError, ArithmeticError, OSError):
                # Of another version, or by another's hand: whoever looks is to see the others.
                unreadable += 1
        return Roll(sorted(workers, key=lambda worker: worker.started_at), told_at, unreadable)


class Roster:
    """The workers for a caller that waits. Thread-safe."""

    def __init__(self, operations: RosterOperations, driver: Driver) -> None:
        self.operations = operations
        self.drive = driver

    keep = blocking(RosterOperations.keep)
    leave = blocking(RosterOperations.leave)
    beats = blocking(RosterOperations.beats)
    all = blocking(RosterOperations.all)


def _key(worker_id: str) -> Item:
    return {"session_id": {"S": worker_keys.WORKERS_PARTITION}, "event_id": {"S": worker_id}}


def _worker(item: Item) -> WorkerItem:
    return WorkerItem(
        worker_id=item["event_id"]["S"],
        beat=int(item["beat"]["N"]),
        lease_seconds=float(item["lease_seconds"]["N"]),
        interval_seconds=float(item["interval_seconds"]["N"]),
        host=item["host"]["S"],
        pid=int(item["pid"]["N"]),
        started_at=from_ms(int(item["started_at"]["N"])),
        beat_at=from_ms(int(item["beat_at"]["N"])),
        holds={name: int(number["N"]) for name, number in item["holds"]["M"].items()},
    )
