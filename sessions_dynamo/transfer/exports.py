"""Both tables, or one session, as the lines of an export: in constant memory, whatever the tables hold.

A session comes with the large values that its state points to, read again until they agree, so that an export made
while the service runs holds no session whose values are missing. Left out and counted: large values that no session
points to, and what the workers of the moment tell each other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, partial
from typing import TYPE_CHECKING, Final

import botocore.session

from sessions_dynamo import chunks, schema
from sessions_dynamo.client import dynamodb, is_aws
from sessions_dynamo.errors import SessionNotFound, boto_errors
from sessions_dynamo.operations import boto3_driver, run
from sessions_dynamo.patience import patiently
from sessions_dynamo.reading import item_kinds, scans
from sessions_dynamo.reading.item_kinds import SessionsKind
from sessions_dynamo.store import batches, queries
from sessions_dynamo.tables.names import NamedTable, named_tables
from sessions_dynamo.transfer.export_format import (
    Header,
    Item,
    TableKind,
    Trailer,
    header_line,
    item_line,
    trailer_line,
)

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

Both = tuple[NamedTable, NamedTable]
"""The sessions and the events table."""

SEGMENTS: Final = 4
"""Of the parallel Scan on AWS; an emulator serves one request at a time."""
VALUES_AT_ONCE: Final = 25
"""Large values in memory: at most 10 MB."""
ATTEMPTS: Final = 5
"""Readings of a session whose large values are replaced while they are read."""
FIRST: Final = 10
"""Items of a session's events that are asked for at once, to see whether there are any."""


@dataclass(slots=True)
class Tally:
    """What an export holds so far: items by table, sessions, large values, bytes of text; and what it left out."""

    items: Counter[TableKind] = field(default_factory=Counter)
    sessions: int = 0
    values: int = 0
    bytes: int = 0
    scanned_values: int = 0
    missing_values: int = 0
    """Large values that a session points to and that do not exist."""
    of_the_moment: int = 0
    """Items by which workers tell each other what they hold and what they have for each other, left out."""

    @property
    def unused_values(self) -> int:
        """Large values that no session points to, left out; about so many while the tables are in use."""
        return max(0, self.scanned_values - self.values)


def export_tables(
    both: Both | None = None,
    *,
    client: DynamoDBClient | None = None,
    segments: int | None = None,
    tally: Tally | None = None,
) -> Iterator[str]:
    """The lines of an export of both tables; ``tally`` counts along.

    Each item is as it was when it was read: for one point in time, stop the writers or export a restored backup.
    Raises ``TableMissing`` and the like, at the line where it happens: then no trailer comes.
    """
    client = client or dynamodb()
    segments = segments or (SEGMENTS if is_aws(client) else 1)
    return _Export(client, both or named_tables(), Tally() if tally is None else tally).tables(segments)


def export_session(
    session_id: str,
    both: Both | None = None,
    *,
    client: DynamoDBClient | None = None,
    tally: Tally | None = None,
) -> Iterator[str]:
    """The lines of an export of one session, live or not: its item, large values, regions' state and events.

    Of regions, those that boto3 knows. Raises ``SessionNotFound`` at once where the tables hold nothing of it.
    """
    export = _Export(client or dynamodb(), both or named_tables(), Tally() if tally is None else tally)
    possible = schema.is_session_id(session_id)
    session = export.session_item(session_id) if possible else None
    if not possible or (session is None and not export.has_events(session_id)):
        raise SessionNotFound(
            f"There is no session {session_id[:128]!r} in {export.sessions}, and no event of it in {export.events}."
        )
    return export.one_session(session_id, session)


class _Export:
    """One export, while it is made."""

    def __init__(self, client: DynamoDBClient, both: Both, tally: Tally) -> None:
        self._client = client
        self._tally = tally
        self.sessions, self.events = (table.name for table in both)

    def tables(self, segments: int) -> Iterator[str]:
        yield self._header()
        for page in scans.all_pages(self._client, self.sessions, segments=segments):
            yield from self._sessions_page(page)
        for page in scans.all_pages(self._client, self.events, segments=segments):
            yield from self._events_page(page)
        yield self._trailer()

    def one_session(self, session_id: str, session: Item | None) -> Iterator[str]:
        yield self._header(session_id)
        yield from self._sessions_page([] if session is None else [session])
        keys = [_key(schema.global_state_id(session_id, region)) for region in _regions(self._client.meta.region_name)]
        for item in run(self._client, batches.get(self.sessions, keys)):
            yield self._item("sessions", item)
        yield from self._events_page(self._events_of(session_id))
        yield self._trailer()

    def session_item(self, session_id: str) -> Item | None:
        with boto_errors(self.sessions):
            answer = self._client.get_item(TableName=self.sessions, Key=_key(session_id), ConsistentRead=True)
        return answer.get("Item")

    def has_events(self, session_id: str) -> bool:
        return any(not _is_of_the_moment(item) for item in self._events_of(session_id, limit=FIRST))

    # --- Lines ------------------------------------------------------------------------------------------------

    def _header(self, session_id: str | None = None) -> str:
        tables: dict[TableKind, str] = {"sessions": self.sessions, "events": self.events}
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return self._counted(header_line(Header(now, self._client.meta.region_name, tables, session_id)))

    def _item(self, table: TableKind, item: Item) -> str:
        self._tally.items[table] += 1
        return self._counted(item_line(table, item))

    def _trailer(self) -> str:
        return self._counted(trailer_line(Trailer(self._tally.items)))

    def _counted(self, line: str) -> str:
        self._tally.bytes += len(line) if line.isascii() else len(line.encode())
        return line

    def _events_page(self, items: Iterable[Item]) -> Iterator[str]:
        for item in items:
            if _is_of_the_moment(item):
                self._tally.of_the_moment += 1
            else:
                yield self._item("events", item)

    def _events_of(self, session_id: str, limit: int | None = None) -> Iterator[Item]:
        bound = {} if limit is None else {"Limit": limit}
        return queries.stream(
            boto3_driver(self._client),
            TableName=self.events,
            KeyConditionExpression="session_id = :session",
            ExpressionAttributeValues={":session": {"S": session_id}},
            ConsistentRead=True,
            **bound,
        )

    # --- Sessions with their large values ---------------------------------------------------------------------

    def _sessions_page(self, items: Iterable[Item]) -> Iterator[str]:
        sessions: list[Item] = []
        for item in items:
            match item_kinds.kind_of(item):
                case SessionsKind.SESSION:
                    sessions.append(item)
                case SessionsKind.VALUE:
                    # It comes with the session that points to it.
                    self._tally.scanned_values += 1
                case _:
                    yield self._item("sessions", item)
        found: set[str] = set()
        yield from self._values([value_id for item in sessions for value_id in item_kinds.value_ids(item)], found)
        for item in sessions:
            yield from self._session(item, found)

    def _session(self, item: Item, found: set[str]) -> Iterator[str]:
        """A session behind its large values, read anew while one of them is missing."""
        session_id = item["session_id"]["S"]
        for _ in range(ATTEMPTS):
            if found.issuperset(item_kinds.value_ids(item)):
                break
            again = patiently(partial(self.session_item, session_id))
            if again is None:
                return  # Deleted meanwhile.
            yield from self._values([value for value in item_kinds.value_ids(again) if value not in found], found)
            if again == item:
                break  # Nobody replaced them: they do not exist.
            item = again
        self._tally.missing_values += len(set(item_kinds.value_ids(item)) - found)
        self._tally.sessions += 1
        yield self._item("sessions", item)

    def _values(self, value_ids: Iterable[str], found: set[str]) -> Iterator[str]:
        """The large values that exist; their ids are added to ``found``."""
        for keys in chunks.chunks(map(_key, value_ids), VALUES_AT_ONCE):
            for item in patiently(partial(self._get, keys)):
                found.add(item["session_id"]["S"])
                self._tally.values += 1
                yield self._item("sessions", item)

    def _get(self, keys: list[Item]) -> list[Item]:
        return run(self._client, batches.get(self.sessions, keys))


def _is_of_the_moment(item: Item) -> bool:
    return schema.kind_of(item["session_id"]["S"], item["event_id"]["S"]) in schema.OF_THE_MOMENT


def _key(item_id: str) -> Item:
    return {"session_id": {"S": item_id}}


@cache
def _regions(own: str) -> tuple[str, ...]:
    """Every region that boto3 knows DynamoDB in, and this one."""
    session = botocore.session.get_session()
    known = [
        region
        for partition in session.get_available_partitions()
        for region in session.get_available_regions("dynamodb", partition)
    ]
    return tuple(dict.fromkeys([own, *known]))
