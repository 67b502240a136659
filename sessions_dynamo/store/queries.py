"""Queries to their last page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sessions_dynamo.errors import boto_errors

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

Item = dict[str, Any]


def query_all(dynamodb: DynamoDBClient, **query: Any) -> Iterator[Item]:
    """The items of a Query, page after page."""
    while True:
        with boto_errors(query["TableName"]):
            answer: Any = dynamodb.query(**query)
        yield from answer["Items"]
        if "LastEvaluatedKey" not in answer:
            return
        query["ExclusiveStartKey"] = answer["LastEvaluatedKey"]


def count_all(dynamodb: DynamoDBClient, **query: Any) -> int:
    """How many items a Query matches, over all of its pages."""
    total = 0
    while True:
        with boto_errors(query["TableName"]):
            answer = dynamodb.query(Select="COUNT", **query)
        total += answer["Count"]
        if "LastEvaluatedKey" not in answer:
            return total
        query["ExclusiveStartKey"] = answer["LastEvaluatedKey"]
