"""Sessions by time and by principal, for pages and maintenance: Queries on the indexes, never a Scan.

Index reads are eventually consistent; what a page shows of a session is read from its item.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import islice
from typing import Literal

from sessions_dynamo import batches, pages, schema, session_items
from sessions_dynamo.session_items import Session, to_ms
from sessions_dynamo.sessions import SessionStore, default_store
from sessions_dynamo.state import Spilled

Order = Literal["last_activity", "created_at"]


class SessionList:
    """The sessions of a store's table."""

    def __init__(self, store: SessionStore) -> None:
        self._store = store
        self._dynamodb = store.dynamodb
        self.table = store.table

    def page(
        self,
        order: Order = "last_activity",
        *,
        newest_first: bool = True,
        limit: int = 50,
        cursor: str | None = None,
    ) -> pages.Page[Session]:
        """A page of at most 100 sessions, live or not, without their state.

        One Query a shard and one BatchGetItem, whatever the table holds. ``cursor`` is the ``next_cursor`` of the
        page before; a damaged one raises ``ValueError``.
        """
        index = schema.LAST_ACTIVITY_INDEX if order == "last_activity" else schema.CREATED_AT_INDEX
        keys, next_cursor = pages.merge_shards(
            self._dynamodb,
            self.table,
            index,
            schema.SESSIONS,
            newest_first=newest_first,
            limit=min(limit, batches.GET_SIZE),
            cursor=cursor,
        )
        return pages.Page(self._summaries([key["session_id"]["S"] for key in keys]), next_cursor)

    def by_principal(self, principal: str, *, limit: int = 50) -> list[Session]:
        """The newest sessions of one principal, at most 100, without their state."""
        limit = min(limit, batches.GET_SIZE)
        query = pages.query_all(
            self._dynamodb,
            TableName=self.table,
            IndexName=schema.PRINCIPAL_INDEX.name,
            KeyConditionExpression="principal = :principal",
            ExpressionAttributeValues={":principal": {"S": principal}},
            ScanIndexForward=False,
            Limit=limit,
        )
        return self._summaries([item["session_id"]["S"] for item in islice(query, limit)])

    def session_ids(self) -> Iterator[str]:
        """Every session's id, live or not, shard by shard."""
        for shard in _SHARDS:
            for item in self._query(schema.CREATED_AT_INDEX, shard):
                yield item["session_id"]["S"]

    def count(self) -> int:
        """Sessions active within the session TTL, by counting index rows; terminated ones are among them."""
        since = session_items.floor(datetime.now(UTC) - self._store.session_ttl)

        def count_shard(shard: str) -> int:
            return pages.count_all(
                self._dynamodb,
                TableName=self.table,
                IndexName=schema.LAST_ACTIVITY_INDEX.name,
                KeyConditionExpression="#shard = :shard AND last_activity >= :since",
                ExpressionAttributeNames=_NAMES,
                ExpressionAttributeValues={":shard": {"S": shard}, ":since": {"N": str(to_ms(since))}},
            )

        with ThreadPoolExecutor(len(_SHARDS)) as pool:
            return sum(pool.map(count_shard, _SHARDS))

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
        for session_id in self._candidates(now, idle_since):
            if limit is not None and len(deleted) >= limit:
                break
            if self._store.delete_if_inactive(session_id, now=now, idle_since=idle_since):
                deleted.append(session_id)
        return deleted

    def _candidates(self, now: datetime, idle_since: datetime | None) -> Iterator[str]:
        """Ids that look expired or idle. A session's ``ttl`` is never before its last activity plus the shorter TTL."""
        before = now - min(self._store.session_ttl, self._store.terminated_ttl)
        if idle_since is not None:
            before = max(before, idle_since)
        for shard in _SHARDS:
            rows = self._query(schema.LAST_ACTIVITY_INDEX, shard, before=before)
            for chunk in batches.chunks((row["session_id"]["S"] for row in rows), batches.GET_SIZE):
                for session in self._summaries(chunk):
                    if session.expires_at <= now or (idle_since is not None and session.last_activity < idle_since):
                        yield session.session_id

    def _query(
        self, index: schema.Index, shard: str, *, before: datetime | None = None
    ) -> Iterator[session_items.Attributes]:
        condition, bound = "#shard = :shard", {":shard": {"S": shard}}
        if before is not None:
            condition += f" AND {index.sort.name} <= :before"
            bound[":before"] = {"N": str(to_ms(before))}
        return pages.query_all(
            self._dynamodb,
            TableName=self.table,
            IndexName=index.name,
            KeyConditionExpression=condition,
            ExpressionAttributeNames=_NAMES,
            ExpressionAttributeValues=bound,
        )

    def _summaries(self, session_ids: Sequence[str]) -> list[Session]:
        keys = [{"session_id": {"S": session_id}} for session_id in session_ids]
        items = batches.get(self._dynamodb, self.table, keys, projection=session_items.SUMMARY)
        sessions = {item["session_id"]["S"]: session_items.decode(item, _no_state) for item in items}
        return [sessions[session_id] for session_id in session_ids if session_id in sessions]


_SHARDS = [str(number) for number in range(schema.SHARDS)]
_NAMES = {"#shard": "shard"}
"""A reserved word of DynamoDB."""


def _no_state(spilled: Spilled) -> str:
    raise LookupError(f"A list page reads no state, so not {spilled.item_id}.")


def default_list() -> SessionList:
    """The sessions of the process's store."""
    return SessionList(default_store())
