"""The store of events: the operations on them, each driven to its end while the caller waits."""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Self

from sessions_dynamo import client
from sessions_dynamo.conf import forget_on_change
from sessions_dynamo.operations import Driver, blocking, boto3_driver
from sessions_dynamo.store.event_operations import EventOperations

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class EventStore:
    """Stores, replays, counts and trims events. Thread-safe: one serves a whole process."""

    def __init__(
        self,
        dynamodb: DynamoDBClient,
        table: str,
        *,
        event_ttl: timedelta,
        max_events: int,
        driver: Driver | None = None,
    ) -> None:
        """``driver`` drives every operation; by default boto3 does, with this client."""
        self.dynamodb = dynamodb
        self.table = table
        self.event_ttl = event_ttl
        self.drive = driver or boto3_driver(dynamodb)
        self.operations = EventOperations(table, event_ttl=event_ttl, max_events=max_events)

    @classmethod
    def from_settings(cls, *, quick: bool = False) -> Self:
        """The store that the settings describe; ``quick`` is for pages."""
        described = EventOperations.from_settings()
        return cls(
            client.dynamodb(quick=quick),
            described.table,
            event_ttl=described.event_ttl,
            max_events=described.max_events,
        )

    @property
    def max_events(self) -> int:
        """Events that a session keeps, about: the oldest over it are trimmed now and then."""
        return self.operations.max_events

    store = blocking(EventOperations.store)
    append = blocking(EventOperations.append)

    after = blocking(EventOperations.after)
    since = blocking(EventOperations.since)
    recent = blocking(EventOperations.recent)
    get = blocking(EventOperations.get)
    count = blocking(EventOperations.count)
    item_keys = blocking(EventOperations.item_keys)
    newest = blocking(EventOperations.newest)

    delete_before = blocking(EventOperations.delete_before)
    trim = blocking(EventOperations.trim)
    trim_by_chance = blocking(EventOperations.trim_by_chance)
    delete = blocking(EventOperations.delete)


@cache
def default_store() -> EventStore:
    """The process's store, made on first use."""
    return EventStore.from_settings()


forget_on_change(default_store.cache_clear, "DYNAMODB_", "AWS_", "EVENT_TTL_HOURS", "MAX_EVENTS_")
