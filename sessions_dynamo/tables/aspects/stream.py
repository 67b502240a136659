"""The table's DynamoDB Stream, of new and old images, as global tables need it too."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Final

from sessions_dynamo import schema
from sessions_dynamo.tables.aspects.change import Change, Subject
from sessions_dynamo.tables.describing import describe_table
from sessions_dynamo.tables.steps import Outcome

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import StreamSpecificationTypeDef

ASPECT: Final = "stream"
SPECIFICATION: Final[StreamSpecificationTypeDef] = {
    "StreamEnabled": True,
    "StreamViewType": schema.STREAM_VIEW_TYPE,
}


def plan(subject: Subject) -> Iterator[Change]:
    """On, with the declared view type."""
    live = subject.live
    if live is None:
        yield Change(ASPECT, Outcome.CREATE, schema.STREAM_VIEW_TYPE)
    elif not live.stream.enabled:
        yield Change(ASPECT, Outcome.CREATE, schema.STREAM_VIEW_TYPE, partial(_enable, subject.name))
    elif live.stream.view_type != schema.STREAM_VIEW_TYPE:
        detail = f"{schema.STREAM_VIEW_TYPE}, was {live.stream.view_type}; its readers need the new stream's ARN"
        yield Change(ASPECT, Outcome.CHANGE, detail, partial(_replace, subject.name))
    else:
        yield Change(ASPECT, Outcome.UNCHANGED, schema.STREAM_VIEW_TYPE)


def _enable(table: str, client: DynamoDBClient) -> None:
    client.update_table(TableName=table, StreamSpecification=SPECIFICATION)


def _replace(table: str, client: DynamoDBClient) -> None:
    # AWS takes a while to turn it off, and meanwhile refuses the second request: then all of this is tried again, by
    # this run or the next.
    if describe_table(client, table).get("StreamSpecification", {}).get("StreamEnabled"):
        client.update_table(TableName=table, StreamSpecification={"StreamEnabled": False})
    _enable(table, client)
