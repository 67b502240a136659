"""What workers serve of a session, so that whoever has something for them knows where they are, and what was cancelled.

A call that is over at once leaves no trace. One that runs on leaves its worker's name in its session's partition, and
then looks whether it was cancelled meanwhile; who cancels says so there first, and then looks for names. So one of the
two always sees the other, whichever comes first, by no clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from math import inf
from typing import Final

from sessions_dynamo import schema, worker_keys
from sessions_dynamo.operations import Driver, Operation, ask, blocking
from sessions_dynamo.store import batches, queries
from sessions_dynamo.store.event_items import Item
from sessions_dynamo.store.times import ahead, is_expired

CANCELLATION_TTL: Final = timedelta(minutes=10)
"""How long a cancellation is for calls that have left no trace yet: they do within seconds, by clocks that may differ
by five minutes."""


@dataclass(frozen=True, slots=True)
class Holding:
    """One call, or another thing of a session's, that a worker serves under a number of its own."""

    session_id: str
    request: str
    """The request's id as text; empty for what is no request's, such as a stream that a client follows."""
    worker_id: str
    number: int
    seen: int = 0
    """Cancellations of the session when it began."""

    @property
    def key(self) -> Item:
        return _key(self.session_id, worker_keys.holding_id(self.request, self.worker_id, self.number))


@dataclass(frozen=True, slots=True)
class Cancellation:
    """That a request's calls were cancelled, or, where ``hang_up`` says how, that their session was ended."""

    number: int = 0
    """Of the session's cancellations: calls that had seen as many when they began are not meant."""
    hang_up: bool | None = None


class HoldingOperations:
    """Traces of what runs, and of what was cancelled."""

    def __init__(self, table: str, event_ttl: timedelta) -> None:
        self._table = table
        self._ttl = event_ttl

    def leave(self, holdings: Iterable[Holding]) -> Operation[None]:
        """Leave word of what runs here: one request for 25. Raises ``StorageError``."""
        ttl = ahead(self._ttl)
        items = [
            {**held.key, "worker": {"S": held.worker_id}, "number": {"N": str(held.number)}}
            | {"seen": {"N": str(held.seen)}, schema.TTL_ATTRIBUTE: ttl}
            | ({"request_id": {"S": _shown(held.request)}} if held.request else {})
            for held in holdings
        ]
        yield from batches.put(self._table, items)

    def remove(self, holdings: Iterable[Holding]) -> Operation[None]:
        """It runs no more: one request for 25. Raises ``StorageError``."""
        yield from batches.delete(self._table, [held.key for held in holdings])

    def of_request(self, session_id: str, request: str, before: int) -> Operation[dict[str, list[int]]]:
        """The workers that serve a request's calls, and their numbers for them: one consistent Query.

        Those alone that began when the session had had fewer than ``before`` cancellations.
        """
        return self._found(session_id, worker_keys.holdings_of(request), before)

    def of_session(self, session_id: str) -> Operation[dict[str, list[int]]]:
        """The workers that serve anything of a session, and their numbers for it: one consistent Query."""
        return self._found(session_id, worker_keys.HOLDING_PREFIX)

    def cancel(self, session_id: str, request: str, cancellation: Cancellation) -> Operation[None]:
        """Say that a request's calls are cancelled; all that the session has, where ``request`` is empty."""
        item: Item = {
            **_key(session_id, worker_keys.cancellation_id(request)),
            "number": {"N": str(cancellation.number)},
            schema.TTL_ATTRIBUTE: ahead(CANCELLATION_TTL),
        }
        if cancellation.hang_up is not None:
            item["hang_up"] = {"BOOL": cancellation.hang_up}
        yield from ask(self._table, "PutItem", Item=item)

    def cancellations(self, holdings: Sequence[Holding]) -> Operation[Mapping[Holding, list[Cancellation]]]:
        """What was cancelled of these: one request for 50 of them. Raises ``StorageError``."""
        wanted = {
            held: [
                (held.session_id, worker_keys.cancellation_id(request)) for request in dict.fromkeys((held.request, ""))
            ]
            for held in holdings
        }
        keys = dict.fromkeys(key for keys in wanted.values() for key in keys)
        items = yield from batches.get(self._table, [_key(*key) for key in keys])
        found = {
            (item["session_id"]["S"], item["event_id"]["S"]): Cancellation(
                int(item["number"]["N"]), item["hang_up"]["BOOL"] if "hang_up" in item else None
            )
            for item in items
            if not is_expired(item)
        }
        return {held: [found[key] for key in keys if key in found] for held, keys in wanted.items()}

    def _found(self, session_id: str, prefix: str, before: float = inf) -> Operation[dict[str, list[int]]]:
        items = yield from queries.query_all(
            TableName=self._table,
            KeyConditionExpression="session_id = :session AND begins_with(event_id, :prefix)",
            ExpressionAttributeValues={":session": {"S": session_id}, ":prefix": {"S": prefix}},
            ConsistentRead=True,
        )
        found: dict[str, list[int]] = {}
        for item in items:
            if not is_expired(item) and int(item["seen"]["N"]) < before:
                found.setdefault(item["worker"]["S"], []).append(int(item["number"]["N"]))
        return found


class Holdings:
    """The same for a caller that waits. Thread-safe."""

    def __init__(self, operations: HoldingOperations, driver: Driver) -> None:
        self.operations = operations
        self.drive = driver

    leave = blocking(HoldingOperations.leave)
    remove = blocking(HoldingOperations.remove)
    of_request = blocking(HoldingOperations.of_request)
    of_session = blocking(HoldingOperations.of_session)
    cancel = blocking(HoldingOperations.cancel)
    cancellations = blocking(HoldingOperations.cancellations)


def _key(session_id: str, key: str) -> Item:
    return {"session_id": {"S": session_id}, "event_id": {"S": key}}


def _shown(request: str) -> str:
    """A request's id for people: a client's may hold what DynamoDB's text cannot."""
    return request[:256].encode(errors="replace").decode()
