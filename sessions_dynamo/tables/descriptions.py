"""Both tables as they stand: every field is read from the live system or left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import datetime
from typing import Any, Final

from sessions_dynamo import schema
from sessions_dynamo.errors import StorageError


@dataclass(frozen=True, slots=True)
class IndexDescription:
    """A global secondary index as it stands."""

    name: str
    status: str
    keys: tuple[schema.Key, ...]
    projection: str
    item_count: int | None = None
    size_bytes: int | None = None
    read_capacity: int | None = None
    write_capacity: int | None = None


@dataclass(frozen=True, slots=True)
class StreamDescription:
    """The table's DynamoDB Stream."""

    enabled: bool
    view_type: str | None = None
    arn: str | None = None


@dataclass(frozen=True, slots=True)
class TimeToLive:
    """Time to Live: ``ENABLED``, ``ENABLING``, ``DISABLED`` or ``DISABLING``, and on which attribute."""

    status: str
    attribute: str | None = None


@dataclass(frozen=True, slots=True)
class Encryption:
    """Encryption at rest: ``AWS_OWNED_KEY``, or ``KMS`` with its key."""

    type: str
    status: str | None = None
    key_arn: str | None = None


@dataclass(frozen=True, slots=True)
class PointInTimeRecovery:
    """Point-in-time recovery, and the window that it can restore."""

    status: str
    earliest: datetime | None = None
    latest: datetime | None = None
    days: int | None = None
    """How far back it reaches; ``None`` where it is off, or AWS did not say."""


@dataclass(frozen=True, slots=True)
class Replica:
    """The table's replica in another region."""

    region: str
    status: str
    detail: str | None = None
    percent: str | None = None
    """How far AWS is with creating, updating or deleting it."""
    kms_key: str | None = None


_UNSETTLED: Final = ("CREATING", "UPDATING", "DELETING", "ENABLING", "DISABLING")


@dataclass(frozen=True, slots=True)
class TableDescription:
    """A table as it stands. DynamoDB itself refreshes ``item_count`` and ``size_bytes`` about every six hours.

    A field that could not be read is ``None``, and ``unanswered`` says why.
    """

    name: str
    region: str
    status: str
    keys: tuple[schema.Key, ...]
    attributes: tuple[schema.Key, ...]
    billing_mode: str
    indexes: tuple[IndexDescription, ...]
    stream: StreamDescription
    replicas: tuple[Replica, ...]
    """Those in other regions."""
    global_table_version: str | None = None
    arn: str | None = None
    created_at: datetime | None = None
    item_count: int | None = None
    size_bytes: int | None = None
    read_capacity: int | None = None
    write_capacity: int | None = None
    deletion_protection: bool | None = None
    encryption: Encryption | None = None
    time_to_live: TimeToLive | None = None
    point_in_time_recovery: PointInTimeRecovery | None = None
    tags: Mapping[str, str] | None = None
    unanswered: Mapping[str, StorageError] = field(default_factory=dict)

    @property
    def unsettled(self) -> tuple[str, ...]:
        """What AWS is still busy with: the table, an index, a replica, its encryption, each with its status."""
        statuses = {"table": self.status} | {f"index {index.name}": index.status for index in self.indexes}
        for replica in self.replicas:
            percent = f" {replica.percent} %" if replica.percent else ""
            statuses[f"replica {replica.region}"] = f"{replica.status}{percent}"
        if self.encryption and self.encryption.status:
            statuses["encryption"] = self.encryption.status
        return tuple(f"{what} {status}" for what, status in statuses.items() if status.startswith(_UNSETTLED))

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready: times as ISO 8601, keys as ``{name: type}``, and nothing for what was not answered."""
        plain: dict[str, Any] = _plain(self)
        del plain["attributes"]
        if not self.unanswered:
            del plain["unanswered"]
        return plain


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, StorageError):
        return str(value)
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, tuple):
        if value and all(isinstance(item, schema.Key) for item in value):
            return {key.name: key.type for key in value}
        return [_plain(item) for item in value]
    if is_dataclass(value):
        pairs = ((item.name, getattr(value, item.name)) for item in fields(value))
        return {name: _plain(item) for name, item in pairs if item is not None}
    return value
