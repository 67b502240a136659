"""Replicas of a global table (version 2019.11.21) in other regions: added, never removed; that is teardown's."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Final

from sessions_dynamo.client import dynamodb, is_aws
from sessions_dynamo.errors import AccessDenied, StorageUnavailable, TableMissing, Unsupported
from sessions_dynamo.tables.aspects import encryption, scaling
from sessions_dynamo.tables.aspects.change import RUN_AGAIN, Change, Subject
from sessions_dynamo.tables.describing import describe_table
from sessions_dynamo.tables.descriptions import Replica
from sessions_dynamo.tables.steps import Outcome

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import CreateReplicationGroupMemberActionTypeDef

_LEGACY: Final = "2017.11.29"
_UNSETTLED: Final = ("CREATING", "UPDATING", "DELETING")


class _Blocked(Exception):
    """Why AWS would not add a replica."""


def plan(subject: Subject) -> Iterator[Change]:
    """One in each declared region; the table's own region has the table itself."""
    if not is_aws(subject.client):
        for region in subject.desired.replica_regions:
            if region != subject.region:
                yield Change(_aspect(region), Outcome.UNSUPPORTED, "This DynamoDB engine has no global tables.")
        return
    for replica in subject.live.replicas if subject.live else ():
        yield _standing(replica, wanted=replica.region in subject.desired.replica_regions)
    for region in missing(subject):
        yield _missing(subject, region)


def missing(subject: Subject) -> list[str]:
    """The declared regions that have no replica yet, and can have one."""
    if not is_aws(subject.client):
        return []
    standing = {replica.region for replica in subject.live.replicas} if subject.live else set()
    return [region for region in subject.desired.replica_regions if region not in standing | {subject.region}]


def _aspect(region: str) -> str:
    return f"replica {region}"


def _standing(replica: Replica, *, wanted: bool) -> Change:
    detail = f"{replica.status}: {replica.detail}" if replica.detail else replica.status
    if replica.status in _UNSETTLED:
        return Change(_aspect(replica.region), Outcome.PENDING, f"{detail}: {RUN_AGAIN}")
    if replica.status == "ACTIVE" or not wanted:
        return Change(_aspect(replica.region), Outcome.UNCHANGED, detail)
    reason = f"{detail}. Mend what AWS names, or remove the replica, then {RUN_AGAIN}."
    return Change(_aspect(replica.region), Outcome.CANNOT_CHANGE, reason)


def _missing(subject: Subject, region: str) -> Change:
    aspect = _aspect(region)
    try:
        _refuse_what_aws_refuses(subject, region)
        key = encryption.replica_key(subject, region)
    except AccessDenied as exc:
        return Change(aspect, Outcome.DENIED, str(exc))
    except (_Blocked, encryption.UnusableKey) as exc:
        return Change(aspect, Outcome.CANNOT_CHANGE, str(exc))
    apply = partial(_create, subject.name, region, key) if subject.live else None
    return Change(aspect, Outcome.CREATE, f"KMS {key}" if key else "", apply)


def _refuse_what_aws_refuses(subject: Subject, region: str) -> None:
    live, billing = subject.live, subject.desired.billing
    if live and live.global_table_version == _LEGACY:
        raise _Blocked(
            f"the table belongs to a global table of version {_LEGACY}. Convert it to 2019.11.21 first, in the console."
        )
    if billing:
        scaled = not billing.provisioned or billing.scaling is not None
    else:
        scaled = live is None or live.billing_mode != "PROVISIONED" or _scales_writes(subject)
    if not scaled:
        raise _Blocked(
            "AWS replicates a provisioned table only with autoscaled write capacity: add"
            " --billing provisioned --read N --write N --autoscale MIN:MAX, or --billing on-demand."
        )
    try:
        describe_table(dynamodb(region), subject.name)
    except TableMissing:
        return
    except AccessDenied:
        raise
    except StorageUnavailable as exc:
        raise _Blocked(f"{region} cannot be looked at: is it a region that this account has enabled? {exc}") from exc
    raise _Blocked(
        f"{region} already has a table {subject.name}, which is no replica of this one. AWS replaces no table: delete"
        " it there if nothing uses it, or choose another table name."
    )


def _scales_writes(subject: Subject) -> bool:
    try:
        return scaling.scales_writes(subject)
    except (StorageUnavailable, Unsupported):
        # Then AWS itself says so, or adds the replica.
        return True


def _create(table: str, region: str, key: str | None, client: DynamoDBClient) -> None:
    create: CreateReplicationGroupMemberActionTypeDef = {"RegionName": region}
    if key:
        create["KMSMasterKeyId"] = key
    client.update_table(TableName=table, ReplicaUpdates=[{"Create": create}])
