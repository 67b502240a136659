"""Which workers are alive, judged by DynamoDB's clock alone, and what they hold.

A worker writes DynamoDB's time into its item; here that is compared with DynamoDB's time in the answer that the item
came with. So no clock of a machine decides, and a worker that stands still looks it everywhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from sessions_dynamo.operations import boto3_driver
from sessions_dynamo.workers.roster import HOLDINGS, Roll, Roster, RosterOperations, WorkerItem

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

BEATS_MISSED: Final = 3
"""Intervals without a beat, after which a worker is silent."""
ROUNDING_SECONDS: Final = 2.0
"""DynamoDB tells whole seconds, when a worker beat and when it is looked at."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A worker as it was found."""

    worker: WorkerItem
    age_seconds: float
    """Since its last beat."""

    @property
    def is_alive(self) -> bool:
        return self.age_seconds <= BEATS_MISSED * self.worker.interval_seconds + ROUNDING_SECONDS


@dataclass(frozen=True, slots=True)
class RollCall:
    """One look at all workers."""

    alive: tuple[Seen, ...]
    """Longest-serving first."""
    silent: tuple[Seen, ...]
    """Those that stopped without a word, or stand still; the newest silence first."""
    unreadable: int = 0
    """Items that are none of a worker as this version writes it."""
    is_by_own_clock: bool = False
    """Whether DynamoDB's answer did not say when it was, so that this machine's clock had to do."""

    @property
    def is_empty(self) -> bool:
        return not (self.alive or self.silent or self.unreadable)

    @property
    def holds(self) -> dict[str, int]:
        """How many of each of ``HOLDINGS`` those that are alive hold together."""
        return held(self.alive)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "alive": len(self.alive),
            "silent": len(self.silent),
            "unreadable": self.unreadable,
            "holds": self.holds,
        }


def held(workers: Iterable[Seen]) -> dict[str, int]:
    """How many of each of ``HOLDINGS`` some workers hold together, as each told at its last beat."""
    total: Counter[str] = Counter()
    for seen in workers:
        total.update(seen.worker.holds)
    return {name: total[name] for name in HOLDINGS}


def look(table: str, client: DynamoDBClient) -> RollCall:
    """The workers of an events table: one Query. Raises ``StorageError``."""
    return judged(Roster(RosterOperations(table), boto3_driver(client)).all())


def judged(roll: Roll) -> RollCall:
    """Who of a roll is alive."""
    now = roll.told_at or datetime.now(UTC)
    found = [Seen(worker, max(0.0, (now - worker.beat_at).total_seconds())) for worker in roll.workers]
    silent = sorted((seen for seen in found if not seen.is_alive), key=lambda seen: seen.age_seconds)
    return RollCall(
        alive=tuple(seen for seen in found if seen.is_alive),
        silent=tuple(silent),
        unreadable=roll.unreadable,
        is_by_own_clock=roll.told_at is None,
    )


def words(holds: Mapping[str, int]) -> list[str]:
    """What is held, without what there is none of, such as ``2 calls``."""
    return [f"{holds[name]:,} {_NAMES[name][holds[name] != 1]}" for name in HOLDINGS if holds.get(name)]


_NAMES: Final = {
    "streams": ("stream of a call", "streams of calls"),
    "followed": ("followed stream", "followed streams"),
    "standalone": ("standalone stream", "standalone streams"),
    "calls": ("call", "calls"),
    "questions": ("question", "questions"),
    "subscriptions": ("subscription", "subscriptions"),
}
