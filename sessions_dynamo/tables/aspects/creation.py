"""The table itself: CreateTable with all that AWS takes in that one request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sessions_dynamo.client import is_aws
from sessions_dynamo.tables.aspects import billing, encryption, stream, tags
from sessions_dynamo.tables.aspects.change import Subject
from sessions_dynamo.tables.aspects.indexes import attribute_definitions, index_request, key_schema
from sessions_dynamo.tables.desired import DEFAULT_KEY, ON_DEMAND, Desired
from sessions_dynamo.tables.names import NamedTable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


def create_request(table: NamedTable, desired: Desired, *, encrypts: bool = True) -> dict[str, Any]:
    """The CreateTable request. Time to Live, recovery, autoscaling and replicas need a table that is ACTIVE.

    An engine that does not encrypt gets no key.
    """
    schema = table.schema
    wanted = desired.billing or ON_DEMAND
    capacity = {"ProvisionedThroughput": billing.throughput(wanted.read, wanted.write)} if wanted.provisioned else {}
    request: dict[str, Any] = {
        "TableName": table.name,
        "KeySchema": key_schema(schema.keys),
        "AttributeDefinitions": attribute_definitions(schema.attributes),
        "BillingMode": wanted.mode,
        "StreamSpecification": stream.SPECIFICATION,
        "Tags": tags.tag_list(tags.wanted(schema, desired.environment)),
        **capacity,
    }
    if schema.indexes:
        request["GlobalSecondaryIndexes"] = [{**index_request(index), **capacity} for index in schema.indexes]
    if desired.deletion_protection:
        request["DeletionProtectionEnabled"] = True
    if desired.kms_key and desired.kms_key != DEFAULT_KEY and encrypts:
        request["SSESpecification"] = encryption.specification(desired.kms_key)
    return request


def create(subject: Subject, client: DynamoDBClient) -> None:
    """Send CreateTable."""
    client.create_table(**create_request(subject.table, subject.desired, encrypts=is_aws(subject.client)))
