"""The bus: short-lived notifications that every worker reads."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from sessions_dynamo import schema
from sessions_dynamo.errors import boto_errors
from sessions_dynamo.store import queries, values
from sessions_dynamo.store.times import ahead

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

SIGNAL_TTL: Final = timedelta(hours=1)
"""How long an answer or a bus item is kept; each is read within seconds."""


@dataclass(frozen=True, slots=True)
class BusItem:
    """One notification on the bus: a topic and JSON, from a worker."""

    bus_id: str
    origin: str
    topic: str
    payload: Any


class Bus:
    """Notifications in the order of their writers' clocks. Thread-safe."""

    def __init__(self, dynamodb: DynamoDBClient, table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table

    def publish(self, origin: str, topic: str, payload: Any) -> str:
        """Put a notification on the bus; its id. Raises ``StorageError``."""
        bus_id = schema.bus_id()
        item = {
            "session_id": {"S": schema.BUS_PARTITION},
            "event_id": {"S": bus_id},
            "origin": {"S": origin},
            "topic": {"S": topic},
            "data": {"S": values.dumps(payload)},
            schema.TTL_ATTRIBUTE: ahead(SIGNAL_TTL),
        }
        with boto_errors(self._table):
            self._dynamodb.put_item(TableName=self._table, Item=item)
        return bus_id

    def since(self, since_ms: int) -> list[BusItem]:
        """The bus's notifications from a time (epoch ms) on, by a consistent read. Raises ``StorageError``."""
        return [
            BusItem(item["event_id"]["S"], item["origin"]["S"], item["topic"]["S"], values.loads(item["data"]["S"]))
            for item in queries.query_all(
                self._dynamodb,
                TableName=self._table,
                KeyConditionExpression="session_id = :bus AND event_id >= :since",
                ExpressionAttributeValues={
                    ":bus": {"S": schema.BUS_PARTITION},
                    ":since": {"S": f"{since_ms:013d}"},
                },
                ConsistentRead=True,
            )
        ]
