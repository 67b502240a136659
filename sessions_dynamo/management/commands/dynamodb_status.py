"""The tables as they stand, who serves, their last hours, their cost, what needs attention. Changes nothing."""

from __future__ import annotations

import json
from argparse import ArgumentTypeError
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from operator import attrgetter
from typing import Any

from django.core.management.base import CommandParser
from django.template.defaultfilters import filesizeformat

from sessions_dynamo.checks import DYNAMODB
from sessions_dynamo.client import dynamodb, is_aws
from sessions_dynamo.errors import StorageError, TableMissing, Unsupported
from sessions_dynamo.management import arguments
from sessions_dynamo.management.base import SessionsCommand
from sessions_dynamo.management.console import both_tables, command_errors, interruptible, location
from sessions_dynamo.metrics import BACKUP_AGE, emf
from sessions_dynamo.metrics.samples import reading
from sessions_dynamo.tables.descriptions import TableDescription
from sessions_dynamo.tables.names import NamedTable
from sessions_dynamo.upkeep import roll_call
from sessions_dynamo.upkeep.cloudwatch import MAX_HOURS
from sessions_dynamo.upkeep.pricing import SOURCE, Estimate
from sessions_dynamo.upkeep.readings import Readings, TableReadings
from sessions_dynamo.upkeep.roll_call import RollCall
from sessions_dynamo.upkeep.status import Status, backup_ages, status


class Command(SessionsCommand):
    help = (
        "Shows both tables, the workers that are alive, capacity, throttles, errors and latency in CloudWatch, an"
        " estimate of the monthly cost, and what needs attention. Ends with status 1 when a table is missing or does"
        " not answer."
    )
    requires_system_checks = (DYNAMODB,)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--hours", type=_hours, default=1, help="of CloudWatch to read (default: 1)")
        form = parser.add_mutually_exclusive_group()
        form.add_argument("--json", action="store_true", help="for scripts; null is a metric without datapoints")
        form.add_argument(
            "--emf",
            action="store_true",
            help="print the age of each table's newest backup alone, as the metric BackupAge in CloudWatch's embedded"
            " metric format: for a schedule whose output CloudWatch Logs reads",
        )
        arguments.add_where(parser)

    def handle(self, *_: Any, **options: Any) -> None:
        with command_errors(options["region"]), interruptible("Interrupted."):
            both = both_tables(options)
            if options["emf"]:
                self._emit(both, options)
            else:
                self._show(both, options)

    def _emit(self, both: Sequence[NamedTable], options: Mapping[str, Any]) -> None:
        ages, missing = backup_ages(both, region=options["region"])
        for line in emf.lines([reading(BACKUP_AGE, seconds, table=name) for name, seconds in ages.items()]):
            self.stdout.write(line)
        _refuse(missing)

    def _show(self, both: Sequence[NamedTable], options: Mapping[str, Any]) -> None:
        found = status(both, hours=options["hours"], region=options["region"])
        if options["json"]:
            self.stdout.write(json.dumps(found.as_dict(), indent=2))
        elif found.tables or _all_missing(found.missing):
            client = dynamodb(options["region"])
            # Where the tables are missing too: it may be another DynamoDB than was meant.
            self.stdout.write(f"DynamoDB: {location(client)}")
            if found.tables:
                for line in _report(found, on_aws=is_aws(client)):
                    self.stdout.write(line)
                self._attention(found.attention)
        _refuse(found.missing)

    def _attention(self, attention: Sequence[str]) -> None:
        self.stdout.write("")
        if not attention:
            self.stdout.write(self.style.SUCCESS("Nothing needs attention."))
            return
        self.stdout.write(self.style.WARNING("Needs attention:"))
        for text in attention:
            self.stdout.write(f"  {text}")


def _all_missing(tables: Mapping[str, StorageError]) -> bool:
    """Whether these were asked for, and are not there."""
    return all(isinstance(reason, TableMissing) for reason in tables.values())


def _refuse(missing: Mapping[str, StorageError]) -> None:
    """Raise for tables that are missing or do not answer, so that the command's status is 1."""
    if missing and _all_missing(missing):
        verb = "do" if len(missing) > 1 else "does"
        raise TableMissing(
            f"{' and '.join(missing)} {verb} not exist in this account and region: run 'manage.py dynamodb_setup', or"
            " check AWS_REGION and the table names."
        )
    for reason in missing.values():
        raise reason


def _hours(text: str) -> float:
    try:
        hours = float(text)
    except ValueError:
        hours = 0
    if not 0 < hours <= MAX_HOURS:
        raise ArgumentTypeError(f"{text!r} is not a number of hours above 0 and at most {MAX_HOURS}.")
    return hours


_ASPECTS = {"time_to_live": "Time to Live", "point_in_time_recovery": "point-in-time recovery"}


# --- The report -----------------------------------------------------------------------------------------------


def _report(found: Status, *, on_aws: bool) -> Iterator[str]:
    for live in found.tables:
        yield ""
        yield from _table(live)
    for name, reason in found.missing.items():
        yield ""
        yield f"{name}: {reason}"
    yield ""
    yield from _workers(found.workers)
    yield ""
    if isinstance(found.readings, Readings):
        yield from _readings(found.readings)
    else:
        yield f"CloudWatch: {found.readings}"
    yield ""
    yield from _cost(found.estimate, found.region, on_aws=on_aws)


def _table(live: TableDescription) -> Iterator[str]:
    count = "items not known" if live.item_count is None else f"{live.item_count:,} items"
    yield f"{live.name}: {live.status}, {count}, {_size(live.size_bytes)}"
    rows = {"billing": _billing(live), "keys": ", ".join(f"{key.name} ({key.type})" for key in live.keys)}
    for index in live.indexes:
        count = "" if index.item_count is None else f", {index.item_count:,} items, {_size(index.size_bytes)}"
        rows[f"index {index.name}"] = f"{index.status}{count}"
    rows["stream"] = live.stream.view_type or "on" if live.stream.enabled else "off"
    if live.time_to_live:
        on = f" on {live.time_to_live.attribute}" if live.time_to_live.attribute else ""
        rows["Time to Live"] = f"{live.time_to_live.status}{on}"
    if recovery := live.point_in_time_recovery:
        window = f", {_time(recovery.earliest)} to {_time(recovery.latest)}" if recovery.earliest else ""
        rows["point-in-time recovery"] = f"{recovery.status}{window}"
    if live.encryption:
        rows["encryption"] = " ".join(filter(None, (live.encryption.type, live.encryption.key_arn)))
    if live.deletion_protection is not None:
        rows["deletion protection"] = "on" if live.deletion_protection else "off"
    if live.replicas:
        rows["replicas"] = ", ".join(f"{replica.region} {replica.status}" for replica in live.replicas)
    if live.tags is not None:
        rows["tags"] = ", ".join(f"{name}={value}" for name, value in live.tags.items()) or "none"
    for aspect, reason in live.unanswered.items():
        unsupported = isinstance(reason, Unsupported)
        rows[_ASPECTS.get(aspect, aspect)] = "not supported by this engine" if unsupported else str(reason)
    if live.created_at:
        rows["created"] = _time(live.created_at)
    yield from _columns(rows.items())


def _workers(found: RollCall | str) -> Iterator[str]:
    if isinstance(found, str):
        yield f"Workers: {found}"
        return
    if found.is_empty:
        yield "Workers: none has registered"
        return
    unreadable = f", {found.unreadable:,} that cannot be read" if found.unreadable else ""
    yield f"Workers: {len(found.alive):,} alive, {len(found.silent):,} silent{unreadable}"
    if found.alive:
        yield from _columns([("they hold", ", ".join(roll_call.words(found.holds)) or "nothing")])
    if found.silent:
        yield from _columns([("silent", f"for {found.silent[0].age_seconds:,.0f} s at least")])


def _readings(readings: Readings) -> Iterator[str]:
    yield f"CloudWatch, {readings.window.hours:g} h to {_time(readings.window.end)}:"
    for table in readings.tables:
        yield f"{table.table}:"
        yield from _columns(_capacity(table, readings.window.hours))
        yield from _operations(table)
    errors = readings.user_errors.total
    yield f"HTTP 400 of every table of the account in the region: {_count(errors)}"


def _capacity(table: TableReadings, hours: float) -> Iterator[tuple[str, str]]:
    for kind in ("reads", "writes"):
        units = table.total(attrgetter(f"consumed_{kind}"))
        rate = "" if units is None else f", {units / hours / 3600:,.2f} a second"
        yield f"{kind} consumed", f"{_count(units, 'units')}{rate}"
        yield f"{kind} throttled", _count(table.total(attrgetter(f"{kind[:-1]}_throttles")), "events")
    yield "system errors (HTTP 500)", _count(table.system_errors)
    yield "deleted by Time to Live", _count(table.ttl_deleted.total, "items")


def _operations(table: TableReadings) -> Iterator[str]:
    rows = [
        (
            operation.name,
            f"{operation.latency.samples.total:,.0f}",
            _ms(operation.latency.mean),
            _ms(operation.latency.worst_p99),
            _count(operation.throttled.total),
        )
        for operation in table.operations
        if operation.latency.samples.total
    ]
    if not rows:
        yield "  operations: no datapoints"
        return
    for row in [("operation", "requests", "mean", "worst p99", "throttled"), *rows]:
        yield f"  {row[0]:24} {row[1]:>10} {row[2]:>10} {row[3]:>10}  {row[4]}"


def _cost(estimate: Estimate | str, region: str, *, on_aws: bool) -> Iterator[str]:
    if isinstance(estimate, str):
        yield f"Estimated monthly cost: {estimate}"
        return
    least = "" if estimate.is_complete else "at least "
    yield f"Estimated monthly cost: {least}{_usd(estimate.total)}" + ("" if on_aws else f", were this AWS in {region}")
    width = max(len(_item(line.table, line.item)) for line in estimate.lines)
    for line in estimate.lines:
        amount = "not counted" if line.amount is None else _usd(line.amount)
        yield f"  {_item(line.table, line.item):{width}} {amount:>12}  {line.reading}"
    yield f"  {estimate.basis}."
    yield f"  Not in it: {'; '.join(estimate.left_out)}."
    yield f"  Prices: {SOURCE}"


def _usd(amount: Decimal) -> str:
    return "under $0.01" if 0 < amount < Decimal("0.005") else f"${amount:,.2f}"


def _item(table: str, item: str) -> str:
    return f"{table} {item}".strip()


def _columns(rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    for name, value in rows:
        yield f"  {name:24} {value}"


def _billing(live: TableDescription) -> str:
    if live.billing_mode != "PROVISIONED":
        return live.billing_mode
    return f"{live.billing_mode}, {live.read_capacity} read and {live.write_capacity} write units"


def _count(value: float | None, unit: str = "") -> str:
    return "no datapoints" if value is None else f"{value:,.0f} {unit}".rstrip()


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f} ms"


def _size(size: int | None) -> str:
    return "size not known" if size is None else filesizeformat(size).replace("\xa0", " ")


def _time(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M} {at.tzname() or ''}".rstrip() if at else "not known"
