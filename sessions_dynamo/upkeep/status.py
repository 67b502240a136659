"""Both tables as they stand, who serves, what CloudWatch read, what it costs, and what needs attention.

Each part that could not be read says why, and leaves the others as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sessions_dynamo.backups import on_demand
from sessions_dynamo.backups.descriptions import Backup
from sessions_dynamo.client import dynamodb
from sessions_dynamo.errors import StorageError
from sessions_dynamo.tables import setup
from sessions_dynamo.tables.describing import describe, describe_table
from sessions_dynamo.tables.descriptions import TableDescription
from sessions_dynamo.tables.names import NamedTable, named_tables
from sessions_dynamo.upkeep import attention, cloudwatch, pricing, roll_call
from sessions_dynamo.upkeep.pricing import Estimate, NoPrices
from sessions_dynamo.upkeep.readings import Capacity, Operation, Readings, TableReadings
from sessions_dynamo.upkeep.roll_call import RollCall

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@dataclass(frozen=True, slots=True)
class Status:
    """What one look found. A reason stands in the place of what could not be read."""

    region: str
    endpoint: str
    tables: tuple[TableDescription, ...]
    missing: Mapping[str, StorageError]
    """Tables that do not exist, or do not answer, and why."""
    workers: RollCall | str
    readings: Readings | str
    estimate: Estimate | str
    attention: tuple[str, ...]
    """Each a sentence with its remedy."""

    def readings_of(self, table: str) -> TableReadings | None:
        """What CloudWatch has of a table; ``None`` without readings."""
        found = self.readings.tables if isinstance(self.readings, Readings) else ()
        return next((readings for readings in found if readings.table == table), None)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready. In readings, ``null`` is a metric without datapoints."""
        readings: dict[str, Any]
        if isinstance(self.readings, Readings):
            window = self.readings.window
            readings = {
                "start": window.start.isoformat(),
                "end": window.end.isoformat(),
                "hours": window.hours,
                "user_errors": self.readings.user_errors.total,
                "tables": {found.table: _readings_as_dict(found) for found in self.readings.tables},
            }
        else:
            readings = {"unavailable": self.readings}
        estimate, workers = self.estimate, self.workers
        return {
            "region": self.region,
            "endpoint": self.endpoint,
            "tables": [live.as_dict() for live in self.tables],
            "missing": {name: str(reason) for name, reason in self.missing.items()},
            "workers": {"unavailable": workers} if isinstance(workers, str) else workers.as_dict(),
            "readings": readings,
            "cost": {"unavailable": estimate} if isinstance(estimate, str) else estimate.as_dict(),
            "attention": list(self.attention),
        }


def status(both: Sequence[NamedTable] | None = None, *, hours: float = 1, region: str | None = None) -> Status:
    """Look at the tables, by default those of the settings, and at the last ``hours`` of their readings.

    Nothing is written. A table that cannot be read is in ``missing``; raises ``CredentialsMissing`` without a region.
    """
    both = both or named_tables()
    client = dynamodb(region)
    found: list[TableDescription] = []
    missing: dict[str, StorageError] = {}
    for table in both:
        try:
            found.append(describe(table.name, client))
        except StorageError as exc:
            missing[table.name] = exc
    readings = _readings(found, hours, region)
    kept = {live.name: backups_of(live.name, client) for live in found}
    standing = [table for table in both if table.name not in missing]
    return Status(
        region=client.meta.region_name,
        endpoint=client.meta.endpoint_url,
        tables=tuple(found),
        missing=missing,
        workers=_workers(both[1].name, missing, client),
        readings=readings,
        estimate=estimated(found, readings, kept),
        attention=tuple(_attention(standing, readings, kept, client)),
    )


def backups_of(table: str, client: DynamoDBClient) -> list[Backup] | None:
    """The table's backups, newest first; ``None`` where the engine or a permission does not tell."""
    try:
        return list(on_demand.list_backups(table, client=client))
    except StorageError:
        return None


def backup_ages(
    both: Sequence[NamedTable], *, region: str | None = None, now: datetime | None = None
) -> tuple[dict[str, float], dict[str, StorageError]]:
    """Seconds since each table's newest backup, or since its creation where it has none; and what was not answered.

    A table without a backup so grows older until it has one, and an alarm on the age needs no second rule.
    """
    client, now = dynamodb(region), now or datetime.now(UTC)
    ages: dict[str, float] = {}
    missing: dict[str, StorageError] = {}
    for table in both:
        try:
            created = describe_table(client, table.name)["CreationDateTime"]
            newest = attention.newest_backup(list(on_demand.list_backups(table.name, client=client)))
        except StorageError as exc:
            missing[table.name] = exc
        else:
            # A backup is of the table that stands: an older one may be of another of its name.
            ages[table.name] = max(0.0, (now - max(created, newest or created)).total_seconds())
    return ages, missing


def estimated(
    found: Sequence[TableDescription], readings: Readings | str, kept: Mapping[str, Sequence[Backup] | None]
) -> Estimate | str:
    """A month's cost of tables with their on-demand backups, by table; or why there is none."""
    if not found:
        return "There is no table to estimate."
    try:
        return pricing.estimate(
            found, readings if isinstance(readings, Readings) else None, _backups_bytes(kept.values())
        )
    except NoPrices as exc:
        return str(exc)


def _workers(events_table: str, missing: Mapping[str, StorageError], client: DynamoDBClient) -> RollCall | str:
    if events_table in missing:
        return f"There is no {events_table} to read of."
    try:
        return roll_call.look(events_table, client)
    except StorageError as exc:
        return str(exc)


def _readings(found: Sequence[TableDescription], hours: float, region: str | None) -> Readings | str:
    if not found:
        return "There is no table to read of."
    names = {live.name: [index.name for index in live.indexes] for live in found}
    try:
        return cloudwatch.table_readings(names, hours=hours, region=region)
    except StorageError as exc:
        return str(exc)


def _backups_bytes(kept: Iterable[Sequence[Backup] | None]) -> int | None:
    """Bytes of the tables' own on-demand backups; ``None`` where they are not all known."""
    sizes: list[int | None] = []
    for of_table in kept:
        if of_table is None:
            return None
        # AWS charges nothing for a SYSTEM backup, and AWS Backup's are billed there.
        sizes += [each.size_bytes for each in of_table if each.type == "USER" and each.status == "AVAILABLE"]
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None


def _attention(
    standing: Iterable[NamedTable],
    readings: Readings | str,
    kept: Mapping[str, Sequence[Backup] | None],
    client: DynamoDBClient,
) -> Iterator[str]:
    by_table = {found.table: found for found in readings.tables} if isinstance(readings, Readings) else {}
    for table in standing:
        try:
            (planned,) = setup.plan([table], client=client)
        except StorageError as exc:
            yield f"{table.name}: {exc}"
            continue
        found = attention.findings(planned, readings=by_table.get(table.name), backups=kept.get(table.name))
        yield from map(str, found)


def _readings_as_dict(found: TableReadings) -> dict[str, Any]:
    return {
        **_capacity_as_dict(found.capacity),
        "indexes": {name: _capacity_as_dict(capacity) for name, capacity in found.indexes.items()},
        "throttled_requests": found.throttled_requests,
        "system_errors": found.system_errors,
        "ttl_deleted": found.ttl_deleted.total,
        "operations": {operation.name: _operation_as_dict(operation) for operation in found.operations},
    }


def _capacity_as_dict(capacity: Capacity) -> dict[str, Any]:
    names = ("consumed_reads", "consumed_writes", "read_throttles", "write_throttles")
    return {name: getattr(capacity, name).total for name in names}


def _operation_as_dict(operation: Operation) -> dict[str, Any]:
    return {
        "requests": operation.latency.samples.total,
        "mean_ms": operation.latency.mean,
        "worst_p99_ms": operation.latency.worst_p99,
        "throttled": operation.throttled.total,
        "system_errors": operation.system_errors.total,
    }
