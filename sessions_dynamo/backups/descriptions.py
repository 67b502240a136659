"""What a backup is: its values, its name, and what DynamoDB answers about it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from botocore.exceptions import ClientError

from sessions_dynamo.errors import (
    THROTTLES,
    StorageError,
    StorageUnavailable,
    TableMissing,
    Unsupported,
    boto_errors,
    error_code,
)
from sessions_dynamo.tables.descriptions import TimeToLive

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import BackupDescriptionTypeDef, BackupDetailsTypeDef, BackupSummaryTypeDef

STAMP_FORMAT: Final = "%Y%m%d-%H%M%S"
NAME_LENGTH: Final = 255
"""The longest name that DynamoDB takes for a backup or a table, in characters."""

_NAME: Final = re.compile(r"(?P<table>.+)-backup-(?P<stamp>\d{8}-\d{6})", re.ASCII)
# Passing refusals: another backup or restore runs, the table or its continuous backups are only being made, or requests
# come too fast.
_BUSY: Final = THROTTLES | {"BackupInUseException", "ContinuousBackupsUnavailableException", "TableInUseException"}


class BackupNotFound(StorageError):
    """No backup has this name or ARN."""


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup as AWS lists it. ``status`` is ``CREATING``, ``AVAILABLE`` or ``DELETED``.

    ``type`` is ``USER``, ``SYSTEM`` (AWS's own of a deleted table, for 35 days) or ``AWS_BACKUP``.
    """

    table: str
    name: str
    arn: str
    status: str
    type: str
    created_at: datetime
    size_bytes: int | None = None
    expires_at: datetime | None = None

    @property
    def stamp(self) -> str | None:
        """The time stamp in the name, which the other table's backup of the set has too; ``None`` without one."""
        match = _NAME.fullmatch(self.name)
        if match is None:
            return None
        try:
            parse_stamp(match["stamp"])
        except ValueError:
            return None
        return match["stamp"]

    @property
    def is_daily(self) -> bool:
        """Whether its name is one that ``daily`` gives a backup of its table."""
        return bool(self.stamp) and self.name == backup_name(self.table, parse_stamp(self.stamp or ""), daily=True)


@dataclass(frozen=True, slots=True)
class BackupDetails:
    """A backup, and its table as it was then. A field that the engine did not tell is ``None``.

    ``keys`` and ``indexes`` are names; a backup does not tell the types.
    """

    backup: Backup
    keys: tuple[str, ...]
    table_created_at: datetime
    billing_mode: str | None = None
    read_capacity: int | None = None
    write_capacity: int | None = None
    item_count: int | None = None
    table_size_bytes: int | None = None
    indexes: tuple[str, ...] | None = None
    stream_view_type: str | None = None
    time_to_live: TimeToLive | None = None
    encryption_key_arn: str | None = None


@dataclass(frozen=True, slots=True)
class BackupSet:
    """Backups with one time stamp, in the tables' order."""

    stamp: str
    backups: tuple[Backup, ...]
    complete: bool
    """Whether it has a backup of each table, all of them ``AVAILABLE``."""

    @property
    def taken_at(self) -> datetime:
        """The time that the stamp says, in UTC."""
        return parse_stamp(self.stamp)


def parse_stamp(stamp: str) -> datetime:
    """The time that ``YYYYmmdd-HHMMSS`` says, in UTC. Raises ``ValueError``."""
    return datetime.strptime(stamp, STAMP_FORMAT).replace(tzinfo=UTC)


def backup_name(table: str, at: datetime, *, daily: bool = False) -> str:
    """``<table>-backup-YYYYmmdd-HHMMSS``, in UTC; a table's name that is too long for that is cut.

    A daily one is ``<table>-daily-backup-…``.
    """
    suffix = f"{'-daily' if daily else ''}-backup-{at.astimezone(UTC).strftime(STAMP_FORMAT)}"
    return table[: NAME_LENGTH - len(suffix)] + suffix


def to_backup(table: str, found: BackupDetailsTypeDef | BackupSummaryTypeDef) -> Backup:
    """The value that an answer of DynamoDB is."""
    return Backup(
        table=table,
        name=found["BackupName"],
        arn=found["BackupArn"],
        status=found["BackupStatus"],
        type=found["BackupType"],
        created_at=found["BackupCreationDateTime"],
        size_bytes=found.get("BackupSizeBytes"),
        expires_at=found.get("BackupExpiryDateTime"),
    )


def to_details(found: BackupDescriptionTypeDef) -> BackupDetails:
    """The value that an answer of DynamoDB is."""
    source, features = found["SourceTableDetails"], found.get("SourceTableFeatureDetails", {})
    throughput = source.get("ProvisionedThroughput", {})
    keys = sorted(source["KeySchema"], key=lambda element: element["KeyType"] != "HASH")
    indexes = features.get("GlobalSecondaryIndexes")
    ttl = features.get("TimeToLiveDescription")
    return BackupDetails(
        backup=to_backup(source["TableName"], found["BackupDetails"]),
        keys=tuple(element["AttributeName"] for element in keys),
        table_created_at=source["TableCreationDateTime"],
        billing_mode=source.get("BillingMode"),
        # 0 for a table on demand.
        read_capacity=throughput.get("ReadCapacityUnits") or None,
        write_capacity=throughput.get("WriteCapacityUnits") or None,
        item_count=source.get("ItemCount"),
        table_size_bytes=source.get("TableSizeBytes"),
        indexes=None if indexes is None else tuple(index["IndexName"] for index in indexes),
        stream_view_type=features.get("StreamDescription", {}).get("StreamViewType"),
        time_to_live=TimeToLive(ttl["TimeToLiveStatus"], ttl.get("AttributeName")) if ttl else None,
        encryption_key_arn=features.get("SSEDescription", {}).get("KMSMasterKeyArn"),
    )


@contextmanager
def backup_errors(where: str) -> Iterator[None]:
    """``boto_errors``, with what DynamoDB answers about backups besides."""
    try:
        with boto_errors(where):
            yield
    except Unsupported as exc:
        raise Unsupported(
            f"{exc} Backups are AWS's own: 'manage.py sessions_export' and 'sessions_import' work on every engine."
        ) from exc.__cause__
    except StorageUnavailable as exc:
        cause = exc.__cause__
        match error_code(cause) if isinstance(cause, ClientError) else "":
            case "BackupNotFoundException":
                raise BackupNotFound(
                    f"There is no backup {where}: 'manage.py dynamodb_backup list --all-tables' shows those of this"
                    " account and region."
                ) from cause
            case "TableNotFoundException" | "SourceTableNotFoundException":
                raise TableMissing(
                    f"Table {where} does not exist in this account and region: check AWS_REGION and the table names."
                ) from cause
        raise


def busy_reason(exc: StorageError) -> str | None:
    """AWS's own words where it refused only for now: another backup or restore runs, or the table is new."""
    cause = exc.__cause__
    if not isinstance(cause, ClientError) or error_code(cause) not in _BUSY:
        return None
    return cause.response["Error"].get("Message") or error_code(cause)
