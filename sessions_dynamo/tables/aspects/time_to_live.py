"""Time to Live on the attribute that every item carries. It needs a table that is ACTIVE."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Final

from botocore.exceptions import ClientError

from sessions_dynamo import schema
from sessions_dynamo.tables.aspects.change import RUN_AGAIN, Change, Subject, unread
from sessions_dynamo.tables.steps import Outcome

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TimeToLiveSpecificationTypeDef

ASPECT: Final = "ttl"
_WANTED: Final = f"on attribute {schema.TTL_ATTRIBUTE}"
_DONE: Final = "TimeToLive is already"


def plan(subject: Subject) -> Iterator[Change]:
    """On, on the declared attribute. AWS locks it for up to an hour after a change."""
    live = subject.live
    if live is None:
        yield Change(ASPECT, Outcome.CREATE, _WANTED)
        return
    found = live.time_to_live
    if found is None:
        yield unread(ASPECT, live, "time_to_live")
    elif found.status == "DISABLING":
        yield Change(ASPECT, Outcome.PENDING, f"AWS is turning it off: {RUN_AGAIN} in an hour")
    elif found.status == "DISABLED":
        yield Change(ASPECT, Outcome.CREATE, _WANTED, partial(_set, subject.name, schema.TTL_ATTRIBUTE, True))
    elif found.attribute != schema.TTL_ATTRIBUTE:
        detail = f"{_WANTED}, was on attribute {found.attribute}"
        yield Change(ASPECT, Outcome.CHANGE, detail, partial(_move, subject.name, found.attribute or ""))
    else:
        yield Change(ASPECT, Outcome.UNCHANGED, _WANTED)


def specification(attribute: str = schema.TTL_ATTRIBUTE, enabled: bool = True) -> TimeToLiveSpecificationTypeDef:
    """Time to Live as DynamoDB takes it; by default as declared."""
    return {"Enabled": enabled, "AttributeName": attribute}


def _set(table: str, attribute: str, enabled: bool, client: DynamoDBClient) -> None:
    try:
        client.update_time_to_live(TableName=table, TimeToLiveSpecification=specification(attribute, enabled))
    except ClientError as exc:
        # Servers that start together create the tables together: another was first.
        if _DONE not in exc.response["Error"].get("Message", ""):
            raise


def _move(table: str, attribute: str, client: DynamoDBClient) -> None:
    _set(table, attribute, False, client)
    # On AWS the lock makes this 'pending', and the next run finds it off.
    _set(table, schema.TTL_ATTRIBUTE, True, client)
