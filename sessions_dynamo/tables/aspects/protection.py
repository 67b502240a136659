"""Deletion protection, in each region on its own."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Final

from sessions_dynamo.tables.aspects.change import Change, Subject, on_off
from sessions_dynamo.tables.steps import Outcome

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

ASPECT: Final = "deletion protection"


def plan(subject: Subject) -> Iterator[Change]:
    """As declared."""
    live, wanted = subject.live, subject.desired.deletion_protection
    if live is None:
        if wanted:
            yield Change(ASPECT, Outcome.CREATE, on_off(wanted))
        return
    found = live.deletion_protection
    if found is None:
        yield Change(ASPECT, Outcome.UNSUPPORTED, "This DynamoDB engine has no deletion protection.")
    elif wanted is None or wanted == found:
        yield Change(ASPECT, Outcome.UNCHANGED, on_off(found))
    else:
        yield Change(
            ASPECT, Outcome.CHANGE, f"{on_off(wanted)}, was {on_off(found)}", partial(switch, subject.name, wanted)
        )


def switch(table: str, enabled: bool, client: DynamoDBClient) -> None:
    """Turn deletion protection on or off."""
    client.update_table(TableName=table, DeletionProtectionEnabled=enabled)
