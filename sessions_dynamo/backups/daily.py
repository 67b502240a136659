"""The backups of a schedule: a set a day, in UTC, under names of their own, and how many days are kept.

Nothing is remembered between runs, so a run may be repeated, raced and stopped anywhere: what AWS lists decides. Only
backups of the tables that stand, and with a name that this module gives, are counted or deleted.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from sessions_dynamo.backups import on_demand
from sessions_dynamo.backups.descriptions import STAMP_FORMAT, Backup, BackupNotFound, busy_reason
from sessions_dynamo.errors import StorageUnavailable
from sessions_dynamo.tables.describing import describe_table
from sessions_dynamo.tables.names import NamedTable
from sessions_dynamo.tables.steps import Outcome, Step
from sessions_dynamo.tables.waiting import PATIENCE, Progress

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_DAY_LENGTH: Final = len("YYYYmmdd")


def of_day(tables: Sequence[NamedTable], at: datetime, *, client: DynamoDBClient) -> list[Backup]:
    """The set of that day, ``AVAILABLE`` or on its way; empty where no run has asked for all of it.

    Raises ``TableMissing``, ``Unsupported`` where there are no backups.
    """
    found = [backup for backup in _daily(tables, client) if _day(backup) == _day_of(at)]
    whole = (one for one in on_demand.to_sets(found, _names(tables)) if len(one.backups) == len(tables))
    return next((list(one.backups) for one in whole), [])


def make(
    tables: Sequence[NamedTable],
    at: datetime,
    *,
    client: DynamoDBClient,
    patience: float = PATIENCE,
    progress: Progress | None = None,
) -> list[Backup]:
    """The day's set, made unless a run has done so, after ``patience`` seconds in all at the latest; 0 does not wait.

    A backup that is not ``AVAILABLE`` by then is still being made. Raises as ``on_demand.create`` does.
    """
    until = time.monotonic() + patience

    def left() -> float:
        return max(0.0, until - time.monotonic())

    found = of_day(tables, at, client=client)
    found = found or on_demand.ask(tables, at, client=client, daily=True, patience=left(), progress=progress)
    if not patience:
        return found
    return [
        backup
        if backup.status == "AVAILABLE"
        else on_demand.settled(backup, client=client, patience=left(), progress=progress)
        for backup in found
    ]


def step(backup: Backup, standing: Sequence[Backup]) -> Step:
    """What became of a backup of the day's set, where those of ``standing`` were asked for by an earlier run."""
    outcome = Outcome.CREATED
    if backup.status != "AVAILABLE":
        outcome = Outcome.PENDING
    elif any(backup.arn == earlier.arn for earlier in standing):
        outcome = Outcome.UNCHANGED
    return Step(backup.table, "backup", outcome, f"{backup.name}, {backup.status}")


def surplus(
    tables: Sequence[NamedTable], keep: int, *, client: DynamoDBClient, coming: datetime | None = None
) -> list[Backup]:
    """Daily backups of the days before the newest ``keep`` that have a whole set, oldest first.

    A day without a whole set does not count, so that runs which fail take nothing away. ``coming`` is the time of a set
    that shall be counted before it is made.
    """
    found = _daily(tables, client)
    days = {_day_of(one.taken_at) for one in on_demand.to_sets(found, _names(tables)) if one.complete}
    if coming:
        days.add(_day_of(coming))
    if len(days) < keep:
        return []
    oldest = sorted(days, reverse=True)[keep - 1]
    older = [backup for backup in found if _day(backup) < oldest and backup.status == "AVAILABLE"]
    return sorted(older, key=lambda backup: (backup.created_at, backup.name))


def take_away(backups: Iterable[Backup], *, client: DynamoDBClient) -> Iterator[tuple[Backup, Step]]:
    """Delete backups one by one. What another run deleted is gone as well; what AWS is busy with waits for the next."""
    for backup in backups:
        outcome, detail = Outcome.DELETED, backup.name
        try:
            on_demand.delete(backup.arn, client=client)
        except BackupNotFound:
            outcome, detail = Outcome.UNCHANGED, f"{backup.name}, which another run deleted"
        except StorageUnavailable as exc:
            reason = busy_reason(exc)
            if reason is None:
                raise
            outcome, detail = Outcome.PENDING, f"{backup.name}, for the next run: {reason}"
        yield backup, Step(backup.table, "backup", outcome, detail)


def _daily(tables: Sequence[NamedTable], client: DynamoDBClient) -> list[Backup]:
    """Daily backups of the tables that stand, each table's newest first."""
    # What is older than either is of a former table of the name, and may be all that is left of it, or goes with that.
    since = max(describe_table(client, table.name)["CreationDateTime"] for table in tables)
    return [
        backup
        for table in tables
        for backup in on_demand.list_backups(table.name, client=client)
        if backup.is_daily and backup.status in ("AVAILABLE", "CREATING") and backup.created_at >= since
    ]


def _names(tables: Sequence[NamedTable]) -> list[str]:
    return [table.name for table in tables]


def _day_of(at: datetime) -> str:
    return at.astimezone(UTC).strftime(STAMP_FORMAT)[:_DAY_LENGTH]


def _day(backup: Backup) -> str:
    return (backup.stamp or "")[:_DAY_LENGTH]
