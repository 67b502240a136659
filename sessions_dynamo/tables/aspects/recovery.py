"""Point-in-time recovery (PITR): continuous backups of up to 35 days, in each region on its own."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Final

from sessions_dynamo.tables.aspects.change import Change, Subject, on_off, unread
from sessions_dynamo.tables.steps import Outcome

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import PointInTimeRecoverySpecificationTypeDef

ASPECT: Final = "pitr"


def plan(subject: Subject) -> Iterator[Change]:
    """As declared; off where a new table's is not."""
    live, wanted = subject.live, subject.desired.recovery
    if live is None:
        if wanted:
            yield Change(ASPECT, Outcome.CREATE, on_off(wanted))
        return
    if live.point_in_time_recovery is None:
        yield unread(ASPECT, live, "point_in_time_recovery", wanted=wanted is not None)
        return
    found = live.point_in_time_recovery.status == "ENABLED"
    if wanted is None or wanted == found:
        yield Change(ASPECT, Outcome.UNCHANGED, on_off(found))
    elif wanted:
        yield Change(ASPECT, Outcome.CREATE, "on", partial(switch, subject.name, True))
    else:
        detail = "off, was on: what it could restore is lost"
        yield Change(ASPECT, Outcome.CHANGE, detail, partial(switch, subject.name, False))


def switch(table: str, enabled: bool, client: DynamoDBClient) -> None:
    """Turn point-in-time recovery on or off."""
    client.update_continuous_backups(TableName=table, PointInTimeRecoverySpecification=specification(enabled))


def specification(enabled: bool) -> PointInTimeRecoverySpecificationTypeDef:
    """Point-in-time recovery as DynamoDB takes it."""
    return {"PointInTimeRecoveryEnabled": enabled}
