"""An item of the events table that is put only if there is none, and told apart from its own repetition."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from botocore.exceptions import ClientError

from sessions_dynamo.errors import boto_errors
from sessions_dynamo.store.event_items import Item

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

ABSENT: Final = "attribute_not_exists(event_id)"


def put_if_absent(dynamodb: DynamoDBClient, table: str, item: Item) -> bool:
    """Put an item; ``False``, and nothing is written, where another stands at its key."""
    try:
        with boto_errors(table):
            dynamodb.put_item(
                TableName=table,
                Item=item,
                ConditionExpression=ABSENT,
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
    except ClientError as exc:
        # A write whose answer was lost is sent again by the AWS client, and then refused for what it did itself.
        return bool(exc.response.get("Item") == item)
    return True
