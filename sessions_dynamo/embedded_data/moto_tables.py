"""moto's tables copied as they are at one moment, and made again from such a copy; both while no request is served.

An item's line is kept with the item and dropped when moto changes the item, so that a copy of tables that are hardly
changed takes no longer than to look at each item.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from sessions_dynamo import schema
from sessions_dynamo.transfer.export_format import TABLES, Item, Line, TableKind, item_line

if TYPE_CHECKING:
    from moto.dynamodb.models import DynamoDBBackend
    from moto.dynamodb.models.dynamo_type import DynamoType
    from moto.dynamodb.models.dynamo_type import Item as MotoItem
    from moto.dynamodb.models.table import Table

_LINE: Final = "sessions_dynamo_line"
_INDEX: Final = ("IndexName", "KeySchema", "Projection")


@dataclass(frozen=True, slots=True)
class CopiedTable:
    """One table: its description, and its items as lines of an export."""

    region: str
    name: str
    kind: TableKind
    description: Item
    lines: tuple[bytes, ...]


def copied() -> Iterator[CopiedTable]:
    """Every table with the keys of one of ours, in every region."""
    _drop_lines_of_what_changes()
    for region, backend in _backends():
        for table in backend.tables.values():
            if kind := _kind_of(table):
                lines = tuple(filter(None, (_line_of(kind, item) for item in _items(table))))
                yield CopiedTable(region, table.name, kind, _described(region, table), lines)


def foreign() -> list[str]:
    """The names of tables with other keys than ours, which no copy has."""
    return [table.name for _, backend in _backends() for table in backend.tables.values() if not _kind_of(table)]


def backups() -> int:
    """How many backups there are, which no copy has."""
    return sum(len(backend.backups) for _, backend in _backends())


def make(region: str, name: str, description: Item, lines: Iterable[Line]) -> int:
    """Make a table from a copy, without the items whose ``ttl`` has passed; how many it holds."""
    from moto.core.models import DEFAULT_ACCOUNT_ID
    from moto.dynamodb.models import dynamodb_backends

    backend = dynamodb_backends[DEFAULT_ACCOUNT_ID][region]
    backend.create_table(
        name,
        schema=description["KeySchema"],
        attr=description["AttributeDefinitions"],
        billing_mode=description["BillingMode"],
        throughput=description.get("ProvisionedThroughput"),
        global_indexes=description.get("GlobalSecondaryIndexes"),
        indexes=None,
        # A stream would carry every item that is put back.
        streams=None,
        sse_specification=None,
        tags=description.get("Tags", []),
        deletion_protection_enabled=description.get("DeletionProtectionEnabled", False),
        warm_throughput=None,
    )
    if ttl := description.get("TimeToLiveSpecification"):
        backend.update_time_to_live(name, ttl)
    if recovery := description.get("PointInTimeRecoverySpecification"):
        backend.update_continuous_backups(name, recovery)
    table = backend.tables[name]
    for line in lines:
        _put(table, line.item)
    if stream := description.get("StreamSpecification"):
        table.set_stream_specification(stream)
    return len(table)


def exists(region: str, name: str) -> bool:
    """Whether there is a table of that name."""
    return any(where == region and name in backend.tables for where, backend in _backends())


def unmake(region: str, name: str) -> None:
    """Take away a table that was made of a file which proved to be damaged."""
    for where, backend in _backends():
        if where == region:
            backend.tables.pop(name, None)


# --- Copy -----------------------------------------------------------------------------------------------------


def _backends() -> Iterator[tuple[str, DynamoDBBackend]]:
    from moto.dynamodb.models import dynamodb_backends

    for regions in list(dynamodb_backends.values()):
        yield from list(regions.items())


def _kind_of(table: Table) -> TableKind | None:
    keys = [(key["AttributeName"], key["KeyType"]) for key in table.schema]
    types = {attribute["AttributeName"]: attribute["AttributeType"] for attribute in table.attr}
    for kind, declared in TABLES.items():
        wanted = [(key.name, role) for key, role in zip(declared.keys, ("HASH", "RANGE"), strict=False)]
        if sorted(keys) == sorted(wanted) and all(types.get(key.name) == key.type for key in declared.keys):
            return kind
    return None


def _items(table: Table) -> Iterator[MotoItem]:
    for found in table.items.values():
        if table.has_range_key:
            yield from found.values()
        else:
            yield found  # type: ignore[misc]  # moto declares one shape for both.


def _line_of(kind: TableKind, item: MotoItem) -> bytes | None:
    """The item's line; ``None`` for one that holds what is no Unicode text, which DynamoDB itself does not take."""
    if _LINE not in item.__dict__:
        try:
            line = item_line(kind, {name: _plain(value) for name, value in item.attrs.items()}).encode()
        except UnicodeEncodeError:
            line = None
        item.__dict__[_LINE] = line
    found: bytes | None = item.__dict__[_LINE]
    return found


def _plain(value: DynamoType) -> Item:
    """A typed attribute. What is binary is bytes in moto, and base64 inside of lists and maps."""
    match value.value:
        case dict() as entries:
            return {value.type: {name: _plain(entry) for name, entry in entries.items()}}
        case list() as members if value.is_list():
            return {value.type: [_plain(member) for member in members]}
        case plain:
            return {value.type: plain}


def _described(region: str, table: Table) -> Item:
    """What the table is, in the words of the requests that make it."""
    provisioned = table.billing_mode == "PROVISIONED"
    description: Item = {
        "KeySchema": table.schema,
        "AttributeDefinitions": table.attr,
        "BillingMode": table.billing_mode or "PROVISIONED",
        "Tags": table.tags,
        "DeletionProtectionEnabled": bool(table.deletion_protection_enabled),
        "GlobalSecondaryIndexes": [
            {name: value for name, value in index.describe().items() if name in _INDEX}
            | ({"ProvisionedThroughput": _units(index.throughput)} if provisioned else {})
            for index in table.global_indexes
        ],
    }
    if provisioned:
        description["ProvisionedThroughput"] = _units(table.throughput)
    if table.stream_specification and table.stream_specification["StreamEnabled"]:
        description["StreamSpecification"] = table.stream_specification
    if "AttributeName" in table.ttl:
        description["TimeToLiveSpecification"] = {
            "Enabled": table.ttl["TimeToLiveStatus"] == "ENABLED",
            "AttributeName": table.ttl["AttributeName"],
        }
    recovery = table.continuous_backups["PointInTimeRecoveryDescription"]
    if recovery["PointInTimeRecoveryStatus"] == "ENABLED":
        description["PointInTimeRecoverySpecification"] = {
            "PointInTimeRecoveryEnabled": True,
            "RecoveryPeriodInDays": recovery["RecoveryPeriodInDays"],
        }
    # moto goes on changing its own.
    return deepcopy(description)


def _units(throughput: dict[str, Any]) -> dict[str, int]:
    return {name: throughput[name] for name in ("ReadCapacityUnits", "WriteCapacityUnits")}


# --- Make again -----------------------------------------------------------------------------------------------


def _put(table: Table, item: Item) -> None:
    from moto.dynamodb.models.dynamo_type import DynamoType
    from moto.dynamodb.models.dynamo_type import Item as MotoItem

    if _is_expired(table, item):
        return
    hash_key = DynamoType(item[table.hash_key_attr])
    range_key = DynamoType(item[table.range_key_attr]) if table.range_key_attr else None
    made = MotoItem(hash_key, range_key, {})
    for name, value in item.items():
        # Past moto's own count of bytes, which takes most of the time: the item was counted when it was written.
        dict.__setitem__(made.attrs, name, DynamoType(_of_moto(value, outermost=True)))
    if range_key:
        table.items[hash_key][range_key] = made
    else:
        table.items[hash_key] = made  # type: ignore[assignment]  # As moto does.


def _is_expired(table: Table, item: Item) -> bool:
    ttl = item.get(table.ttl.get("AttributeName", ""), {}).get("N")
    is_on = table.ttl["TimeToLiveStatus"] == "ENABLED"
    return is_on and ttl is not None and float(ttl) <= schema.now_ms() / 1000


def _of_moto(value: Item, *, outermost: bool = False) -> Item:
    match value:
        case {"B": bytes() as data} if not outermost:
            return {"B": base64.b64encode(data).decode()}
        case {"BS": list() as members} if not outermost:
            return {"BS": [base64.b64encode(member).decode() for member in members]}
        case {"M": dict() as entries}:
            return {"M": {name: _of_moto(entry) for name, entry in entries.items()}}
        case {"L": list() as members}:
            return {"L": [_of_moto(member) for member in members]}
        case _:
            return value


# --- What changes ---------------------------------------------------------------------------------------------


@cache
def _drop_lines_of_what_changes() -> None:
    """moto changes an item in its place in these two ways; every other write puts another item there."""
    from moto.dynamodb.models.dynamo_type import Item as MotoItem
    from moto.dynamodb.parsing.executors import UpdateExpressionExecutor

    execute = UpdateExpressionExecutor.execute
    update = MotoItem.update_with_attribute_updates
    deep_copy = MotoItem.__deepcopy__

    def executing(executor: UpdateExpressionExecutor, node: Any = None) -> None:
        executor.item.__dict__.pop(_LINE, None)
        execute(executor, node)

    def updating(item: MotoItem, attribute_updates: dict[str, Any]) -> None:
        item.__dict__.pop(_LINE, None)
        update(item, attribute_updates)

    def copying(item: MotoItem, memo: dict[int, Any]) -> MotoItem:
        # What a transaction that failed puts back.
        twin = deep_copy(item, memo)
        if _LINE in item.__dict__:
            twin.__dict__[_LINE] = item.__dict__[_LINE]
        return twin

    UpdateExpressionExecutor.execute = executing  # type: ignore[method-assign, assignment]
    MotoItem.update_with_attribute_updates = updating  # type: ignore[method-assign, assignment]
    MotoItem.__deepcopy__ = copying  # type: ignore[method-assign, assignment]
