"""The bus: short-lived notifications that every worker reads."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from sessions_dynamo import schema, worker_keys
from sessions_dynamo.operations import Driver, Operation, ask, blocking
from sessions_dynamo.store import queries, values
from sessions_dynamo.store.times import ahead

SIGNAL_TTL: Final = timedelta(hours=1)
"""How long an answer or a bus item is kept; each is read within seconds."""
STAFF: Final = "staff"
"""The origin of what staff did: no worker's, so that every worker hears it."""


@dataclass(frozen=True, slots=True)
class BusItem:
    """One notification on the bus: a topic and JSON, from a worker or from staff."""

    bus_id: str
    origin: str
    topic: str
    payload: Any


class BusOperations:
    """Notifications in the order of their writers' clocks."""

    def __init__(self, table: str) -> None:
        self._table = table

    def publish(self, origin: str, topic: str, payload: Any) -> Operation[str]:
        """Put a notification on the bus; its id. Raises ``StorageError``."""
        bus_id = schema.time_ordered_id()
        item = {
            "session_id": {"S": worker_keys.BUS_PARTITION},
            "event_id": {"S": bus_id},
            "origin": {"S": origin},
            "topic": {"S": topic},
            "data": {"S": values.dumps(payload)},
            schema.TTL_ATTRIBUTE: ahead(SIGNAL_TTL),
        }
        yield from ask(self._table, "PutItem", Item=item)
        return bus_id

    def since(self, since_ms: int) -> Operation[list[BusItem]]:
        """The bus's notifications from a time (epoch ms) on, by a consistent read. Raises ``StorageError``."""
        items = yield from queries.query_all(
            TableName=self._table,
            KeyConditionExpression="session_id = :bus AND event_id >= :since",
            ExpressionAttributeValues={":bus": {"S": worker_keys.BUS_PARTITION}, ":since": {"S": f"{since_ms:013d}"}},
            ConsistentRead=True,
        )
        return [
            BusItem(item["event_id"]["S"], item["origin"]["S"], item["topic"]["S"], values.loads(item["data"]["S"]))
            for item in items
        ]


class Bus:
    """The bus for a caller that waits. Thread-safe."""

    def __init__(self, operations: BusOperations, driver: Driver) -> None:
        self.operations = operations
        self.drive = driver

    publish = blocking(BusOperations.publish)
    since = blocking(BusOperations.since)
