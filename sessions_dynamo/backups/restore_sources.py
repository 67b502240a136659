"""What can be restored: a backup, or a table as it was at a time."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from sessions_dynamo import schema
from sessions_dynamo.backups import on_demand
from sessions_dynamo.backups.descriptions import NAME_LENGTH, STAMP_FORMAT, Backup, backup_errors
from sessions_dynamo.client import dynamodb
from sessions_dynamo.errors import StorageError, TableMissing
from sessions_dynamo.tables.describing import describe_table
from sessions_dynamo.tables.names import NamedTable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

RESTORED: Final = re.compile(r"-restored-\d{8}-\d{6}\Z", re.ASCII)
"""The end of a restored table's name, unless another was chosen."""


class RestoreRefused(StorageError):
    """What was asked for cannot be restored, or not to that table; nothing was changed."""


@dataclass(frozen=True, slots=True)
class Source:
    """What is restored: a backup, or a table as it was at a time; without either, at its latest restorable time.

    ``table`` is the declared table under the name that it has, or had; ``stamp`` is for names.
    """

    table: NamedTable
    stamp: str
    backup: Backup | None = None
    at: datetime | None = None

    def __str__(self) -> str:
        if self.backup:
            return f"backup {self.backup.name}"
        return f"{self.table.name} as of {self.at.isoformat(sep=' ') if self.at else 'its latest restorable time'}"

    @property
    def default_target(self) -> str:
        """``<table>-restored-<stamp>``: the same again for the same source, so a run that is repeated continues."""
        suffix = f"-restored-{self.stamp}"
        return RESTORED.sub("", self.table.name)[: NAME_LENGTH - len(suffix)] + suffix


def from_backup(backup: Backup, *, client: DynamoDBClient | None = None) -> Source:
    """The source that a backup is. Raises ``RestoreRefused`` for one that is not ``AVAILABLE`` or not of our tables."""
    if backup.status != "AVAILABLE":
        raise RestoreRefused(f"Backup {backup.name} is {backup.status}: it can be restored once it is AVAILABLE.")
    keys = on_demand.describe(backup.arn, client=client).keys
    stamp = backup.stamp or backup.created_at.astimezone(UTC).strftime(STAMP_FORMAT)
    return Source(NamedTable(backup.table, declared_table(keys, f"Backup {backup.name}")), stamp, backup)


def point_in_time(name: str, at: datetime | None, *, client: DynamoDBClient | None = None) -> Source:
    """A table as it was at a time, in whole seconds, or (``None``) at its latest restorable time.

    Raises ``TableMissing``, and ``RestoreRefused`` for a time that it cannot be restored to, with those that it can.
    """
    client = client or dynamodb()
    try:
        live = describe_table(client, name)
    except TableMissing as exc:
        raise TableMissing(
            f"Table {name} does not exist in {client.meta.region_name}. If it was deleted while it had point-in-time"
            f" recovery, AWS keeps a SYSTEM backup for 35 days: 'manage.py dynamodb_backup list --table {name}'."
        ) from exc
    keys = [element["AttributeName"] for element in sorted(live["KeySchema"], key=lambda key: key["KeyType"] != "HASH")]
    table = NamedTable(name, declared_table(keys, f"Table {name}"))
    with backup_errors(name):
        found = client.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
    recovery = found.get("PointInTimeRecoveryDescription", {})
    earliest, latest = recovery.get("EarliestRestorableDateTime"), recovery.get("LatestRestorableDateTime")
    if recovery.get("PointInTimeRecoveryStatus") != "ENABLED" or earliest is None or latest is None:
        raise RestoreRefused(
            f"Point-in-time recovery of {name} is off, so only its backups can be restored:"
            " 'manage.py dynamodb_backup list' shows them. For the future: 'manage.py dynamodb_setup --pitr'."
        )
    if at is not None:
        at = at.astimezone(UTC).replace(microsecond=0)
        # AWS counts in whole seconds; the clocks of an emulator may not.
        if not earliest.replace(microsecond=0) <= at <= latest:
            raise RestoreRefused(
                f"{name} cannot be restored to {at.isoformat(sep=' ')}: only to a time from {shown(earliest)} to"
                f" {shown(latest)}."
            )
    return Source(table, (at or latest).astimezone(UTC).strftime(STAMP_FORMAT), at=at)


def parse_time(text: str) -> datetime:
    """A time in ISO 8601, in UTC where it names no zone. Raises ``RestoreRefused``."""
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        raise RestoreRefused(
            f"{text!r} is no time: write it as 2025-01-31T13:45:00Z or 2025-01-31T13:45:00+01:00 (UTC where no zone is"
            " given), or 'latest'."
        ) from None
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)


def declared_table(keys: Iterable[str], what: str) -> schema.Table:
    """The declared table whose keys have these names. Raises ``RestoreRefused`` of ``what``."""
    keys = tuple(keys)
    for table in (schema.SESSIONS, schema.EVENTS):
        if keys == tuple(key.name for key in table.keys):
            return table
    raise RestoreRefused(f"{what} has the key {', '.join(keys)}: it is of neither a sessions nor an events table.")


def shown(at: datetime) -> str:
    """A time for people: UTC, in whole seconds."""
    return at.astimezone(UTC).replace(microsecond=0).isoformat(sep=" ")
