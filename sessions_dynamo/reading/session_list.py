"""Sessions by time and by principal, for pages and maintenance: Queries on the indexes, never a Scan.

Index reads are eventually consistent; what a page shows of a session is read from its item.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, Final

from sessions_dynamo import chunks, schema
from sessions_dynamo.errors import boto_errors
from sessions_dynamo.reading import index_pages
from sessions_dynamo.reading.session_filters import EVERY_SESSION, Order, SessionFilter
from sessions_dynamo.store import batches, queries, session_items
from sessions_dynamo.store.session_items import Session
from sessions_dynamo.store.sessions import SessionStore, default_store
from sessions_dynamo.store.state import Spilled
from sessions_dynamo.store.times import to_ms

__all__ = ["Order", "SessionList", "default_list"]

MAX_ROWS: Final = 496
"""Index rows that one page looks at for a filter that reads items: 62 of each shard, and 5 BatchGetItems."""


class SessionList:
    """The sessions of a store's table."""

    def __init__(self, store: SessionStore) -> None:
        self.store = store
        self.table = store.table

    def page(
        self,
        order: Order = "last_activity",
        *,
        newest_first: bool = True,
        limit: int = 50,
        cursor: str | None = None,
        filters: SessionFilter = EVERY_SESSION,
    ) -> index_pages.Page[Session]:
        """A page of at most 100 sessions, live or not, without their state.

        One Query a shard, or one for a principal, and one BatchGetItem, whatever the table holds. A filter that reads
        items looks at ``MAX_ROWS`` rows at most, 100 a BatchGetItem, so its page may be short, or empty, and not the
        last. ``cursor`` is one of another page; a damaged one raises ``ValueError``.
        """
        limit = min(limit, batches.GET_SIZE)
        now = datetime.now(UTC)
        span = filters.span(order, newest_first=newest_first, now=now, session_ttl=self.store.session_ttl)
        salt = index_pages.salt_of(self.table, span, filters)
        stretch = index_pages.read(
            self.store.dynamodb,
            self.table,
            schema.SESSIONS,
            span,
            limit=MAX_ROWS if filters.reads_items else limit,
            depth=MAX_ROWS // len(span.partitions) if filters.reads_items else limit + 1,
            cursor=cursor,
            salt=salt,
        )
        found, taken = self._sift([key["session_id"]["S"] for key in stretch.keys], filters, now, limit)
        previous_cursor, next_cursor = stretch.cursors(taken, salt)
        onward = previous_cursor if stretch.is_backwards else next_cursor
        return index_pages.Page(
            found[::-1] if stretch.is_backwards else found,
            next_cursor,
            previous_cursor,
            rows=taken,
            goes_on=onward if filters.reads_items and len(found) < limit else None,
        )

    def _sift(
        self, session_ids: Sequence[str], filters: SessionFilter, now: datetime, limit: int
    ) -> tuple[list[Session], int]:
        """The first ``limit`` of some sessions that match, and how many were looked at for them."""
        found: list[Session] = []
        taken = 0
        for chunk in chunks.chunks(session_ids, batches.GET_SIZE):
            if len(found) == limit:
                break
            sessions = {session.session_id: session for session in self._summaries(chunk)}
            for session_id in chunk:
                if len(found) == limit:
                    break
                taken += 1
                session = sessions.get(session_id)
                if session is not None and filters.matches(session, now):
                    found.append(session)
        return found, taken

    def keys_of_state(self, session_ids: Sequence[str]) -> dict[str, int]:
        """How many keys of state each of at most 100 sessions has, by one eventually consistent BatchGetItem.

        DynamoDB counts nothing that it does not return: this reads the state itself. Sessions that do not fit in one
        answer (16 MB) are left out, as are those that are gone.
        """
        if not session_ids:
            return {}
        request: Any = {
            "Keys": [{"session_id": {"S": session_id}} for session_id in session_ids],
            "ProjectionExpression": "session_id, #state",
            "ExpressionAttributeNames": {"#state": "state"},
        }
        with boto_errors(self.table):
            answer = self.store.dynamodb.batch_get_item(RequestItems={self.table: request})
        return {
            item["session_id"]["S"]: len(item.get("state", {}).get("M", {}))
            for item in answer["Responses"].get(self.table, [])
        }

    def by_principal(self, principal: str, *, limit: int = 50) -> list[Session]:
        """The newest sessions of one principal, at most 100, without their state."""
        limit = min(limit, batches.GET_SIZE)
        query = queries.query_all(
            enough=lambda items: len(items) >= limit,
            TableName=self.table,
            IndexName=schema.PRINCIPAL_INDEX.name,
            KeyConditionExpression="principal = :principal",
            ExpressionAttributeValues={":principal": {"S": principal}},
            ScanIndexForward=False,
            Limit=limit,
        )
        return self._summaries([item["session_id"]["S"] for item in self.store.drive(query)[:limit]])

    def session_ids(self) -> Iterator[str]:
        """Every session's id, live or not, shard by shard."""
        for shard in SHARDS:
            for item in self._query(schema.CREATED_AT_INDEX, shard):
                yield item["session_id"]["S"]

    def count(self) -> int:
        """Sessions active within the session TTL, by counting index rows; terminated ones are among them."""
        since = session_items.floor(datetime.now(UTC) - self.store.session_ttl)

        def count_shard(shard: str) -> int:
            counted = queries.count_all(
                TableName=self.table,
                IndexName=schema.LAST_ACTIVITY_INDEX.name,
                KeyConditionExpression="#shard = :shard AND last_activity >= :since",
                ExpressionAttributeNames=_NAMES,
                ExpressionAttributeValues={":shard": {"S": shard}, ":since": {"N": str(to_ms(since))}},
            )
            return self.store.drive(counted)

        with ThreadPoolExecutor(len(SHARDS)) as pool:
            return sum(pool.map(count_shard, SHARDS))

    def clear_expired(self, *, idle_since: datetime | None = None, limit: int | None = None) -> list[str]:
        """Delete sessions whose ``ttl`` has passed, or that were last active before ``idle_since``; their ids.

        It does early what DynamoDB's Time to Live does late. ``limit`` bounds the deletions of one run; the next
        run goes on. Their events expire by a ``ttl`` of their own.
        """
        now = datetime.now(UTC)
        if idle_since is not None:
            # Activity is stored floored: a session of that same minute may have been active after it.
            idle_since = session_items.floor(idle_since)
        deleted: list[str] = []
        for session_id in (found for shard in SHARDS for found in self.expired(shard, now, idle_since)):
            if limit is not None and len(deleted) >= limit:
                break
            if self.store.delete_if_inactive(session_id, now=now, idle_since=idle_since):
                deleted.append(session_id)
        return deleted

    def expired(self, shard: str, now: datetime, idle_since: datetime | None = None) -> Iterator[str]:
        """Ids of one index shard's sessions whose ``ttl`` has passed, or that were last active before ``idle_since``.

        A session's ``ttl`` is never before its last activity plus the shorter TTL, so younger rows are not read.
        """
        rows = self._query(schema.LAST_ACTIVITY_INDEX, shard, before=self._expires_before(now, idle_since))
        for chunk in chunks.chunks((row["session_id"]["S"] for row in rows), batches.GET_SIZE):
            for session in self._summaries(chunk):
                if session.expires_at <= now or (idle_since is not None and session.last_activity < idle_since):
                    yield session.session_id

    def count_expired(self, shard: str, now: datetime, idle_since: datetime | None = None) -> int:
        """About how many ids ``expired`` yields: the index rows that it looks at."""
        before = self._expires_before(now, idle_since)
        return self.store.drive(queries.count_all(**self._request(schema.LAST_ACTIVITY_INDEX, shard, before=before)))

    def _expires_before(self, now: datetime, idle_since: datetime | None) -> datetime:
        before = now - min(self.store.session_ttl, self.store.terminated_ttl)
        return before if idle_since is None else max(before, idle_since)

    def existing(self, session_ids: Iterable[str]) -> set[str]:
        """Those of some sessions that have an item, live or not; consistent, one request for 100."""
        keys = [{"session_id": {"S": session_id}} for session_id in session_ids]
        items = self.store.drive(batches.get(self.table, keys, projection=("session_id",)))
        return {item["session_id"]["S"] for item in items}

    def _query(
        self, index: schema.Index, shard: str, *, before: datetime | None = None
    ) -> Iterator[session_items.Attributes]:
        return queries.stream(self.store.drive, **self._request(index, shard, before=before))

    def _request(self, index: schema.Index, shard: str, *, before: datetime | None = None) -> dict[str, Any]:
        condition, bound = "#shard = :shard", {":shard": {"S": shard}}
        if before is not None:
            condition += f" AND {index.sort.name} <= :before"
            bound[":before"] = {"N": str(to_ms(before))}
        return {
            "TableName": self.table,
            "IndexName": index.name,
            "KeyConditionExpression": condition,
            "ExpressionAttributeNames": _NAMES,
            "ExpressionAttributeValues": bound,
        }

    def _summaries(self, session_ids: Sequence[str]) -> list[Session]:
        keys = [{"session_id": {"S": session_id}} for session_id in session_ids]
        items = self.store.drive(batches.get(self.table, keys, projection=session_items.SUMMARY))
        sessions = {item["session_id"]["S"]: session_items.decode(item, _no_state) for item in items}
        return [sessions[session_id] for session_id in session_ids if session_id in sessions]


SHARDS = index_pages.SHARDS
_NAMES = {"#shard": "shard"}
"""A reserved word of DynamoDB."""


def _no_state(spilled: Spilled) -> str:
    raise LookupError(f"A list page reads no state, so not {spilled.item_id}.")


def default_list() -> SessionList:
    """The sessions of the process's store."""
    return SessionList(default_store())
