"""On-demand backups of the tables: made, listed, found and deleted.

Backups of both tables that were made together share the time stamp in their names, and so are a set.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sessions_dynamo.backups.descriptions import (
    Backup,
    BackupDetails,
    BackupNotFound,
    BackupSet,
    backup_errors,
    backup_name,
    busy_reason,
    to_backup,
    to_details,
)
from sessions_dynamo.client import dynamodb
from sessions_dynamo.errors import StorageError, StorageUnavailable, TableMissing
from sessions_dynamo.tables.describing import describe_table
from sessions_dynamo.tables.names import NamedTable, named_tables
from sessions_dynamo.tables.steps import Outcome, Report, Step
from sessions_dynamo.tables.waiting import PATIENCE, Progress, polls

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import ListBackupsInputTypeDef

__all__ = [
    "Backup",
    "BackupDetails",
    "BackupFailed",
    "BackupNotFound",
    "BackupSet",
    "ask",
    "backup_name",
    "create",
    "delete",
    "describe",
    "find",
    "former_set",
    "list_backups",
    "newest_set",
    "sets",
    "settled",
    "to_sets",
    "wait_until_available",
]


class BackupFailed(StorageError):
    """A backup that was asked for did not become ``AVAILABLE``."""


# --- Create and delete ----------------------------------------------------------------------------------------


def create(
    tables: Iterable[NamedTable] | None = None,
    *,
    client: DynamoDBClient | None = None,
    patience: float = PATIENCE,
    progress: Progress | None = None,
    report: Report | None = None,
    at: datetime | None = None,
) -> list[Backup]:
    """Back up the tables under one time stamp, by default now, and return the backups once they are ``AVAILABLE``.

    Each backup holds what its table held when it was asked for. Asks for up to ``patience`` seconds, and then waits as
    long for each; 0 does not wait. Raises ``TableMissing`` before anything is made, ``BackupFailed``, ``Unsupported``
    where there are none.
    """
    client = client or dynamodb()
    tables = tuple(tables or named_tables())
    made = ask(tables, at or datetime.now(UTC), client=client, patience=patience, progress=progress)
    if patience:
        with _naming(made):
            made = [
                wait_until_available(backup, client=client, patience=patience, progress=progress) for backup in made
            ]
    if report:
        for backup in made:
            report(_step(backup))
    return made


def ask(
    tables: Sequence[NamedTable],
    at: datetime,
    *,
    client: DynamoDBClient,
    daily: bool = False,
    patience: float = 0,
    progress: Progress | None = None,
) -> list[Backup]:
    """Ask AWS for a backup of each table under one time stamp, and do not wait for them.

    Where AWS refuses for a while, it is asked again for up to ``patience`` seconds in all. Raises as ``create`` does.
    """
    until = time.monotonic() + patience
    for table in tables:
        # Half a set is worth little: nothing is made when a table is not there.
        with backup_errors(table.name):
            client.describe_table(TableName=table.name)
    made: list[Backup] = []
    with _naming(made):
        for table in tables:
            name = backup_name(table.name, at, daily=daily)
            made.append(_create(client, table.name, name, max(0.0, until - time.monotonic()), progress))
    return made


@contextmanager
def _naming(made: Sequence[Backup]) -> Iterator[None]:
    """Name, in an error, what the run has asked for already."""
    try:
        yield
    except StorageError as exc:
        if made:
            standing = ", ".join(backup.name for backup in made)
            raise BackupFailed(f"{exc}\nAsked for in this run, and perhaps usable: {standing}.") from exc
        raise


def _step(backup: Backup) -> Step:
    outcome = Outcome.CREATED if backup.status == "AVAILABLE" else Outcome.PENDING
    return Step(backup.table, "backup", outcome, f"{backup.name}, {backup.status}")


def _create(client: DynamoDBClient, table: str, name: str, patience: float, progress: Progress | None) -> Backup:
    for _ in polls(patience, f"{table} to allow a backup", progress):
        try:
            with backup_errors(table):
                return to_backup(table, client.create_backup(TableName=table, BackupName=name)["BackupDetails"])
        except StorageUnavailable as exc:
            reason = busy_reason(exc)
            if reason is None:
                raise
        # What runs may be this very backup: the client sends a request again when its answer is lost.
        for standing in list_backups(table, client=client):
            if standing.name == name:
                return standing
    raise StorageUnavailable(f"AWS does not back up {table} now: {reason} Try again in a few minutes.")


def wait_until_available(
    backup: Backup,
    *,
    client: DynamoDBClient | None = None,
    patience: float = PATIENCE,
    progress: Progress | None = None,
) -> Backup:
    """The backup once it is ``AVAILABLE``. Raises ``BackupFailed`` when it is not within ``patience`` seconds."""
    found = settled(backup, client=client or dynamodb(), patience=patience, progress=progress)
    if found.status == "AVAILABLE":
        return found
    raise BackupFailed(
        f"Backup {backup.name} is still {found.status} after {patience:.0f} s. It may yet become AVAILABLE:"
        f" 'manage.py dynamodb_backup describe {backup.arn}' shows it."
    )


def settled(
    backup: Backup, *, client: DynamoDBClient, patience: float = PATIENCE, progress: Progress | None = None
) -> Backup:
    """The backup once it is ``AVAILABLE``, or as it is after ``patience`` seconds; 0 looks once.

    Raises ``BackupFailed`` when it was deleted meanwhile.
    """
    found = backup
    for _ in polls(patience, f"backup {backup.name}", progress):
        try:
            found = describe(backup.arn, client=client).backup
        except BackupNotFound:
            # Right after CreateBackup, DescribeBackup may not see it yet.
            continue
        if found.status == "AVAILABLE":
            break
        if found.status == "DELETED":
            raise BackupFailed(f"Backup {backup.name} was deleted while it was being made.")
    return found


def delete(arn: str, *, client: DynamoDBClient | None = None) -> Backup:
    """Delete a backup and return what it was. Raises ``BackupNotFound``."""
    client = client or dynamodb()
    with backup_errors(arn):
        found = client.delete_backup(BackupArn=arn)["BackupDescription"]
    return to_details(found).backup


# --- Read -----------------------------------------------------------------------------------------------------


def list_backups(table: str | None = None, *, client: DynamoDBClient | None = None) -> Iterator[Backup]:
    """Backups of every type, newest first: of one table, there still or not, or of all tables of the region."""
    client = client or dynamodb()
    request: ListBackupsInputTypeDef = {"BackupType": "ALL"}
    if table:
        request["TableName"] = table
    found: list[Backup] = []
    while True:
        with backup_errors(table or "backups"):
            page = client.list_backups(**request)
        found += [to_backup(summary["TableName"], summary) for summary in page.get("BackupSummaries", [])]
        last = page.get("LastEvaluatedBackupArn")
        if not last:
            break
        request["ExclusiveStartBackupArn"] = last
    # AWS promises no order.
    return iter(sorted(found, key=lambda backup: (backup.created_at, backup.name), reverse=True))


def describe(arn: str, *, client: DynamoDBClient | None = None) -> BackupDetails:
    """A backup, and its table as it was then. Raises ``BackupNotFound``."""
    client = client or dynamodb()
    with backup_errors(arn):
        return to_details(client.describe_backup(BackupArn=arn)["BackupDescription"])


def find(name_or_arn: str, *, table: str | None = None, client: DynamoDBClient | None = None) -> Backup:
    """The backup with this ARN or name; ``table`` narrows a name. Raises ``BackupNotFound``.

    AWS lets several backups have one name: then the error lists their ARNs.
    """
    client = client or dynamodb()
    if name_or_arn.startswith("arn:"):
        return describe(name_or_arn, client=client).backup
    found = [backup for backup in list_backups(table, client=client) if backup.name == name_or_arn]
    if not found:
        raise BackupNotFound(
            f"There is no backup {name_or_arn} in {client.meta.region_name}:"
            " 'manage.py dynamodb_backup list --all-tables' shows those that there are."
        )
    if len(found) > 1:
        choices = "\n".join(f"{backup.arn}, {backup.created_at.isoformat()}" for backup in found)
        raise BackupNotFound(f"{len(found)} backups are named {name_or_arn}: name one by its ARN.\n{choices}")
    return found[0]


def sets(tables: Iterable[NamedTable] | None = None, *, client: DynamoDBClient | None = None) -> list[BackupSet]:
    """The tables' backups that were made together, newest first; a backup with a name of another form is in none."""
    client = client or dynamodb()
    names = [table.name for table in tables or named_tables()]
    return to_sets((backup for name in names for backup in list_backups(name, client=client)), names)


def to_sets(found: Iterable[Backup], names: Sequence[str]) -> list[BackupSet]:
    """The sets that backups of the tables of these names are, newest first; each table's come newest first."""
    # A schedule's run and a hand may fall on the same second.
    by_stamp: dict[tuple[str, bool], dict[str, Backup]] = {}
    for backup in found:
        if backup.stamp:
            # The newest of those that share a name: a request that was sent again makes a second.
            by_stamp.setdefault((backup.stamp, backup.is_daily), {}).setdefault(backup.table, backup)
    return [
        BackupSet(
            stamp,
            tuple(of_table[name] for name in names if name in of_table),
            all(name in of_table and of_table[name].status == "AVAILABLE" for name in names),
        )
        for (stamp, _), of_table in sorted(by_stamp.items(), key=lambda item: item[0], reverse=True)
    ]


def newest_set(tables: Iterable[NamedTable] | None = None, *, client: DynamoDBClient | None = None) -> BackupSet | None:
    """The newest set that restores every one of the tables; ``None`` when there is none."""
    return next((found for found in sets(tables, client=client) if found.complete), None)


def former_set(found: Sequence[BackupSet], tables: Iterable[NamedTable], *, client: DynamoDBClient) -> BackupSet | None:
    """Of whole sets, newest first, the newest from before one of the tables was made; ``None`` if no newer follows it.

    Where a table was lost and made anew, the newer ones hold what it has had since, perhaps nothing.
    """
    made: list[datetime] = []
    for table in tables:
        with suppress(TableMissing):
            made.append(describe_table(client, table.name)["CreationDateTime"])
    if not made or not found or found[0].backups[0].created_at < max(made):
        return None
    return next((one for one in found if one.backups[0].created_at < max(made)), None)
