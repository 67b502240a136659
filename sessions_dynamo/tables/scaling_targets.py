"""What Application Auto Scaling keeps for a table: registrations that outlive the table unless they are removed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from sessions_dynamo.errors import AccessDenied, StorageError, Unsupported
from sessions_dynamo.tables import autoscaling
from sessions_dynamo.tables.steps import Outcome, Step

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


def deregister(name: str, indexes: Iterable[str], dynamodb: DynamoDBClient) -> Step | None:
    """Remove the registrations of a table that is gone from the client's region, and of its indexes.

    AWS removes their policies and alarms with them. ``None`` where there are none, or no such service. A refusal is
    no failure of the deletion: its step says why.
    """
    region = dynamodb.meta.region_name
    try:
        targets = autoscaling.registered(name, indexes, dynamodb)
        for target in targets:
            autoscaling.deregister(target, dynamodb)
    except Unsupported:
        return None
    except StorageError as exc:
        outcome = Outcome.DENIED if isinstance(exc, AccessDenied) else Outcome.UNSUPPORTED
        return Step(name, "autoscaling", outcome, f"not looked at in {region}. {exc}")
    if not targets:
        return None
    return Step(name, "autoscaling", Outcome.DELETED, f"scalable targets in {region}: {len(targets)}")
