"""What of a table needs attention: drift, settings that are off, throttling, backups. Each finding has its remedy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from operator import attrgetter
from typing import Final

from sessions_dynamo.backups.descriptions import Backup
from sessions_dynamo.tables.aspects import recovery, stream, time_to_live
from sessions_dynamo.tables.aspects.change import Change
from sessions_dynamo.tables.descriptions import TableDescription
from sessions_dynamo.tables.plans import TablePlan
from sessions_dynamo.tables.steps import Outcome
from sessions_dynamo.upkeep.readings import TableReadings

BACKUP_AGE: Final = timedelta(days=7)
"""A table whose newest backup is older needs one."""

SETUP: Final = "manage.py dynamodb_setup"
BACKUP: Final = "manage.py dynamodb_backup create"

_OFF: Final = {
    time_to_live.ASPECT: "Time to Live is off: DynamoDB deletes nothing that has expired.",
    stream.ASPECT: "The stream is off: nothing can follow the table's changes.",
}
"""What it means that an aspect is to be created on a table that stands."""


class Kind(StrEnum):
    """What a finding is about, and so where it is mended."""

    DRIFT = "drift"
    RECOVERY = "recovery"
    BACKUP = "backup"
    THROTTLING = "throttling"
    ERRORS = "errors"
    UNSETTLED = "unsettled"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that needs attention. ``what`` and ``remedy`` are sentences; ``command``, where one mends it."""

    table: str
    kind: Kind
    what: str
    remedy: str = ""
    command: str = ""

    def __str__(self) -> str:
        run = f"Run '{self.command}'." if self.command else ""
        return f"{self.table}: {' '.join(filter(None, (self.what, self.remedy, run)))}"


def findings(
    planned: TablePlan,
    *,
    readings: TableReadings | None = None,
    backups: Sequence[Backup] | None = None,
    now: datetime | None = None,
) -> Iterator[Finding]:
    """What needs attention of one table, from what was read of it; ``None`` is what could not be read."""
    live = planned.live
    if live is not None:
        for what in live.unsettled:
            yield Finding(live.name, Kind.UNSETTLED, f"{what}.")
    yield from _drift(planned)
    if live is None:
        return
    is_planned = any(change.aspect == recovery.ASPECT for change in planned.to_do)
    if live.point_in_time_recovery and live.point_in_time_recovery.status != "ENABLED" and not is_planned:
        yield Finding(live.name, Kind.RECOVERY, "point-in-time recovery is off.", command=f"{SETUP} --pitr")
    if backups is not None:
        yield from _backups(live, backups, now or datetime.now(UTC))
    if readings is not None:
        yield from _readings(live, readings)


def newest_backup(backups: Sequence[Backup]) -> datetime | None:
    """When the newest backup of a table was made; ``None`` without one."""
    # AWS's own SYSTEM backup is of a table that was deleted.
    kept = [backup for backup in backups if backup.type != "SYSTEM" and backup.status != "DELETED"]
    return max((backup.created_at for backup in kept), default=None)


def _drift(planned: TablePlan) -> Iterator[Finding]:
    """What ``dynamodb_setup`` would change, and what it could not."""
    table = planned.table.name
    if planned.live is None and planned.to_do:
        yield Finding(table, Kind.DRIFT, "the table does not exist.", command=SETUP)
        return
    for change in planned.changes:
        if change.outcome in (Outcome.CREATE, Outcome.CHANGE):
            yield Finding(
                table, Kind.DRIFT, f"{change.aspect} is not as declared{_wanted(change)}.", _off(change), SETUP
            )
        elif change.outcome in (Outcome.CANNOT_CHANGE, Outcome.DENIED):
            yield Finding(table, Kind.DRIFT, f"{change.aspect}: {change.detail}")


def _wanted(change: Change) -> str:
    return f" ({change.detail})" if change.detail else ""


def _off(change: Change) -> str:
    return _OFF.get(change.aspect, "") if change.outcome is Outcome.CREATE else ""


def _backups(live: TableDescription, backups: Sequence[Backup], now: datetime) -> Iterator[Finding]:
    since = now - BACKUP_AGE
    if live.created_at is None or live.created_at > since:
        return
    newest = newest_backup(backups)
    if newest is None:
        yield Finding(live.name, Kind.BACKUP, "there is no backup.", command=BACKUP)
    elif newest < since:
        age = f"the newest backup is {(now - newest).days} days old."
        yield Finding(live.name, Kind.BACKUP, age, command=BACKUP)


def _readings(live: TableDescription, table: TableReadings) -> Iterator[Finding]:
    reads, writes = table.total(attrgetter("read_throttles")), table.total(attrgetter("write_throttles"))
    if reads or writes:
        what = f"{reads or 0:,.0f} reads and {writes or 0:,.0f} writes were throttled."
        yield Finding(live.name, Kind.THROTTLING, what, _more_capacity(live))
    if table.system_errors:
        yield Finding(live.name, Kind.ERRORS, f"DynamoDB failed {table.system_errors:,.0f} requests (HTTP 500).")


def _more_capacity(live: TableDescription) -> str:
    if live.billing_mode == "PROVISIONED":
        return f"Raise its capacity: '{SETUP} --billing provisioned --read N --write N', or '--billing on-demand'."
    return "Look for a hot key, such as one session that is called very often, or for a sudden rise."
