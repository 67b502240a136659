"""Both tables as they stand: every field is read from the live system or left out."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import datetime
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlsplit

from django.conf import settings
from django.core.signals import setting_changed

from sessions_dynamo import schema
from sessions_dynamo.client import dynamodb
from sessions_dynamo.errors import AccessDenied, StorageError, Unsupported, boto_errors

if TYPE_CHECKING:
    from botocore.client import BaseClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import (
        GlobalSecondaryIndexDescriptionTypeDef,
        KeySchemaElementTypeDef,
        TableDescriptionTypeDef,
    )


@dataclass(frozen=True, slots=True)
class NamedTable:
    """A declared table, and the name that it has in this deployment."""

    name: str
    schema: schema.Table


_TABLE_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{3,255}", re.ASCII)


def is_table_name(text: str) -> bool:
    """Whether DynamoDB could have a table of this name."""
    return _TABLE_NAME.fullmatch(text) is not None


def named_tables(sessions: str | None = None, events: str | None = None) -> tuple[NamedTable, NamedTable]:
    """The sessions and the events table, by default under the names in the settings."""
    return (
        NamedTable(sessions or settings.DYNAMODB_SESSIONS_TABLE, schema.SESSIONS),
        NamedTable(events or settings.DYNAMODB_EVENTS_TABLE, schema.EVENTS),
    )


_AWS_DOMAINS: Final = (
    ".amazonaws.com",
    ".api.aws",
    ".amazonaws.com.cn",
    ".api.amazonwebservices.com.cn",
    ".amazonaws.eu",
    ".api.amazonwebservices.eu",
    ".c2s.ic.gov",
    ".sc2s.sgov.gov",
    ".cloud.adc-e.uk",
    ".csp.hci.ic.gov",
)


def is_aws(client: BaseClient) -> bool:
    """Whether the client talks to AWS itself rather than to an emulator."""
    host = urlsplit(client.meta.endpoint_url).hostname or ""
    return host.endswith(_AWS_DOMAINS)


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


def describe(name: str, client: DynamoDBClient | None = None) -> TableDescription:
    """The table as it stands now, in four requests. Raises ``TableMissing``."""
    client = client or dynamodb()
    table = describe_table(client, name)
    answers: dict[str, Any] = {}
    unanswered: dict[str, StorageError] = {}
    # DynamoDB answers these only once the table exists in full.
    if table["TableStatus"] not in ("CREATING", "DELETING"):
        readers: dict[str, Callable[[], Any]] = {
            "time_to_live": partial(_time_to_live, client, name),
            "point_in_time_recovery": partial(point_in_time_recovery, client, name),
            "tags": partial(_tags, client, name, table["TableArn"]),
        }
        for answer, read in readers.items():
            try:
                answers[answer] = read()
            except (Unsupported, AccessDenied) as exc:
                unanswered[answer] = exc
    return to_description(client, table, answers, unanswered)


def describe_table(client: DynamoDBClient, name: str) -> TableDescriptionTypeDef:
    with boto_errors(name):
        return client.describe_table(TableName=name)["Table"]


def _time_to_live(client: DynamoDBClient, name: str) -> TimeToLive:
    with boto_errors(name):
        found = client.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
    return TimeToLive(found["TimeToLiveStatus"], found.get("AttributeName"))


def point_in_time_recovery(client: DynamoDBClient, name: str) -> PointInTimeRecovery | None:
    with boto_errors(name):
        found = client.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
    recovery = found.get("PointInTimeRecoveryDescription")
    if recovery is None:
        return None
    return PointInTimeRecovery(
        recovery["PointInTimeRecoveryStatus"],
        recovery.get("EarliestRestorableDateTime"),
        recovery.get("LatestRestorableDateTime"),
        recovery.get("RecoveryPeriodInDays"),
    )


def _tags(client: DynamoDBClient, name: str, arn: str) -> dict[str, str]:
    with boto_errors(name):
        pages = client.get_paginator("list_tags_of_resource").paginate(ResourceArn=arn)
        return {tag["Key"]: tag["Value"] for page in pages for tag in page["Tags"]}


def to_description(
    client: DynamoDBClient,
    table: TableDescriptionTypeDef,
    answers: Mapping[str, Any] = MappingProxyType({}),
    unanswered: Mapping[str, StorageError] = MappingProxyType({}),
) -> TableDescription:
    types = {item["AttributeName"]: item["AttributeType"] for item in table["AttributeDefinitions"]}
    throughput = table.get("ProvisionedThroughput", {})
    # A table that never was on demand has no summary.
    billing_mode = table.get("BillingModeSummary", {}).get("BillingMode", "PROVISIONED")
    provisioned = billing_mode == "PROVISIONED"
    stream = table.get("StreamSpecification", {})
    encryption = None
    if found := table.get("SSEDescription"):
        encryption = Encryption(found.get("SSEType", "KMS"), found.get("Status"), found.get("KMSMasterKeyArn"))
    elif is_aws(client):
        # AWS describes encryption only when it is not the default.
        encryption = Encryption("AWS_OWNED_KEY")
    return TableDescription(
        name=table["TableName"],
        region=client.meta.region_name,
        status=table["TableStatus"],
        keys=key_schema(table["KeySchema"], types),
        attributes=tuple(schema.Key(name, _scalar(type_)) for name, type_ in types.items()),
        billing_mode=billing_mode,
        indexes=tuple(_index(index, types, provisioned) for index in table.get("GlobalSecondaryIndexes", [])),
        stream=StreamDescription(enabled=True, view_type=stream.get("StreamViewType"), arn=table.get("LatestStreamArn"))
        if stream.get("StreamEnabled")
        else StreamDescription(enabled=False),
        replicas=tuple(
            Replica(
                replica["RegionName"],
                replica.get("ReplicaStatus", "UNKNOWN"),
                replica.get("ReplicaStatusDescription"),
                replica.get("ReplicaStatusPercentProgress"),
                replica.get("KMSMasterKeyId"),
            )
            for replica in table.get("Replicas", [])
            if replica["RegionName"] != client.meta.region_name
        ),
        global_table_version=table.get("GlobalTableVersion"),
        arn=table.get("TableArn"),
        created_at=table.get("CreationDateTime"),
        item_count=table.get("ItemCount"),
        size_bytes=table.get("TableSizeBytes"),
        read_capacity=throughput.get("ReadCapacityUnits") if provisioned else None,
        write_capacity=throughput.get("WriteCapacityUnits") if provisioned else None,
        deletion_protection=table.get("DeletionProtectionEnabled"),
        encryption=encryption,
        unanswered=unanswered,
        **answers,
    )


def _index(
    index: GlobalSecondaryIndexDescriptionTypeDef, types: Mapping[str, str], provisioned: bool
) -> IndexDescription:
    throughput = index.get("ProvisionedThroughput", {})
    return IndexDescription(
        name=index["IndexName"],
        status=index.get("IndexStatus", "ACTIVE"),
        keys=key_schema(index["KeySchema"], types),
        projection=index["Projection"].get("ProjectionType", "ALL"),
        item_count=index.get("ItemCount"),
        size_bytes=index.get("IndexSizeBytes"),
        read_capacity=throughput.get("ReadCapacityUnits") if provisioned else None,
        write_capacity=throughput.get("WriteCapacityUnits") if provisioned else None,
    )


def key_schema(elements: Sequence[KeySchemaElementTypeDef], types: Mapping[str, str]) -> tuple[schema.Key, ...]:
    # Not every engine lists the partition key first.
    names = [element["AttributeName"] for element in sorted(elements, key=lambda element: element["KeyType"] != "HASH")]
    return tuple(schema.Key(name, _scalar(types[name])) for name in names)


def _scalar(type_: str) -> schema.AttributeType:
    """An attribute's type as read: a foreign table may have ``B``, which no key of ours is equal to then."""
    return cast("schema.AttributeType", type_)


_cache: dict[tuple[str, ...], tuple[float, tuple[TableDescription, ...]]] = {}
_cache_lock = threading.Lock()


def describe_cached(max_age: float = 60) -> tuple[TableDescription, ...]:
    """Both tables, read at most once in ``max_age`` seconds for the whole process. Raises as ``describe`` does."""
    client = dynamodb()
    names = tuple(table.name for table in named_tables())
    key = (client.meta.endpoint_url, client.meta.region_name, *names)
    # Held while reading: callers that come together wait for one answer instead of each asking DynamoDB.
    with _cache_lock:
        read_at, descriptions = _cache.get(key, (float("-inf"), ()))
        if time.monotonic() - read_at >= max_age:
            descriptions = tuple(describe(name, client) for name in names)
            _cache[key] = (time.monotonic(), descriptions)
        return descriptions


def forget_descriptions() -> None:
    """Make the next ``describe_cached`` read: after a change to the tables."""
    with _cache_lock:
        _cache.clear()


def _forget(*, setting: str, **_: object) -> None:
    if setting.startswith(("DYNAMODB_", "AWS_")):
        forget_descriptions()


setting_changed.connect(_forget)
