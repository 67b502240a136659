"""The end of tables: emptied, their streams off, deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from sessions_dynamo import batches
from sessions_dynamo.client import dynamodb
from sessions_dynamo.descriptions import (
    NamedTable,
    TableDescription,
    describe,
    describe_table,
    forget_descriptions,
)
from sessions_dynamo.errors import StorageError, StorageUnavailable, TableMissing, boto_errors
from sessions_dynamo.steps import Outcome, Step
from sessions_dynamo.waiting import PATIENCE, polls, retry_later, wait_until_active

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class DeletionProtected(StorageError):
    """A table that is protected against deletion was to be deleted."""


def clear_data(table: NamedTable, *, client: DynamoDBClient | None = None) -> int:
    """Delete every item and return how many. Raises ``TableMissing``."""
    client = client or dynamodb()
    names = {f"#{position}": key.name for position, key in enumerate(table.schema.keys)}
    with boto_errors(table.name):
        pages = client.get_paginator("scan").paginate(
            TableName=table.name,
            ProjectionExpression=", ".join(names),
            ExpressionAttributeNames=names,
            ConsistentRead=True,
        )
        deleted = batches.delete(client, table.name, (key for page in pages for key in page["Items"]))
    forget_descriptions()
    return deleted


def disable_stream(name: str, *, client: DynamoDBClient | None = None, patience: float = PATIENCE) -> Step:
    """Turn the table's stream off and wait until the table is ACTIVE again. Raises ``TableMissing``."""
    client = client or dynamodb()
    if not describe(name, client).stream.enabled:
        return Step(name, "stream", Outcome.UNCHANGED, "off")
    try:
        with boto_errors(name):
            client.update_table(TableName=name, StreamSpecification={"StreamEnabled": False})
    except StorageUnavailable as exc:
        if reason := retry_later(exc):
            return Step(name, "stream", Outcome.PENDING, f"{reason} Run 'manage.py dynamodb_teardown' again.")
        raise
    finally:
        forget_descriptions()
    wait_until_active(name, client=client, patience=patience)
    return Step(name, "stream", Outcome.CHANGED, "off")


def refuse_if_protected(live: TableDescription) -> None:
    """Raise ``DeletionProtected``, saying how to lift it, for a table under deletion protection."""
    if live.deletion_protection:
        raise DeletionProtected(
            f"Table {live.name} is protected against deletion. To lift that: aws dynamodb update-table"
            f" --region {live.region} --table-name {live.name} --no-deletion-protection-enabled"
        )


def delete_table(name: str, *, client: DynamoDBClient | None = None, patience: float = PATIENCE) -> Step:
    """Delete the table with all of its items and wait until it is gone.

    Raises ``TableMissing`` and ``DeletionProtected``; ``pending`` is what AWS allows only later.
    """
    client = client or dynamodb()
    live = describe(name, client)
    refuse_if_protected(live)
    try:
        if live.status != "DELETING":
            with boto_errors(name):
                client.delete_table(TableName=name)
    except StorageUnavailable as exc:
        if reason := _undeletable_yet(exc):
            return Step(name, "table", Outcome.PENDING, f"{reason} Run 'manage.py dynamodb_teardown --delete' again.")
        raise
    finally:
        forget_descriptions()
    for _ in polls(patience):
        try:
            describe_table(client, name)
        except TableMissing:
            return Step(name, "table", Outcome.DELETED)
    return Step(name, "table", Outcome.PENDING, "AWS is still deleting it")


def _undeletable_yet(exc: StorageError) -> str | None:
    """AWS's own words where the table can be deleted later: it is busy, or was a replica's source within a day."""
    cause = exc.__cause__
    if isinstance(cause, ClientError) and "source region" in cause.response["Error"].get("Message", ""):
        return cause.response["Error"]["Message"]
    return retry_later(exc)
