from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from sessions_dynamo.tables.descriptions import (
    IndexDescription,
    PointInTimeRecovery,
    Replica,
    StreamDescription,
    TableDescription,
)
from sessions_dynamo.upkeep.pricing import GIB, PRICES, PUBLISHED, SOURCE, Estimate, NoPrices, estimate
from sessions_dynamo.upkeep.readings import Capacity, Point, Readings, Series, TableReadings, Window

END = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)


def series(*values: float) -> Series:
    return Series(tuple(Point(END - timedelta(minutes=number), value) for number, value in enumerate(values, 1)))


def capacity(**metrics: Series) -> Capacity:
    names = (
        "consumed_reads",
        "consumed_writes",
        "provisioned_reads",
        "provisioned_writes",
        "read_throttles",
        "write_throttles",
    )
    return Capacity(**({name: Series() for name in names} | metrics))


def read(capacity_: Capacity, *, hours: float = 1, **indexes: Capacity) -> Readings:
    """The readings of the table of these tests."""
    table = TableReadings("sessions", capacity_, indexes, (), ttl_deleted=Series())
    return Readings(Window(END - timedelta(hours=hours), END, 60), (table,), user_errors=Series())


def table(**changes: Any) -> TableDescription:
    """A table in Northern Virginia, on demand, without an item."""
    live = TableDescription(
        name="sessions",
        region="us-east-1",
        status="ACTIVE",
        keys=(),
        attributes=(),
        billing_mode="PAY_PER_REQUEST",
        indexes=(),
        stream=StreamDescription(enabled=True),
        replicas=(),
        size_bytes=0,
    )
    return replace(live, **changes)


def index(size_bytes: int = 0) -> IndexDescription:
    return IndexDescription("CreatedAtIndex", "ACTIVE", (), "KEYS_ONLY", size_bytes=size_bytes)


def amounts(found: Estimate) -> dict[str, Decimal | None]:
    return {line.item: line.amount for line in found.lines}


def test_requests_on_demand_are_extrapolated_to_730_hours_with_those_of_indexes() -> None:
    readings = read(
        capacity(consumed_reads=series(1_000_000, 500_000), consumed_writes=series(100_000)),
        hours=2,
        CreatedAtIndex=capacity(consumed_writes=series(100_000)),
    )

    found = estimate([table(indexes=(index(),))], readings, 0)

    # 1.5 M reads in 2 h are 547.5 M in a month, at $0.125 a million; 0.2 M writes are 73 M at $0.625.
    assert amounts(found) == {"reads": Decimal("68.4375"), "writes": Decimal("45.625"), "storage": 0}
    assert found.total == Decimal("114.0625")
    assert found.is_complete
    assert [line.reading for line in found.lines][:2] == [
        "1,500,000 request units in 2 h",
        "200,000 request units in 2 h",
    ]


def test_provisioned_units_cost_by_the_hour_whether_used_or_not() -> None:
    indexes = (replace(index(), read_capacity=1, write_capacity=2),)
    live = table(billing_mode="PROVISIONED", read_capacity=10, write_capacity=5, indexes=indexes)
    readings = read(
        capacity(provisioned_reads=series(20, 40), consumed_reads=series(1)),
        CreatedAtIndex=capacity(provisioned_reads=series(10)),
    )

    found = estimate([live], readings, 0)

    assert amounts(found) == {
        "reads": Decimal("2.847"),  # 30 units on average, as autoscaling had them, not the 10 of this moment.
        "reads, CreatedAtIndex": Decimal("0.949"),
        "writes": Decimal("2.3725"),  # No datapoints: the 5 that the table has now.
        "writes, CreatedAtIndex": Decimal("0.949"),
        "storage": 0,
    }


def test_storage_is_of_the_table_and_its_indexes_and_recovery_of_the_table() -> None:
    live = table(size_bytes=10 * GIB, indexes=(index(2 * GIB),), point_in_time_recovery=PointInTimeRecovery("ENABLED"))

    found = amounts(estimate([live], None, 5 * GIB))

    assert found["storage"] == Decimal("3.00")
    assert found["point-in-time recovery"] == Decimal("2.00")
    assert found["backups"] == Decimal("0.50")


def test_recovery_that_is_off_costs_nothing() -> None:
    live = table(size_bytes=GIB, point_in_time_recovery=PointInTimeRecovery("DISABLED"))

    assert "point-in-time recovery" not in amounts(estimate([live], None, 0))


@pytest.mark.parametrize(
    ("readings", "said"), [(None, "no readings"), (read(capacity(read_throttles=series(1))), "no datapoints")]
)
def test_what_was_not_read_is_not_counted_as_0(readings: Readings | None, said: str) -> None:
    found = estimate([table(size_bytes=GIB)], readings)

    assert amounts(found) == {"reads": None, "writes": None, "storage": Decimal("0.25"), "backups": None}
    assert {line.reading for line in found.lines if line.item in ("reads", "writes")} == {said}
    assert found.total == Decimal("0.25")
    assert not found.is_complete


def test_a_price_that_is_not_known_is_not_counted() -> None:
    live = table(region="eu-west-1", size_bytes=GIB, point_in_time_recovery=PointInTimeRecovery("ENABLED"))

    found = estimate([live], None, 0)

    line = next(line for line in found.lines if line.item == "point-in-time recovery")
    assert (line.amount, line.reading) == (None, "1.0 GB, price not known")


def test_a_region_without_prices_has_no_estimate() -> None:
    with pytest.raises(NoPrices, match=r"No prices of ap-south-2 .* known are us-east-1, .*eu-west-1"):
        estimate([table(region="ap-south-2")], None)


def test_says_what_it_rests_on_and_what_it_leaves_out() -> None:
    live = table(replicas=(Replica("eu-west-1", "ACTIVE"),))

    found = estimate([live], read(capacity(), hours=3), 0)

    assert "us-east-1" in found.basis
    assert PUBLISHED.isoformat() in found.basis
    assert "the last 3 h extrapolated to 730 h" in found.basis
    assert "reads of DynamoDB Streams" in found.left_out[0]
    assert found.left_out[1] == "replicas in eu-west-1, which are billed there"
    assert found.as_dict()["prices"] == {"published": PUBLISHED.isoformat(), "source": SOURCE}


def test_no_price_is_0_or_negative() -> None:
    for prices in PRICES.values():
        known = [getattr(prices, name) for name in prices.__slots__]
        assert all(price is None or price > 0 for price in known)
        # In every region a write costs about five times a read; a slip of columns or digits would show.
        assert prices.write_requests / prices.read_requests == pytest.approx(5, rel=0.01)
        assert prices.write_capacity / prices.read_capacity == pytest.approx(5, rel=0.01)
