"""The metrics that alarms and the dashboard look at: our own, and DynamoDB's with the dimensions that AWS documents.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/metrics-dimensions.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sessions_dynamo import metrics, schema

DYNAMODB: Final = "AWS/DynamoDB"

_TABLE: Final = frozenset({"TableName"})
_INDEX: Final = frozenset({"TableName", "GlobalSecondaryIndexName"})
_OPERATION: Final = frozenset({"TableName", "Operation"})
DYNAMODB_DIMENSIONS: Final[Mapping[str, tuple[frozenset[str], ...]]] = {
    "ConsumedReadCapacityUnits": (_TABLE, _INDEX),
    "ConsumedWriteCapacityUnits": (_TABLE, _INDEX),
    "ReadThrottleEvents": (_TABLE, _INDEX),
    "WriteThrottleEvents": (_TABLE, _INDEX),
    "SuccessfulRequestLatency": (_OPERATION,),
    "SystemErrors": (_OPERATION,),
    "TimeToLiveDeletedItemCount": (_TABLE,),
    "UserErrors": (frozenset(),),
}
"""By which dimensions DynamoDB reports each metric that is used here; by others there is no datapoint, and no error."""

OPERATIONS: Final = (
    *("GetItem", "BatchGetItem", "Query"),
    *("PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "TransactWriteItems"),
)
"""Those that serving sends, by the names that the dimension ``Operation`` has for them."""


class Deployed(StrEnum):
    """What only a deployment knows; a template puts a reference in its place, Terraform an interpolation."""

    ENVIRONMENT = "environment"
    SESSIONS_TABLE = "sessions_table"
    EVENTS_TABLE = "events_table"
    LATENCY_MS = "latency_ms"
    """Above which the slowest hundredth of requests is too slow: only the author of the tools can say."""


TABLES: Final[Mapping[Deployed, schema.Table]] = {
    Deployed.SESSIONS_TABLE: schema.SESSIONS,
    Deployed.EVENTS_TABLE: schema.EVENTS,
}


@dataclass(frozen=True, slots=True)
class Watched:
    """One metric, and the statistic that is taken of it: ``Sum``, ``Average``, ``Maximum`` or a percentile."""

    namespace: str
    name: str
    statistic: str
    dimensions: tuple[tuple[str, str | Deployed], ...]
    label: str = ""

    def named(self, values: Mapping[Deployed, Any]) -> dict[str, Any]:
        """The dimensions, with what the deployment's values are."""
        return {name: values[value] if isinstance(value, Deployed) else value for name, value in self.dimensions}


def own(name: str, statistic: str, table: Deployed = Deployed.SESSIONS_TABLE, label: str = "") -> Watched:
    """A metric of the service; ``BackupAge`` is each table's."""
    dimensions = (("Environment", Deployed.ENVIRONMENT), ("Table", table))
    return Watched(metrics.NAMESPACE, name, statistic, dimensions, label)


def of_table(name: str, statistic: str, table: Deployed, **more: str) -> Watched:
    """A metric of DynamoDB's, of a table; ``Operation`` or ``GlobalSecondaryIndexName`` besides."""
    label = " ".join(more.values())
    return Watched(DYNAMODB, name, statistic, (("TableName", table), *more.items()), label)


def of_table_and_indexes(name: str, statistic: str, table: Deployed) -> tuple[Watched, ...]:
    """The same metric of a table and of each of its indexes, which DynamoDB counts apart."""
    indexes = (of_table(name, statistic, table, GlobalSecondaryIndexName=index.name) for index in TABLES[table].indexes)
    return (of_table(name, statistic, table), *indexes)
