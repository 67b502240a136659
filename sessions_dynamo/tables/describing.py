"""Reading a table as it stands, in four requests, and what its answers mean."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from sessions_dynamo import schema
from sessions_dynamo.client import dynamodb, is_aws
from sessions_dynamo.conf import forget_on_change
from sessions_dynamo.errors import AccessDenied, StorageError, Unsupported, boto_errors
from sessions_dynamo.tables.descriptions import (
    Encryption,
    IndexDescription,
    PointInTimeRecovery,
    Replica,
    StreamDescription,
    TableDescription,
    TimeToLive,
)
from sessions_dynamo.tables.names import named_tables

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import (
        GlobalSecondaryIndexDescriptionTypeDef,
        KeySchemaElementTypeDef,
        TableDescriptionTypeDef,
    )


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


forget_on_change(forget_descriptions, "DYNAMODB_", "AWS_")
