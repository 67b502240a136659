"""One table on the dashboard: its readings, its cost and what needs attention, each as far as it could be read."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from operator import attrgetter
from typing import Final

from django.template.defaultfilters import filesizeformat

from sessions_dynamo.client import dynamodb, is_aws
from sessions_dynamo.errors import StorageError
from sessions_dynamo.tables import setup
from sessions_dynamo.tables.descriptions import TableDescription
from sessions_dynamo.tables.names import NamedTable
from sessions_dynamo.upkeep import cloudwatch, status
from sessions_dynamo.upkeep.attention import Finding, Kind, findings
from sessions_dynamo.upkeep.pricing import Estimate
from sessions_dynamo.upkeep.readings import Operation, Readings, TableReadings

PAGES: Final = {
    Kind.DRIFT: ("mcp_staff:tables", "Tables", "manage_tables"),
    Kind.BACKUP: ("mcp_staff:backups", "Backups", "manage_backups"),
    Kind.THROTTLING: ("mcp_staff:events", "Events", "view_session"),
}
"""Where a finding is mended, or its cause seen: URL name, title, permission."""


@dataclass(frozen=True, slots=True)
class Mend:
    """A finding, and the page to go to; empty where none helps or the user may not mend it there."""

    finding: Finding
    url_name: str = ""
    page: str = ""
    permission: str = ""


@dataclass(frozen=True, slots=True)
class TableLook:
    """What one look at a table found. A reason stands in the place of what could not be read."""

    name: str
    live: TableDescription | None
    readings: Readings | str
    estimate: Estimate | str
    findings: tuple[Finding, ...]
    is_on_aws: bool

    @property
    def mends(self) -> list[Mend]:
        """The findings with their pages."""
        return [Mend(finding, *PAGES.get(finding.kind, ())) for finding in self.findings]

    @property
    def table(self) -> TableReadings | None:
        """What CloudWatch has of the table."""
        return self.readings.tables[0] if isinstance(self.readings, Readings) else None

    @property
    def no_readings(self) -> str:
        """Why there are no readings."""
        return self.readings if isinstance(self.readings, str) else ""

    @property
    def no_estimate(self) -> str:
        """Why there is no estimate."""
        return self.estimate if isinstance(self.estimate, str) else ""

    @property
    def cost(self) -> str:
        """US dollars a month."""
        return "" if isinstance(self.estimate, str) else usd(self.estimate)

    @property
    def facts(self) -> list[tuple[str, str]]:
        """Names and values, for reading."""
        return list(self._facts())

    @property
    def operations(self) -> list[Operation]:
        """Those that were asked for at all."""
        return [each for each in self.table.operations if each.latency.samples.total] if self.table else []

    def _facts(self) -> Iterator[tuple[str, str]]:
        if self.live is None:
            return
        yield "Status", self.live.status
        yield "Billing", _billing(self.live)
        if self.live.item_count is not None and self.live.size_bytes is not None:
            size = filesizeformat(self.live.size_bytes).replace("\xa0", " ")
            yield "Size", f"{self.live.item_count:,} items, {size}, as of the last six hours"
        if self.table is None or isinstance(self.readings, str):
            return
        seconds = self.readings.window.hours * 3600
        for title, kind in (("Reads", "read"), ("Writes", "write")):
            units = self.table.total(attrgetter(f"consumed_{kind}s"))
            rate = "" if units is None else f", {units / seconds:,.2f} a second"
            yield f"{title} consumed", f"{_count(units, 'units')}{rate}"
            yield f"{title} throttled", _count(self.table.total(attrgetter(f"{kind}_throttles")), "events")
        yield "Errors (HTTP 500)", _count(self.table.system_errors)
        yield "Expired by Time to Live", _count(self.table.ttl_deleted.total, "items")


def look(table: NamedTable, *, hours: float) -> TableLook:
    """Five DynamoDB requests, and at most one of CloudWatch; at once, for each may have to be waited for.

    Raises ``StorageUnavailable`` where the table cannot be read. Nothing is written.
    """
    client = dynamodb(quick=True)
    indexes = [index.name for index in table.schema.indexes]
    with ThreadPoolExecutor(3) as pool:
        plan = pool.submit(setup.plan, [table], client=client)
        kept = pool.submit(status.backups_of, table.name, client)
        read = pool.submit(cloudwatch.table_readings, {table.name: indexes}, hours=hours)
    (planned,) = plan.result()
    readings: Readings | str
    try:
        readings = read.result()
    except StorageError as exc:
        readings = str(exc)
    backups, live = kept.result(), planned.live
    of_table = readings.tables[0] if isinstance(readings, Readings) else None
    return TableLook(
        name=table.name,
        live=live,
        readings=readings,
        estimate=status.estimated([live] if live else [], readings, {table.name: backups}),
        findings=tuple(findings(planned, readings=of_table, backups=backups)),
        is_on_aws=is_aws(client),
    )


def usd(estimate: Estimate) -> str:
    """The estimate's total; "at least" where a line has no amount."""
    least = "" if estimate.is_complete else "at least "
    total = estimate.total
    return f"{least}${total:,.2f}" if total == 0 or total >= 1 else f"{least}${total:,.4f}"


def _billing(live: TableDescription) -> str:
    if live.billing_mode != "PROVISIONED":
        return "on demand"
    return f"provisioned, {live.read_capacity} read and {live.write_capacity} write units"


def _count(value: float | None, unit: str = "") -> str:
    return "no datapoints" if value is None else f"{value:,.0f} {unit}".rstrip()
