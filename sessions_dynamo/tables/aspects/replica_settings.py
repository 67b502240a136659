"""What AWS does not replicate: each replica has its own tags, point-in-time recovery and deletion protection."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from sessions_dynamo.client import dynamodb
from sessions_dynamo.errors import AccessDenied, StorageUnavailable
from sessions_dynamo.tables.aspects import protection, recovery, replicas, tags
from sessions_dynamo.tables.aspects.change import Change, Planner, Subject
from sessions_dynamo.tables.describing import describe
from sessions_dynamo.tables.steps import Outcome

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_PLANNERS: Final[tuple[Planner, ...]] = (protection.plan, tags.plan, recovery.plan)


def plan(subject: Subject) -> Iterator[Change]:
    """The table's own wishes, in each region that has or shall have a replica."""
    for replica in subject.live.replicas if subject.live else ():
        if replica.status == "ACTIVE":
            yield from _standing(subject, replica.region)
        elif replica.region in subject.desired.replica_regions:
            yield from _later(subject, replica.region)
    for region in replicas.missing(subject):
        yield from _later(subject, region)


def _standing(subject: Subject, region: str) -> Iterator[Change]:
    client = dynamodb(region)
    try:
        there = replace(subject, live=describe(subject.name, client), client=client)
    except AccessDenied as exc:
        yield Change(f"tags {region}", Outcome.DENIED, str(exc))
        return
    except StorageUnavailable as exc:
        yield Change(f"tags {region}", Outcome.PENDING, str(exc))
        return
    for planner in _PLANNERS:
        for change in planner(there):
            apply = partial(_there, change.apply, client) if change.apply else None
            yield replace(change, aspect=f"{change.aspect} {region}", apply=apply)


def _later(subject: Subject, region: str) -> Iterator[Change]:
    """What a replica will need once it is ACTIVE; until then there is nothing to send it to."""
    for planner in _PLANNERS:
        for change in planner(replace(subject, live=None)):
            yield replace(change, aspect=f"{change.aspect} {region}")


def _there(apply: Callable[[DynamoDBClient], object], there: DynamoDBClient, _here: DynamoDBClient) -> None:
    apply(there)
