"""The store of sessions: the operations on them, each driven to its end while the caller waits."""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Self

from sessions_dynamo import client
from sessions_dynamo.conf import forget_on_change
from sessions_dynamo.operations import Driver, blocking, boto3_driver
from sessions_dynamo.store.session_operations import SessionOperations

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class SessionStore:
    """Creates, loads, saves and ends sessions. Thread-safe: one serves a whole process."""

    def __init__(
        self,
        dynamodb: DynamoDBClient,
        table: str,
        *,
        session_ttl: timedelta,
        terminated_ttl: timedelta,
        driver: Driver | None = None,
    ) -> None:
        """``driver`` drives every operation; by default boto3 does, with this client."""
        self.dynamodb = dynamodb
        self.table = table
        self.session_ttl = session_ttl
        self.terminated_ttl = terminated_ttl
        self.drive = driver or boto3_driver(dynamodb)
        self.operations = SessionOperations(
            table, session_ttl=session_ttl, terminated_ttl=terminated_ttl, fetch=self.large_value
        )

    @classmethod
    def from_settings(cls, region: str | None = None, *, quick: bool = False) -> Self:
        """The store that the settings describe; ``region`` reads a replica, ``quick`` is for pages."""
        described = SessionOperations.from_settings()
        return cls(
            client.dynamodb(region, quick=quick),
            described.table,
            session_ttl=described.session_ttl,
            terminated_ttl=described.terminated_ttl,
        )

    @property
    def backend_name(self) -> str:
        """Which table, region and endpoint hold the sessions, for people."""
        meta = self.dynamodb.meta
        return f"DynamoDB table {self.table} in {meta.region_name} at {meta.endpoint_url}"

    create = blocking(SessionOperations.create)
    load = blocking(SessionOperations.load)
    peek = blocking(SessionOperations.peek)
    exists = blocking(SessionOperations.exists)
    large_value = blocking(SessionOperations.large_value)

    save = blocking(SessionOperations.save)
    touch = blocking(SessionOperations.touch)
    update = blocking(SessionOperations.update)
    subscribe = blocking(SessionOperations.subscribe)
    unsubscribe = blocking(SessionOperations.unsubscribe)
    subscribers = blocking(SessionOperations.subscribers)
    incr = blocking(SessionOperations.incr)

    terminate = blocking(SessionOperations.terminate)
    delete = blocking(SessionOperations.delete)
    delete_if_inactive = blocking(SessionOperations.delete_if_inactive)

    set_global_state = blocking(SessionOperations.set_global_state)
    get_global_state = blocking(SessionOperations.get_global_state)


@cache
def default_store(region: str | None = None) -> SessionStore:
    """The process's store, made on first use; ``region`` reads a replica."""
    return SessionStore.from_settings(region)


forget_on_change(default_store.cache_clear, "DYNAMODB_", "AWS_", "SESSION_TTL_HOURS", "EVENT_TTL_HOURS")
