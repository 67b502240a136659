"""The table's tags: ours are set, anybody else's are kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Final

from sessions_dynamo import schema
from sessions_dynamo.tables.aspects.change import Change, Subject, unread
from sessions_dynamo.tables.steps import Outcome

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TagTypeDef

ASPECT: Final = "tags"
ENVIRONMENT: Final = "Environment"
"""The tag whose value a deployment chooses."""


def wanted(table: schema.Table, environment: str) -> dict[str, str]:
    """The tags that a table shall carry."""
    return {ENVIRONMENT: environment, "Application": schema.APPLICATION_TAG, "Purpose": table.purpose}


def plan(subject: Subject) -> Iterator[Change]:
    """Every wanted tag has its value."""
    live, tags = subject.live, wanted(subject.table.schema, subject.desired.environment)
    if live is None:
        yield Change(ASPECT, Outcome.CREATE, _detail(tags))
        return
    if live.tags is None:
        yield unread(ASPECT, live, "tags")
        return
    different = {name: value for name, value in tags.items() if live.tags.get(name) != value}
    if not different:
        yield Change(ASPECT, Outcome.UNCHANGED, _detail(tags))
        return
    outcome = Outcome.CHANGE if different.keys() & live.tags.keys() else Outcome.CREATE
    yield Change(ASPECT, outcome, _detail(different), partial(put, live.arn or "", different))


def put(arn: str, tags: Mapping[str, str], client: DynamoDBClient) -> None:
    """Set tags of the table or replica of this ARN."""
    client.tag_resource(ResourceArn=arn, Tags=tag_list(tags))


def tag_list(tags: Mapping[str, str]) -> list[TagTypeDef]:
    """Tags as DynamoDB takes them."""
    return [{"Key": name, "Value": value} for name, value in tags.items()]


def _detail(tags: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in tags.items())
