"""What the tables cost in a month, estimated from readings. All prices stand here, with their date and source.

Prices are of the Standard table class, in US dollars, before taxes, discounts and the free tier. Where a region's
price is not known for certain it is ``None``, and its line has no amount.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from operator import attrgetter
from typing import Any, Final

from django.template.defaultfilters import filesizeformat

from sessions_dynamo.tables.descriptions import IndexDescription, TableDescription
from sessions_dynamo.upkeep.readings import Capacity, Readings, Series, TableReadings

PUBLISHED: Final = date(2026, 9, 11)
SOURCE: Final = "https://pricing.us-east-1.amazonaws.com/offers/v1.0/aws/AmazonDynamoDB/current/region_index.json"
"""AWS's price list, of the publication of that date. Capacity units by the hour, where they are known from no other
place: https://github.com/awslabs/amazon-dynamodb-tools, ``archived/reco``, of January 2026."""

HOURS_A_MONTH: Final = 730
GIB: Final = 2**30
"""What AWS bills as a GB."""
MILLION: Final = 10**6


@dataclass(frozen=True, slots=True)
class Prices:
    """One region's, each as AWS states it; ``None`` where it is not known."""

    read_requests: Decimal
    """A million read request units, on demand."""
    write_requests: Decimal
    """A million write request units, on demand."""
    read_capacity: Decimal
    """One provisioned read capacity unit for an hour."""
    write_capacity: Decimal
    """One provisioned write capacity unit for an hour."""
    storage: Decimal
    """A GB for a month; of indexes too."""
    recovery: Decimal | None
    """Point-in-time recovery: a GB of the table for a month."""
    backups: Decimal | None
    """On-demand backups: a GB for a month."""


def _prices(*amounts: str | None) -> Prices:
    return Prices(*(None if amount is None else Decimal(amount) for amount in amounts))  # type: ignore[arg-type]


PRICES: Final[Mapping[str, Prices]] = {
    "us-east-1": _prices("0.125", "0.625", "0.00013", "0.00065", "0.25", "0.20", "0.10"),
    "us-east-2": _prices("0.125", "0.625", "0.00013", "0.00065", "0.25", None, None),
    "eu-west-1": _prices("0.1415", "0.705", "0.000147", "0.000735", "0.283", None, None),
    "eu-central-1": _prices("0.1525", "0.7625", "0.0001586", "0.000793", "0.306", "0.2448", None),
    "ap-northeast-1": _prices("0.1425", "0.715", "0.0001484", "0.000742", "0.285", None, None),
}


class NoPrices(LookupError):
    """No prices of the region are known here."""


@dataclass(frozen=True, slots=True)
class Line:
    """One part of the estimate. ``amount`` is US dollars a month; ``None`` where ``reading`` says what is missing."""

    table: str
    """Empty for both together."""
    item: str
    reading: str
    amount: Decimal | None

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; the amount as a number."""
        amount = None if self.amount is None else float(round(self.amount, 4))
        return {"table": self.table, "item": self.item, "reading": self.reading, "usd_a_month": amount}


@dataclass(frozen=True, slots=True)
class Estimate:
    """A month's cost in one region."""

    region: str
    lines: tuple[Line, ...]
    basis: str
    """Prices and extrapolation, in a sentence."""
    left_out: tuple[str, ...]
    """What is never part of it, because no reading tells it."""

    @property
    def total(self) -> Decimal:
        """US dollars a month, of the lines that have an amount."""
        return sum((line.amount for line in self.lines if line.amount is not None), Decimal(0))

    @property
    def is_complete(self) -> bool:
        """Whether every line has an amount; else the total is a lower bound."""
        return all(line.amount is not None for line in self.lines)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "usd_a_month": float(round(self.total, 2)),
            "is_complete": self.is_complete,
            "region": self.region,
            "lines": [line.as_dict() for line in self.lines],
            "basis": self.basis,
            "prices": {"published": PUBLISHED.isoformat(), "source": SOURCE},
            "left_out": list(self.left_out),
        }


def estimate(
    descriptions: Sequence[TableDescription], readings: Readings | None, backups_bytes: int | None = None
) -> Estimate:
    """The month that the last hours would make, if it went on so: ``readings`` extrapolated to 730 hours.

    Without readings the requests have no amount; ``backups_bytes`` is of on-demand backups, ``None`` where unknown.
    Raises ``NoPrices`` for a region that has none here.
    """
    region = descriptions[0].region
    prices = PRICES.get(region)
    if prices is None:
        known = ", ".join(PRICES)
        raise NoPrices(f"No prices of {region} are known here, so there is no estimate; known are {known}.")
    by_table = {table.table: table for table in readings.tables} if readings else {}
    lines: list[Line] = []
    for live in descriptions:
        lines += _throughput(live, by_table.get(live.name), readings.window.hours if readings else 0, prices)
        lines += _storage(live, prices)
    if backups_bytes is None:
        lines.append(Line("", "backups", "not known", None))
    elif backups_bytes:
        lines.append(_stored("", "backups", backups_bytes, prices.backups))
    published = PUBLISHED.isoformat()
    basis = f"AWS's list prices in {region} of {published}, Standard class, without free tier, discounts and taxes"
    if readings:
        basis += f"; the last {readings.window.hours:g} h extrapolated to {HOURS_A_MONTH} h"
    return Estimate(region, tuple(lines), basis, tuple(_left_out(descriptions)))


def _throughput(live: TableDescription, found: TableReadings | None, hours: float, prices: Prices) -> Iterator[Line]:
    if live.billing_mode == "PROVISIONED":
        yield from _provisioned(live, found, prices)
        return
    for item, of, price in (
        ("reads", attrgetter("consumed_reads"), prices.read_requests),
        ("writes", attrgetter("consumed_writes"), prices.write_requests),
    ):
        units = found.total(of) if found else None
        if units is None:
            yield Line(live.name, item, "no datapoints" if found else "no readings", None)
            continue
        month = Decimal(units) * HOURS_A_MONTH / Decimal(hours)
        yield Line(live.name, item, f"{units:,.0f} request units in {hours:g} h", month / MILLION * price)


def _provisioned(live: TableDescription, found: TableReadings | None, prices: Prices) -> Iterator[Line]:
    """Provisioned units cost the same whether they are used or not: on average, as autoscaling moves them."""
    parts: list[tuple[str, TableDescription | IndexDescription, Capacity | None]] = [
        ("", live, found.capacity if found else None)
    ]
    parts += [(f", {index.name}", index, found.indexes.get(index.name) if found else None) for index in live.indexes]
    for kind, price in (("read", prices.read_capacity), ("write", prices.write_capacity)):
        for suffix, described, capacity in parts:
            read: Series = getattr(capacity, f"provisioned_{kind}s", Series())
            units = getattr(described, f"{kind}_capacity") if read.mean is None else read.mean
            if units is None:
                yield Line(live.name, f"{kind}s{suffix}", "capacity not known", None)
                continue
            month = Decimal(units) * HOURS_A_MONTH * price
            yield Line(live.name, f"{kind}s{suffix}", f"{units:,.1f} units provisioned", month)


def _storage(live: TableDescription, prices: Prices) -> Iterator[Line]:
    sizes = [live.size_bytes, *(index.size_bytes for index in live.indexes)]
    known = [size for size in sizes if size is not None]
    if known:
        yield _stored(live.name, "storage", sum(known), prices.storage)
    recovery = live.point_in_time_recovery
    if recovery and recovery.status == "ENABLED":
        # Indexes are rebuilt at a restore, so they are no part of it.
        yield _stored(live.name, "point-in-time recovery", live.size_bytes, prices.recovery)


def _stored(table: str, item: str, size: int | None, price: Decimal | None) -> Line:
    if size is None:
        return Line(table, item, "size not known", None)
    reading = filesizeformat(size).replace("\xa0", " ")
    if price is None:
        return Line(table, item, f"{reading}, price not known", None)
    return Line(table, item, reading, Decimal(size) / GIB * price)


def _left_out(descriptions: Iterable[TableDescription]) -> Iterator[str]:
    yield "reads of DynamoDB Streams, restores, exports and data transfer"
    if replicas := sorted({replica.region for live in descriptions for replica in live.replicas}):
        yield f"replicas in {', '.join(replicas)}, which are billed there"
    if any(live.encryption and live.encryption.type == "KMS" for live in descriptions):
        yield "KMS requests"
