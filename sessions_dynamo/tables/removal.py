"""The end of tables: their streams off, their replicas removed, themselves deleted.

Each function may be called again after an interruption, and goes on from what stands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from botocore.exceptions import ClientError

from sessions_dynamo.client import dynamodb
from sessions_dynamo.errors import StorageError, StorageUnavailable, TableMissing, boto_errors
from sessions_dynamo.tables import scaling_targets
from sessions_dynamo.tables.describing import describe, describe_table, forget_descriptions, to_description
from sessions_dynamo.tables.descriptions import TableDescription
from sessions_dynamo.tables.names import NamedTable
from sessions_dynamo.tables.steps import Outcome, Report, Step
from sessions_dynamo.tables.waiting import PATIENCE, Progress, polls, retry_later, wait_until_active

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_AGAIN: Final = "Run 'manage.py dynamodb_teardown --delete' again, with the same options."
_SOURCE_OF_REPLICA: Final = "source region"
"""In what AWS answers for 24 hours after a replica was made from the table that is to go."""


class DeletionProtected(StorageError):
    """A table that is protected against deletion was to be deleted."""


class StreamNeeded(StorageError):
    """A global table's stream was to be turned off, which carries the writes to its replicas."""


# --- Refusals, before anything is touched ---------------------------------------------------------------------


def refuse_if_protected(live: TableDescription) -> None:
    """Raise ``DeletionProtected``, saying how to lift it, for a table under deletion protection, or a replica of it."""
    if live.deletion_protection:
        raise _protected(live.name, live.region)
    for region in replica_regions(live):
        client = dynamodb(region)
        try:
            # Protection is each replica's own setting.
            replica = to_description(client, describe_table(client, live.name))
        except TableMissing:
            continue
        if replica.deletion_protection:
            raise _protected(live.name, region)


def _protected(name: str, region: str) -> DeletionProtected:
    return DeletionProtected(
        f"Table {name} in {region} is protected against deletion. To lift that: python manage.py dynamodb_setup"
        f" --no-deletion-protection --region {region}, with the tables' names if you gave any; or: aws dynamodb"
        f" update-table --region {region} --table-name {name} --no-deletion-protection-enabled"
    )


def refuse_if_stream_is_needed(live: TableDescription) -> None:
    """Raise ``StreamNeeded`` for a table with replicas."""
    if regions := replica_regions(live):
        raise StreamNeeded(
            f"The stream of {live.name} cannot be turned off: it carries every write to the replicas in"
            f" {', '.join(regions)}. AWS needs it for as long as they exist."
        )


def replica_regions(live: TableDescription) -> list[str]:
    """The other regions that hold a replica of the table."""
    return [replica.region for replica in live.replicas]


# --- Streams --------------------------------------------------------------------------------------------------


def disable_stream(
    name: str, *, client: DynamoDBClient | None = None, patience: float = PATIENCE, progress: Progress | None = None
) -> Step:
    """Turn the table's stream off and wait until the table is ACTIVE again. Raises ``TableMissing``."""
    client = client or dynamodb()
    try:
        for _ in polls(patience, f"{name} to be free for a change", progress):
            live = to_description(client, describe_table(client, name))
            if not live.stream.enabled:
                return Step(name, "stream", Outcome.UNCHANGED, "off")
            refuse_if_stream_is_needed(live)
            try:
                with boto_errors(name):
                    client.update_table(TableName=name, StreamSpecification={"StreamEnabled": False})
                break
            except StorageUnavailable as exc:
                reason = retry_later(exc)
                if reason is None:
                    raise
        else:
            detail = f"{reason} Run 'manage.py dynamodb_teardown --disable-streams' again, with the same options."
            return Step(name, "stream", Outcome.PENDING, detail)
    finally:
        forget_descriptions()
    wait_until_active(name, client=client, patience=patience, progress=progress)
    return Step(name, "stream", Outcome.CHANGED, "off")


# --- Deletion -------------------------------------------------------------------------------------------------


def delete_table(
    name: str,
    *,
    client: DynamoDBClient | None = None,
    patience: float = PATIENCE,
    progress: Progress | None = None,
    report: Report | None = None,
) -> Step:
    """Delete the table with all of its items, its replicas first, and wait until it is gone.

    ``report`` hears of what went with the table: each replica, and its autoscaling. Waits up to ``patience`` seconds
    for each; what AWS allows or finishes only later is ``pending``. Raises ``TableMissing``, ``DeletionProtected``.
    """
    client = client or dynamodb()
    live = describe(name, client)
    refuse_if_protected(live)
    indexes = [index.name for index in live.indexes]
    try:
        for region in replica_regions(live):
            step = _remove_replica(name, region, client, patience, progress)
            _report(report, step)
            if step.outcome is Outcome.PENDING:
                return Step(name, "table", Outcome.PENDING, f"its replica in {region} must go first. {_AGAIN}")
            _report(report, scaling_targets.deregister(name, indexes, dynamodb(region)))
        step = _delete(name, client, patience, progress)
    finally:
        forget_descriptions()
    if step.outcome is Outcome.DELETED:
        _report(report, scaling_targets.deregister(name, indexes, client))
    return step


def forget_deleted(table: NamedTable, *, client: DynamoDBClient | None = None) -> Step | None:
    """What a deletion that was cut short may have left of a table that is gone: its autoscaling."""
    client = client or dynamodb()
    indexes = [index.name for index in table.schema.indexes]
    return scaling_targets.deregister(table.name, indexes, client)


def _report(report: Report | None, step: Step | None) -> None:
    if report and step:
        report(step)


def _remove_replica(name: str, region: str, client: DynamoDBClient, patience: float, progress: Progress | None) -> Step:
    aspect, asked, reason = f"replica {region}", False, "AWS is still removing it."
    for _ in polls(patience, f"the replica of {name} in {region} to be removed", progress):
        live = to_description(client, describe_table(client, name))
        status = next((replica.status for replica in live.replicas if replica.region == region), None)
        if status is None:
            return Step(name, aspect, Outcome.DELETED)
        if asked or status == "DELETING":
            continue
        try:
            with boto_errors(name):
                client.update_table(TableName=name, ReplicaUpdates=[{"Delete": {"RegionName": region}}])
        except StorageUnavailable as exc:
            reason = _refused_for_now(exc)
            if _SOURCE_OF_REPLICA in reason:
                break
        else:
            asked = True
    return Step(name, aspect, Outcome.PENDING, f"{reason} {_AGAIN}")


def _delete(name: str, client: DynamoDBClient, patience: float, progress: Progress | None) -> Step:
    reason = "AWS is still deleting it."
    for _ in polls(patience, f"{name} to be deleted", progress):
        try:
            if describe_table(client, name)["TableStatus"] == "DELETING":
                continue
            with boto_errors(name):
                client.delete_table(TableName=name)
        except TableMissing:
            return Step(name, "table", Outcome.DELETED)
        except StorageUnavailable as exc:
            reason = _refused_for_now(exc)
            if _SOURCE_OF_REPLICA in reason:
                break
        else:
            reason = "AWS is still deleting it."
    return Step(name, "table", Outcome.PENDING, f"{reason} {_AGAIN}")


def _refused_for_now(exc: StorageUnavailable) -> str:
    """AWS's own words where the table can go later: it is busy, or was a replica's source within a day; else raise."""
    cause = exc.__cause__
    if isinstance(cause, ClientError) and _SOURCE_OF_REPLICA in cause.response["Error"].get("Message", ""):
        return cause.response["Error"]["Message"]
    reason = retry_later(exc)
    if reason is None:
        raise exc
    return reason
