"""What the store's tests look through: the wire, a clock they move, and raw items."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any

from sessions_dynamo.dataplane.observers import Asked
from sessions_dynamo.store import batches, calls, session_items, times
from sessions_dynamo.store.calls import Call
from sessions_dynamo.store.events import EventStore
from sessions_dynamo.store.session_items import Session
from sessions_dynamo.store.sessions import SessionStore
from sessions_dynamo.store.state import Entry, State
from tests.sessions_dynamo.drivers import ASYNCIO, BOTO3

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@dataclass(frozen=True, slots=True)
class Request:
    """One DynamoDB request, as the store asked for it."""

    operation: str
    params: dict[str, Any]
    driver: str


@dataclass(slots=True)
class Wire:
    """Every request of a client and of the data planes, in order."""

    requests: list[Request] = field(default_factory=list)

    def hear(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        self.requests.append(Request(model.name, params, BOTO3))

    def hear_on_loop(self, asked: Asked) -> None:
        self.requests.append(Request(asked.action, dict(asked.parameters), ASYNCIO))

    @contextmanager
    def counting(self) -> Iterator[Counter[str]]:
        """The requests by operation, once the block has ended."""
        before, counts = len(self.requests), Counter[str]()
        yield counts
        counts.update(request.operation for request in self.requests[before:])

    def of(self, operation: str) -> list[dict[str, Any]]:
        """The parameters of every request of one operation."""
        return [request.params for request in self.requests if request.operation == operation]


class Clock:
    """The store's clock, standing still until it is moved."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def advance(self, **by: float) -> None:
        """Move on by the arguments of a ``timedelta``."""
        self.now += timedelta(**by)

    def now_ms(self) -> int:
        return times.to_ms(self.now)

    @property
    def datetime(self) -> type[datetime]:
        """A ``datetime`` whose ``now`` is this clock's."""
        clock = self

        class Stopped(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
                return clock.now.astimezone(tz)

        return Stopped


def record_calls(store: EventStore, *served: Call) -> list[str]:
    """Write calls as the endpoint does; returns their ids."""
    items = [calls.encode(call, times.ahead(store.event_ttl)) for call in served]
    store.drive(batches.put(store.table, items))
    return [item["event_id"]["S"] for item in items]


def raw_items(dynamodb: DynamoDBClient, table: str) -> list[dict[str, Any]]:
    """Every item of a table."""
    # So many that moto on a busy machine answers within the client's five seconds.
    pages = dynamodb.get_paginator("scan").paginate(
        TableName=table, ConsistentRead=True, PaginationConfig={"PageSize": 100}
    )
    return [item for page in pages for item in page["Items"]]


def raw_session(store: SessionStore, session_id: str) -> dict[str, Any] | None:
    """A session's item."""
    return store.dynamodb.get_item(
        TableName=store.table, Key={"session_id": {"S": session_id}}, ConsistentRead=True
    ).get("Item")


def large_values(store: SessionStore) -> dict[str, dict[str, Any]]:
    """The items of every large value and ``global_state`` entry, by key."""
    items = {item["session_id"]["S"]: item for item in raw_items(store.dynamodb, store.table)}
    return {key: item for key, item in items.items() if "#" in key}


def created_with(store: SessionStore, entries: dict[str, Entry]) -> Session:
    """A session that holds more than one save may add."""
    session = store.create()
    store.dynamodb.put_item(TableName=store.table, Item=session_items.encode(session, entries))
    return store.load(session.session_id)


def state_of(**values: Any) -> State:
    """A first state."""
    state = State()
    state.update(values)
    return state


def recreate(client: DynamoDBClient, table: str) -> None:
    """Lose the table, and make an empty one under its name."""
    described = client.describe_table(TableName=table)["Table"]
    client.update_table(TableName=table, DeletionProtectionEnabled=False)
    client.delete_table(TableName=table)
    client.create_table(
        TableName=table,
        KeySchema=described["KeySchema"],
        AttributeDefinitions=[
            attribute
            for attribute in described["AttributeDefinitions"]
            if attribute["AttributeName"] in {key["AttributeName"] for key in described["KeySchema"]}
        ],
        BillingMode="PAY_PER_REQUEST",
    )
