"""The declared global secondary indexes. AWS adds one at a time, and none can be changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from sessions_dynamo import schema
from sessions_dynamo.tables.aspects import billing
from sessions_dynamo.tables.aspects.change import RUN_AGAIN, Change, Subject
from sessions_dynamo.tables.describing import describe_table, to_description
from sessions_dynamo.tables.descriptions import TableDescription
from sessions_dynamo.tables.desired import Billing
from sessions_dynamo.tables.steps import Outcome

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import (
        AttributeDefinitionTypeDef,
        CreateGlobalSecondaryIndexActionTypeDef,
        KeySchemaElementTypeDef,
    )

_PROJECTION: Final = "KEYS_ONLY"


def plan(subject: Subject) -> Iterator[Change]:
    """Every declared index exists; one that somebody else added is left alone."""
    for index in subject.table.schema.indexes:
        yield _plan(subject, index)


def _plan(subject: Subject, index: schema.Index) -> Change:
    live, aspect, keys = subject.live, f"index {index.name}", (index.partition, index.sort)
    if live is None:
        return Change(aspect, Outcome.CREATE, keys_detail(keys))
    found = next((standing for standing in live.indexes if standing.name == index.name), None)
    if found is None:
        if clash := _clash(live, keys):
            reason = (
                f"another index uses the {keys_detail(clash)}, but this one needs the {keys_detail(keys)}."
                " Delete the other index, or choose another table name."
            )
            return Change(aspect, Outcome.CANNOT_CHANGE, reason)
        return Change(
            aspect, Outcome.CREATE, keys_detail(keys), partial(_add, subject.name, index, subject.desired.billing)
        )
    if found.keys != keys or found.projection != _PROJECTION:
        reason = (
            f"it has the {keys_detail(found.keys)} and projects {found.projection}, but must have the"
            f" {keys_detail(keys)} and project {_PROJECTION}. An index cannot be changed: delete it, then {RUN_AGAIN}."
        )
        return Change(aspect, Outcome.CANNOT_CHANGE, reason)
    if found.status != "ACTIVE":
        return Change(aspect, Outcome.PENDING, f"{found.status}: {RUN_AGAIN}")
    return Change(aspect, Outcome.UNCHANGED, keys_detail(keys))


def _clash(live: TableDescription, keys: Iterable[schema.Key]) -> list[schema.Key]:
    return [key for key in live.attributes for wanted in keys if key.name == wanted.name and key != wanted]


def keys_detail(keys: Sequence[schema.Key]) -> str:
    """Keys for people: ``key session_id (S), event_id (S)``."""
    return "key " + ", ".join(f"{key.name} ({key.type})" for key in keys)


def key_schema(keys: Sequence[schema.Key]) -> list[KeySchemaElementTypeDef]:
    """A partition and perhaps a sort key as DynamoDB takes them."""
    partition, *sort = keys
    elements: list[KeySchemaElementTypeDef] = [{"AttributeName": partition.name, "KeyType": "HASH"}]
    elements += [{"AttributeName": key.name, "KeyType": "RANGE"} for key in sort]
    return elements


def attribute_definitions(keys: Iterable[schema.Key]) -> list[AttributeDefinitionTypeDef]:
    """Key attributes, each once, as DynamoDB takes them."""
    return [{"AttributeName": key.name, "AttributeType": key.type} for key in dict.fromkeys(keys)]


def index_request(index: schema.Index) -> CreateGlobalSecondaryIndexActionTypeDef:
    """An index as CreateTable and UpdateTable take it."""
    return {
        "IndexName": index.name,
        "KeySchema": key_schema((index.partition, index.sort)),
        "Projection": {"ProjectionType": _PROJECTION},
    }


def _add(table: str, index: schema.Index, wanted: Billing | None, client: DynamoDBClient) -> None:
    # Read again: an index that was added a moment ago has brought attributes of its own.
    live = to_description(client, describe_table(client, table))
    create = index_request(index)
    if live.billing_mode == "PROVISIONED":
        # An index of a provisioned table needs a capacity of its own: the declared one, else the table's.
        chosen = wanted if wanted and wanted.provisioned else None
        create["ProvisionedThroughput"] = billing.throughput(
            chosen.read if chosen else live.read_capacity or 1, chosen.write if chosen else live.write_capacity or 1
        )
    client.update_table(
        TableName=table,
        AttributeDefinitions=attribute_definitions((*live.attributes, index.partition, index.sort)),
        GlobalSecondaryIndexUpdates=[{"Create": create}],
    )
