"""Restores on their way: what DynamoDB itself tells of the new tables is all that is known of them.

Any process can look at a restore and go on with it, whoever began it and whenever.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from sessions_dynamo.backups import restores
from sessions_dynamo.backups.restore_sources import RESTORED, RestoreRefused, declared_table
from sessions_dynamo.client import dynamodb
from sessions_dynamo.errors import boto_errors
from sessions_dynamo.tables.describing import describe_table
from sessions_dynamo.tables.descriptions import TableDescription
from sessions_dynamo.tables.names import NamedTable, named_tables
from sessions_dynamo.tables.plans import TO_DO
from sessions_dynamo.tables.steps import Outcome, Report, Step, carried_out

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from sessions_dynamo.tables.aspects.change import Change

LIST_PAGES: Final = 3
"""Requests for the names of the region's tables, of 100 names each."""

_NO_WAIT: Final = 0.0
_STAMP_LENGTH: Final = len("YYYYmmdd-HHMMSS")


@dataclass(frozen=True, slots=True)
class Job:
    """A restored table. ``is_ready`` once AWS has done its part, so that what it left out can be made again.

    ``backup_arn`` is ``None`` for a restore to a point in time; ``at`` is the time whose items it holds.
    """

    table: NamedTable
    status: str
    source: str
    backup_arn: str | None
    at: datetime
    is_ready: bool


@dataclass(frozen=True, slots=True)
class Lacking:
    """How a restored table differs from what it shall be, aspect by aspect; ``live`` is the table as it stands."""

    changes: tuple[Change, ...]
    live: TableDescription | None
    source_stands: bool
    """Whether the source could be read; else its tags, recovery, protection and autoscaling are not known."""

    @property
    def to_do(self) -> tuple[Change, ...]:
        """What is still to be made again."""
        return tuple(change for change in self.changes if change.outcome in TO_DO)

    @property
    def is_pending(self) -> bool:
        """Whether AWS is at work, and the rest has to wait for it."""
        return any(change.outcome is Outcome.PENDING for change in self.changes)

    @property
    def is_complete(self) -> bool:
        """Whether the table is as it shall be, so far as the engine can make it."""
        return all(change.outcome in (Outcome.UNCHANGED, Outcome.UNSUPPORTED) for change in self.changes)


def find(name: str, *, client: DynamoDBClient | None = None) -> Job:
    """The restored table of this name, in one request. Raises ``TableMissing`` and, for any other, ``RestoreRefused``.

    Right after a restore began, AWS may not show its table yet.
    """
    client = client or dynamodb()
    if not restores.is_table_name(name):
        raise RestoreRefused(f"{name!r} is no table name.")
    live = describe_table(client, name)
    summary = live.get("RestoreSummary")
    if summary is None:
        raise RestoreRefused(f"Table {name} is no restored table.")
    keys = sorted(live["KeySchema"], key=lambda key: key["KeyType"] != "HASH")
    declared = declared_table((key["AttributeName"] for key in keys), f"Table {name}")
    status = live["TableStatus"]
    return Job(
        NamedTable(name, declared),
        status,
        summary.get("SourceTableArn", "").partition(":table/")[2],
        summary.get("SourceBackupArn"),
        summary["RestoreDateTime"],
        is_ready=status in ("ACTIVE", "UPDATING") and not summary.get("RestoreInProgress"),
    )


def lacking(job: Job, *, client: DynamoDBClient | None = None) -> Lacking:
    """What a restored table that is ready still lacks, in at most nine requests of DynamoDB; nothing is written."""
    client = client or dynamodb()
    carried = restores.settings_of(job.source, job.table.name, client)
    converging, carrying = restores.lacking(job.table, carried, client)
    further = carrying.changes[1:]
    # What is carried over is planned twice; the second says what it shall be.
    aspects = {change.aspect for change in further}
    own = [change for change in converging.changes if change.aspect not in aspects or change.outcome in TO_DO]
    return Lacking((*own, *further), converging.live, carried is not None)


def complete(job: Job, *, client: DynamoDBClient | None = None, report: Report | None = None) -> list[Step]:
    """Make again what a restored table that is ready lacks, without waiting; what AWS is busy with is ``pending``.

    To be called again until nothing is.
    """
    client = client or dynamodb()
    carried = restores.settings_of(job.source, job.table.name, client)
    return carried_out(restores.make_again(job.table, carried, client, _NO_WAIT), report)


def names(*, client: DynamoDBClient | None = None) -> tuple[list[str], bool]:
    """Tables with the names that restores of ours give, newest stamp first; and whether all tables were looked at.

    In ``LIST_PAGES`` requests at most.
    """
    client = client or dynamodb()
    bases = {RESTORED.sub("", table.name) for table in named_tables()}
    found: list[str] = []
    request: dict[str, Any] = {}
    for _ in range(LIST_PAGES):
        with boto_errors("the region's tables"):
            page = client.list_tables(**request)
        found += [name for name in page["TableNames"] if RESTORED.search(name) and RESTORED.sub("", name) in bases]
        last = page.get("LastEvaluatedTableName")
        if not last:
            break
        request = {"ExclusiveStartTableName": last}
    return sorted(found, key=stamp_of, reverse=True), not last


def stamp_of(name: str) -> str:
    """The stamp at the end of a restored table's name."""
    return name[-_STAMP_LENGTH:]
