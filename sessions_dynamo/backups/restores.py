"""Restore tables from backups or to a point in time, to new tables that serve as their sources did.

What AWS leaves out of a restore is made again: by the convergence of ``tables.setup``, and from the source's own
settings where it still stands. A restore that was interrupted is continued by the next run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from sessions_dynamo.backups import carry_over
from sessions_dynamo.backups.descriptions import backup_errors, busy_reason
from sessions_dynamo.backups.restore_sources import (
    RestoreRefused,
    Source,
    from_backup,
    parse_time,
    point_in_time,
    shown,
)
from sessions_dynamo.client import dynamodb
from sessions_dynamo.errors import StorageError, StorageUnavailable, TableMissing, error_code
from sessions_dynamo.tables import setup
from sessions_dynamo.tables.aspects.change import Change
from sessions_dynamo.tables.convergence import converge
from sessions_dynamo.tables.describing import describe, describe_table, to_description
from sessions_dynamo.tables.desired import declared
from sessions_dynamo.tables.names import NamedTable, is_table_name
from sessions_dynamo.tables.plans import TABLE, TablePlan
from sessions_dynamo.tables.steps import Outcome, Report, Step, carried_out
from sessions_dynamo.tables.waiting import Progress, polls, wait_until_active

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TableDescriptionTypeDef

__all__ = [
    "PATIENCE",
    "RestorePlan",
    "RestoreRefused",
    "Source",
    "apply",
    "apply_bare",
    "from_backup",
    "is_table_name",
    "lacking",
    "make_again",
    "parse_time",
    "plan",
    "point_in_time",
    "restore",
    "settings_of",
]

PATIENCE: Final = 6 * 3600.0
"""Seconds to wait for a restored table: AWS takes from minutes to hours, by size and by luck."""


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """What a restore will do; ``standing`` is the target's status when an earlier run began it.

    ``carried`` holds the settings of the source that will be made again; ``None`` where it no longer stands.
    ``environment`` is the tag's value, where it shall be another than the source's or the declared one.
    """

    source: Source
    target: NamedTable
    standing: str | None
    carried: carry_over.Settings | None
    environment: str | None


# --- Plan -----------------------------------------------------------------------------------------------------


def plan(
    source: Source,
    target: str | None = None,
    *,
    client: DynamoDBClient | None = None,
    environment: str | None = None,
) -> RestorePlan:
    """Say what a restore will do; nothing is written.

    Raises ``RestoreRefused`` for a target that exists, unless it is this very restore, which then is continued.
    """
    client = client or dynamodb()
    name = target or source.default_target
    if not is_table_name(name):
        raise RestoreRefused(f"{name!r} is no table name: 3 to 255 letters, digits, and any of _ . - make one.")
    live = _live(client, name)
    if live:
        _refuse_other(source, live)
    return RestorePlan(
        source,
        NamedTable(name, source.table.schema),
        live["TableStatus"] if live else None,
        settings_of(source.table.name, name, client),
        environment,
    )


def settings_of(source: str, target: str, client: DynamoDBClient) -> carry_over.Settings | None:
    """What a table restored from another shall have of its settings; ``None`` where that one no longer stands."""
    if source == target:
        return None
    try:
        former = describe(source, client)
    except TableMissing:
        return None
    return None if former.status == "DELETING" else carry_over.read(former, client)


def _live(client: DynamoDBClient, name: str) -> TableDescriptionTypeDef | None:
    try:
        return describe_table(client, name)
    except TableMissing:
        return None


def _refuse_other(source: Source, live: TableDescriptionTypeDef) -> None:
    """Raise ``RestoreRefused`` unless the table that stands came from this source."""
    name, summary = live["TableName"], live.get("RestoreSummary")
    if live["TableStatus"] == "DELETING":
        raise RestoreRefused(f"Table {name} is being deleted: choose another name, or try again when it is gone.")
    if summary is None:
        raise RestoreRefused(f"Table {name} exists and is no restored table: choose another name. Nothing was changed.")
    backup, at = summary.get("SourceBackupArn"), summary["RestoreDateTime"]
    of = summary.get("SourceTableArn", "").partition(":table/")[2]
    if source.backup:
        same = backup == source.backup.arn
    else:
        same = not backup and of == source.table.name
        same &= source.at is None or abs((at - source.at).total_seconds()) < 1
    if not same:
        raise RestoreRefused(
            f"Table {name} exists and was restored from {backup or f'{of} as of {shown(at)}'}, not from {source}:"
            " choose another name. Nothing was changed."
        )


# --- Apply ----------------------------------------------------------------------------------------------------


def restore(
    source: Source,
    target: str | None = None,
    *,
    client: DynamoDBClient | None = None,
    environment: str | None = None,
    patience: float = PATIENCE,
    progress: Progress | None = None,
    report: Report | None = None,
) -> list[Step]:
    """Restore one source to a new table: ``plan``, then ``apply``."""
    planned = plan(source, target, client=client, environment=environment)
    return apply([planned], client=client, patience=patience, progress=progress, report=report)


def apply(
    plans: Iterable[RestorePlan],
    *,
    client: DynamoDBClient | None = None,
    patience: float = PATIENCE,
    progress: Progress | None = None,
    report: Report | None = None,
) -> list[Step]:
    """Carry out plans, all restores at once, and return what became of every aspect; ``report`` hears each step.

    Waits up to ``patience`` seconds for each table; what is not ready in time is ``pending``, and applying the same
    plans again completes it.
    """
    return carried_out(_apply(list(plans), client or dynamodb(), patience, progress), report)


def apply_bare(
    plans: Sequence[RestorePlan], client: DynamoDBClient, *, progress: Progress | None = None
) -> Iterator[Step]:
    """Restore tables that are only read and then deleted: nothing that AWS leaves out is made again."""
    for planned in plans:
        yield _begin(planned, client, PATIENCE, progress)
    for planned in plans:
        wait_until_active(planned.target.name, client=client, patience=PATIENCE, progress=progress)


def _apply(
    plans: list[RestorePlan], client: DynamoDBClient, patience: float, progress: Progress | None
) -> Iterator[Step]:
    begun = []
    for planned in plans:
        step = _begin(planned, client, patience, progress)
        yield step
        if step.outcome is not Outcome.PENDING:
            begun.append(planned)
    for planned in begun:
        yield from _complete(planned, client, patience, progress)


def _begin(planned: RestorePlan, client: DynamoDBClient, patience: float, progress: Progress | None) -> Step:
    source, name = planned.source, planned.target.name
    refused: str | None = ""
    for _ in polls(patience, f"AWS to begin to restore {name}", progress):
        if live := _live(client, name):
            # By an earlier run, or by a request of this one whose answer was lost.
            _refuse_other(source, live)
            at = shown(live["RestoreSummary"]["RestoreDateTime"])
            return Step(name, TABLE, Outcome.UNCHANGED, f"an earlier run restored {source}, of {at}")
        try:
            with backup_errors(source.backup.arn if source.backup else source.table.name):
                _request(source, name, client)
        except StorageUnavailable as exc:
            refused = busy_reason(exc) or _taken(exc)
            if not refused:
                raise
        else:
            return Step(name, TABLE, Outcome.CREATED, f"from {source}")
    return Step(name, TABLE, Outcome.PENDING, f"AWS does not begin it now: {refused}")


def _taken(exc: StorageError) -> str | None:
    """AWS's word for a target that exists: the request was sent again, because its answer was lost."""
    cause = exc.__cause__
    code = error_code(cause) if isinstance(cause, ClientError) else ""
    return code if code in ("TableAlreadyExistsException", "TableInUseException") else None


def _request(source: Source, name: str, client: DynamoDBClient) -> None:
    if source.backup:
        client.restore_table_from_backup(TargetTableName=name, BackupArn=source.backup.arn)
        return
    when: Any = {"RestoreDateTime": source.at} if source.at else {"UseLatestRestorableTime": True}
    client.restore_table_to_point_in_time(SourceTableName=source.table.name, TargetTableName=name, **when)


def _complete(
    planned: RestorePlan, client: DynamoDBClient, patience: float, progress: Progress | None
) -> Iterator[Step]:
    name = planned.target.name
    if wait_until_active(name, client=client, patience=patience, progress=progress):
        yield from make_again(
            planned.target, planned.carried, client, patience, progress, environment=planned.environment
        )
        return
    standing = _live(client, name)
    yield Step(name, TABLE, Outcome.PENDING, standing["TableStatus"] if standing else "not there yet")


# --- What AWS left out ----------------------------------------------------------------------------------------


def lacking(
    target: NamedTable, carried: carry_over.Settings | None, client: DynamoDBClient, *, environment: str | None = None
) -> tuple[TablePlan, TablePlan]:
    """Plans for a restored table that is ``ACTIVE``: for what is declared, then for what only its source tells.

    Raises ``TableMissing``.
    """
    live = to_description(client, describe_table(client, target.name))
    wanted = replace(declared(), replica_regions=())
    # A declaration goes before the source's own billing, and so before its autoscaling.
    by_declaration = wanted
    if carried:
        wanted = carry_over.desired(carried, wanted, live)
    if environment:
        wanted = replace(wanted, environment=environment)
    (converging,) = setup.plan([target], client=client, desired=wanted)
    further: list[Change] = []
    if carried and converging.live:
        further += carry_over.changes(carried, by_declaration, target, converging.live, client)
    return converging, TablePlan(target, None, (Change(TABLE, Outcome.UNCHANGED), *further), wanted)


def make_again(
    target: NamedTable,
    carried: carry_over.Settings | None,
    client: DynamoDBClient,
    patience: float,
    progress: Progress | None = None,
    *,
    environment: str | None = None,
) -> Iterator[Step]:
    """Carry out what ``lacking`` plans for a restored table, one step at a time."""
    converging, carrying = lacking(target, carried, client, environment=environment)
    aspects = {change.aspect for change in carrying.changes}
    for step in setup.apply([converging], client=client, patience=patience, progress=progress):
        # That the table stands was said when it was begun; what is carried over is said below.
        if step.outcome is not Outcome.UNCHANGED or step.aspect not in {TABLE, *aspects}:
            yield step
    yield from islice(converge(carrying, client, patience=patience, progress=progress), 1, None)
