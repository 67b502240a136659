"""On demand, or provisioned capacity for the table and each of its indexes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from sessions_dynamo.tables.aspects.change import Change, Subject
from sessions_dynamo.tables.descriptions import IndexDescription, TableDescription
from sessions_dynamo.tables.desired import ON_DEMAND, Billing
from sessions_dynamo.tables.steps import Outcome

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import ProvisionedThroughputTypeDef

ASPECT: Final = "billing"


def plan(subject: Subject) -> Iterator[Change]:
    """As declared; on demand where a table is new. What autoscaling moved inside its range is no difference."""
    live, wanted = subject.live, subject.desired.billing
    if live is None:
        yield Change(ASPECT, Outcome.CREATE, str(wanted or ON_DEMAND))
    elif wanted is None:
        yield Change(ASPECT, Outcome.UNCHANGED, standing(live))
    elif live.billing_mode != wanted.mode:
        request = {"BillingMode": wanted.mode, **(_capacity(wanted, live.indexes) if wanted.provisioned else {})}
        yield _change(subject.name, f"{wanted}, was {standing(live)}", request)
    elif wanted.provisioned and (request := _differences(wanted, live)):
        yield _change(subject.name, f"{wanted}; {_was(wanted, live)}", request)
    else:
        yield Change(ASPECT, Outcome.UNCHANGED, standing(live))


def standing(live: TableDescription) -> str:
    """The billing mode as it stands, with the table's capacity units."""
    if live.billing_mode != "PROVISIONED":
        return live.billing_mode
    return f"{live.billing_mode}, {live.read_capacity} read, {live.write_capacity} write"


def throughput(read: int, write: int) -> ProvisionedThroughputTypeDef:
    """Capacity units as DynamoDB takes them."""
    return {"ReadCapacityUnits": read, "WriteCapacityUnits": write}


def _capacity(wanted: Billing, indexes: tuple[IndexDescription, ...]) -> dict[str, Any]:
    request: dict[str, Any] = {"ProvisionedThroughput": throughput(wanted.read, wanted.write)}
    if indexes:
        request["GlobalSecondaryIndexUpdates"] = _index_updates(wanted, indexes)
    return request


def _index_updates(wanted: Billing, indexes: tuple[IndexDescription, ...]) -> list[dict[str, Any]]:
    capacity = throughput(wanted.read, wanted.write)
    return [{"Update": {"IndexName": index.name, "ProvisionedThroughput": capacity}} for index in indexes]


def _differences(wanted: Billing, live: TableDescription) -> dict[str, Any]:
    # AWS refuses a capacity that stands already, so only what differs is sent.
    request: dict[str, Any] = {}
    if not _fits(wanted, live.read_capacity, live.write_capacity):
        request["ProvisionedThroughput"] = throughput(wanted.read, wanted.write)
    if indexes := _unfitting(wanted, live):
        request["GlobalSecondaryIndexUpdates"] = _index_updates(wanted, indexes)
    return request


def _unfitting(wanted: Billing, live: TableDescription) -> tuple[IndexDescription, ...]:
    return tuple(index for index in live.indexes if not _fits(wanted, index.read_capacity, index.write_capacity))


def _fits(wanted: Billing, read: int | None, write: int | None) -> bool:
    if wanted.scaling:
        return read in wanted.scaling and write in wanted.scaling
    return (read, write) == (wanted.read, wanted.write)


def _was(wanted: Billing, live: TableDescription) -> str:
    was = []
    if not _fits(wanted, live.read_capacity, live.write_capacity):
        was.append(f"was {live.read_capacity} read, {live.write_capacity} write")
    was += [
        f"{index.name} was {index.read_capacity} read, {index.write_capacity} write"
        for index in _unfitting(wanted, live)
    ]
    return "; ".join(was)


def _change(table: str, detail: str, request: dict[str, Any]) -> Change:
    return Change(ASPECT, Outcome.CHANGE, detail, partial(_update, table, request))


def _update(table: str, request: dict[str, Any], client: DynamoDBClient) -> None:
    client.update_table(TableName=table, **request)
