"""Both tables: create them, and bring them to what ``schema.py`` declares.

Convergence is reading what stands, planning the changes, and applying them; a second run finds nothing to do. Every
function takes the client of the region that it shall work in; by default the service's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from django.conf import settings

from sessions_dynamo import schema
from sessions_dynamo.client import dynamodb
from sessions_dynamo.descriptions import (
    NamedTable,
    TableDescription,
    describe,
    describe_cached,
    describe_table,
    forget_descriptions,
    named_tables,
    to_description,
)
from sessions_dynamo.errors import (
    StorageUnavailable,
    TableMissing,
    Unsupported,
    boto_errors,
)
from sessions_dynamo.steps import Outcome, Report, Step
from sessions_dynamo.waiting import PATIENCE, polls, retry_later, wait_until_active

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import (
        AttributeDefinitionTypeDef,
        CreateGlobalSecondaryIndexActionTypeDef,
        KeySchemaElementTypeDef,
        TagTypeDef,
    )

__all__ = [
    "Change",
    "KeySchemaMismatch",
    "NamedTable",
    "TableDescription",
    "TablePlan",
    "apply",
    "create_missing",
    "create_request",
    "describe",
    "describe_cached",
    "ensure_tables",
    "named_tables",
    "plan",
    "reachable",
]

_SERVING: Final = ("ACTIVE", "UPDATING")
_BILLING_MODE: Final = "PAY_PER_REQUEST"


class KeySchemaMismatch(StorageUnavailable):
    """A table or an index of the right name has other keys than this service needs."""


def reachable(client: DynamoDBClient | None = None) -> None:
    """Return if both tables can serve, in two requests; else raise ``StorageUnavailable`` with the reason.

    A table that is ``UPDATING`` serves as before; one that lacks an index serves what needs no index.
    """
    client = client or dynamodb()
    for table in named_tables():
        found = describe_table(client, table.name)
        if found["TableStatus"] not in _SERVING:
            raise StorageUnavailable(f"Table {table.name} is {found['TableStatus']}, not ACTIVE.")
        _refuse_other_keys(table, to_description(client, found).keys)


# --- Plan -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Change:
    """How one aspect differs from the declaration. ``apply`` makes it so; ``None`` where nothing is to be done."""

    aspect: str
    outcome: Outcome
    detail: str = ""
    apply: Callable[[DynamoDBClient], object] | None = None


@dataclass(frozen=True, slots=True)
class TablePlan:
    """What setup will do to one table; ``live`` is ``None`` when there is none yet."""

    table: NamedTable
    live: TableDescription | None
    changes: tuple[Change, ...]


def plan(
    tables: Iterable[NamedTable] | None = None,
    *,
    client: DynamoDBClient | None = None,
    environment: str | None = None,
) -> tuple[TablePlan, ...]:
    """Read what stands and say what must change; nothing is written. ``environment`` is the tag's value.

    Raises ``KeySchemaMismatch`` for a table that can never serve.
    """
    client = client or dynamodb()
    return tuple(_plan(table, _live(client, table.name), environment) for table in tables or named_tables())


def _live(client: DynamoDBClient, name: str) -> TableDescription | None:
    try:
        return describe(name, client)
    except TableMissing:
        return None


def _plan(table: NamedTable, live: TableDescription | None, environment: str | None) -> TablePlan:
    tags = {
        "Environment": environment or settings.ENVIRONMENT,
        "Application": schema.APPLICATION_TAG,
        "Purpose": table.schema.purpose,
    }
    if live is None:
        detail = f"{_keys_detail(table.schema.keys)}, {_BILLING_MODE}"
        create = Change("table", Outcome.CREATED, detail, partial(_create, table, tags))
        return TablePlan(table, None, (create,))
    _refuse_other_keys(table, live.keys)
    changes = [Change("table", Outcome.UNCHANGED, f"{live.status}, {_keys_detail(live.keys)}, {live.billing_mode}")]
    changes += [_plan_index(table.name, index, live) for index in table.schema.indexes]
    changes += [_plan_stream(live), _plan_time_to_live(live), _plan_tags(live, tags)]
    return TablePlan(table, live, tuple(changes))


def _refuse_other_keys(table: NamedTable, keys: tuple[schema.Key, ...]) -> None:
    if keys != table.schema.keys:
        raise KeySchemaMismatch(
            f"Table {table.name} exists with the {_keys_detail(keys)}, but this service needs the"
            f" {_keys_detail(table.schema.keys)}. A key cannot be changed: choose another name"
            " (DYNAMODB_SESSIONS_TABLE, DYNAMODB_EVENTS_TABLE), or delete that table if nothing uses it."
        )


def _keys_detail(keys: Sequence[schema.Key]) -> str:
    return "key " + ", ".join(f"{key.name} ({key.type})" for key in keys)


def _plan_index(table: str, index: schema.Index, live: TableDescription) -> Change:
    aspect = f"index {index.name}"
    keys = (index.partition, index.sort)
    found = next((standing for standing in live.indexes if standing.name == index.name), None)
    if found is None:
        clash = [key for key in live.attributes for wanted in keys if key.name == wanted.name and key != wanted]
        if clash:
            raise KeySchemaMismatch(
                f"Table {table} cannot have {index.name}: another index of it uses the {_keys_detail(clash)}, but this"
                f" one needs the {_keys_detail(keys)}. Delete the other index, or choose another table name."
            )
        return Change(aspect, Outcome.CREATED, _keys_detail(keys), partial(_add_index, table, index))
    if found.keys != keys:
        raise KeySchemaMismatch(
            f"Index {index.name} of table {table} has the {_keys_detail(found.keys)}, but this service needs the"
            f" {_keys_detail(keys)}. An index cannot be changed: delete it, then run 'manage.py dynamodb_setup' again."
        )
    if found.status != "ACTIVE":
        return Change(aspect, Outcome.PENDING, f"{found.status}: run 'manage.py dynamodb_setup' again")
    return Change(aspect, Outcome.UNCHANGED, _keys_detail(keys))


def _plan_stream(live: TableDescription) -> Change:
    if not live.stream.enabled:
        return Change("stream", Outcome.CREATED, schema.STREAM_VIEW_TYPE, partial(_enable_stream, live.name))
    if live.stream.view_type != schema.STREAM_VIEW_TYPE:
        detail = f"{schema.STREAM_VIEW_TYPE}, was {live.stream.view_type}; its readers need the new stream's ARN"
        return Change("stream", Outcome.CHANGED, detail, partial(_replace_stream, live.name))
    return Change("stream", Outcome.UNCHANGED, schema.STREAM_VIEW_TYPE)


def _plan_time_to_live(live: TableDescription) -> Change:
    found, wanted = live.time_to_live, f"on attribute {schema.TTL_ATTRIBUTE}"
    if found is None:
        return _unread("ttl", live, "time_to_live")
    if found.status == "DISABLING":
        return Change("ttl", Outcome.PENDING, "AWS is turning it off: run 'manage.py dynamodb_setup' again in an hour")
    if found.status == "DISABLED":
        return Change("ttl", Outcome.CREATED, wanted, partial(_set_time_to_live, live.name, schema.TTL_ATTRIBUTE, True))
    if found.attribute != schema.TTL_ATTRIBUTE:
        detail = f"{wanted}, was on attribute {found.attribute}"
        return Change("ttl", Outcome.CHANGED, detail, partial(_move_time_to_live, live.name, found.attribute or ""))
    return Change("ttl", Outcome.UNCHANGED, wanted)


def _plan_tags(live: TableDescription, wanted: Mapping[str, str]) -> Change:
    if live.tags is None:
        return _unread("tags", live, "tags")
    different = {name: value for name, value in wanted.items() if live.tags.get(name) != value}
    detail = ", ".join(f"{name}={value}" for name, value in (different or wanted).items())
    if not different:
        return Change("tags", Outcome.UNCHANGED, detail)
    outcome = Outcome.CHANGED if different.keys() & live.tags.keys() else Outcome.CREATED
    return Change("tags", outcome, detail, partial(_tag, live.arn or "", different))


def _unread(aspect: str, live: TableDescription, answer: str) -> Change:
    """The change for an aspect that could not be read: an emulator's gap is reported, a missing permission raised."""
    reason = live.unanswered.get(answer)
    if reason is None:
        return Change(aspect, Outcome.PENDING, f"the table is {live.status}: run 'manage.py dynamodb_setup' again")
    if isinstance(reason, Unsupported):
        return Change(aspect, Outcome.UNSUPPORTED, str(reason))
    raise reason


# --- Apply ----------------------------------------------------------------------------------------------------


def apply(
    plans: Iterable[TablePlan],
    *,
    client: DynamoDBClient | None = None,
    environment: str | None = None,
    patience: float = PATIENCE,
    report: Report | None = None,
) -> list[Step]:
    """Carry out plans and return what became of every aspect; ``report`` hears each step as it is done.

    Waits up to ``patience`` seconds for each table and index; what does not become ready in time, or is locked by
    AWS for a while, is ``pending``. One table after the other: AWS creates one table with indexes at a time.
    """
    client = client or dynamodb()
    steps = []
    try:
        for planned in plans:
            for step in _apply(planned, client, environment, patience):
                steps.append(step)
                if report:
                    report(step)
    finally:
        forget_descriptions()
    return steps


def ensure_tables(
    tables: Iterable[NamedTable] | None = None,
    *,
    client: DynamoDBClient | None = None,
    environment: str | None = None,
    patience: float = PATIENCE,
    report: Report | None = None,
) -> list[Step]:
    """Make the tables as ``schema.py`` declares them; what already is so stays untouched."""
    plans = plan(tables, client=client, environment=environment)
    return apply(plans, client=client, environment=environment, patience=patience, report=report)


def create_missing(client: DynamoDBClient | None = None, report: Report | None = None) -> list[Step]:
    """Create the tables that do not exist; an existing one, whatever it lacks, stays untouched."""
    plans = [planned for planned in plan(client=client) if planned.live is None]
    return apply(plans, client=client, report=report)


def _apply(planned: TablePlan, client: DynamoDBClient, environment: str | None, patience: float) -> Iterator[Step]:
    name, live = planned.table.name, planned.live
    created = False
    if live is None:
        step = _create_table(planned, client, patience)
        yield step
        created = step.outcome is Outcome.CREATED
        if not wait_until_active(name, client=client, patience=patience if created else 0):
            yield Step(name, "ttl", Outcome.PENDING, "the table is not ACTIVE: run 'manage.py dynamodb_setup' again")
            return
        # Look again rather than believe: an emulator may have taken a tag and dropped it.
        planned = _plan(planned.table, describe(name, client), environment)
    else:
        if patience and not _is_idle(live):
            wait_until_active(name, client=client, patience=patience)
            planned = _plan(planned.table, describe(name, client), environment)
        yield _applied(planned.changes[0], name, client)
    changing = False
    for change in planned.changes[1:]:
        if change.apply and not wait_until_active(name, client=client, patience=patience):
            yield Step(name, change.aspect, Outcome.PENDING, "the table is busy: run 'manage.py dynamodb_setup' again")
            continue
        changing |= change.apply is not None
        step = _applied(change, name, client)
        if created and step.outcome in (Outcome.UNCHANGED, Outcome.CHANGED):
            step = Step(name, step.aspect, Outcome.CREATED, step.detail)
        yield step
    if changing and patience and not wait_until_active(name, client=client, patience=patience):
        yield Step(name, "table", Outcome.PENDING, "not ACTIVE yet: run 'manage.py dynamodb_setup' again")


def _is_idle(live: TableDescription) -> bool:
    return all(status == "ACTIVE" for status in (live.status, *(index.status for index in live.indexes)))


def _create_table(planned: TablePlan, client: DynamoDBClient, patience: float) -> Step:
    """CreateTable, again while AWS is busy creating others; a table that another process made meanwhile will do."""
    name = planned.table.name
    for _ in polls(patience):
        step = _applied(planned.changes[0], name, client)
        if step.outcome is not Outcome.PENDING:
            break
        if _live(client, name):
            return Step(name, "table", Outcome.UNCHANGED, "another process created it")
    return step


def _applied(change: Change, name: str, client: DynamoDBClient) -> Step:
    if change.apply is None:
        return Step(name, change.aspect, change.outcome, change.detail)
    try:
        with boto_errors(name):
            change.apply(client)
    except StorageUnavailable as exc:
        reason = retry_later(exc)
        if reason is None:
            raise
        return Step(name, change.aspect, Outcome.PENDING, f"{reason} Run 'manage.py dynamodb_setup' again.")
    return Step(name, change.aspect, change.outcome, change.detail)


def create_request(table: NamedTable, tags: Mapping[str, str]) -> dict[str, Any]:
    """The CreateTable request of a declared table. Time to Live is no part of it: it needs a table that is ACTIVE."""
    request: dict[str, Any] = {
        "TableName": table.name,
        "KeySchema": _key_schema(table.schema.keys),
        "AttributeDefinitions": _attribute_definitions(table.schema.attributes),
        "BillingMode": _BILLING_MODE,
        "StreamSpecification": {"StreamEnabled": True, "StreamViewType": schema.STREAM_VIEW_TYPE},
        "Tags": _tag_list(tags),
    }
    if table.schema.indexes:
        request["GlobalSecondaryIndexes"] = [_index_request(index) for index in table.schema.indexes]
    return request


def _key_schema(keys: Sequence[schema.Key]) -> list[KeySchemaElementTypeDef]:
    partition, *sort = keys
    elements: list[KeySchemaElementTypeDef] = [{"AttributeName": partition.name, "KeyType": "HASH"}]
    elements += [{"AttributeName": key.name, "KeyType": "RANGE"} for key in sort]
    return elements


def _attribute_definitions(keys: Iterable[schema.Key]) -> list[AttributeDefinitionTypeDef]:
    return [{"AttributeName": key.name, "AttributeType": key.type} for key in dict.fromkeys(keys)]


def _index_request(index: schema.Index) -> CreateGlobalSecondaryIndexActionTypeDef:
    return {
        "IndexName": index.name,
        "KeySchema": _key_schema((index.partition, index.sort)),
        "Projection": {"ProjectionType": "KEYS_ONLY"},
    }


def _tag_list(tags: Mapping[str, str]) -> list[TagTypeDef]:
    return [{"Key": name, "Value": value} for name, value in tags.items()]


def _create(table: NamedTable, tags: Mapping[str, str], client: DynamoDBClient) -> None:
    client.create_table(**create_request(table, tags))


def _add_index(table: str, index: schema.Index, client: DynamoDBClient) -> None:
    # Read again: an index that was added a moment ago has brought attributes of its own.
    live = to_description(client, describe_table(client, table))
    create = _index_request(index)
    if live.read_capacity and live.write_capacity:
        # An index of a provisioned table needs a capacity of its own; the table's is the one that somebody chose.
        create["ProvisionedThroughput"] = {
            "ReadCapacityUnits": live.read_capacity,
            "WriteCapacityUnits": live.write_capacity,
        }
    client.update_table(
        TableName=table,
        AttributeDefinitions=_attribute_definitions((*live.attributes, index.partition, index.sort)),
        GlobalSecondaryIndexUpdates=[{"Create": create}],
    )


def _enable_stream(table: str, client: DynamoDBClient) -> None:
    client.update_table(
        TableName=table,
        StreamSpecification={"StreamEnabled": True, "StreamViewType": schema.STREAM_VIEW_TYPE},
    )


def _replace_stream(table: str, client: DynamoDBClient) -> None:
    client.update_table(TableName=table, StreamSpecification={"StreamEnabled": False})
    wait_until_active(table, client=client)
    _enable_stream(table, client)


def _set_time_to_live(table: str, attribute: str, enabled: bool, client: DynamoDBClient) -> None:
    client.update_time_to_live(
        TableName=table, TimeToLiveSpecification={"Enabled": enabled, "AttributeName": attribute}
    )


def _move_time_to_live(table: str, attribute: str, client: DynamoDBClient) -> None:
    _set_time_to_live(table, attribute, False, client)
    # AWS locks Time to Live after a change: this then is 'pending', and the next run finds it off.
    _set_time_to_live(table, schema.TTL_ATTRIBUTE, True, client)


def _tag(arn: str, tags: Mapping[str, str], client: DynamoDBClient) -> None:
    client.tag_resource(ResourceArn=arn, Tags=_tag_list(tags))
