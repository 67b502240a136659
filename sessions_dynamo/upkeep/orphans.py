"""Items of the sessions table that nothing leads to any more: large values and regions' state.

A crash between a large value and the pointer to it leaves one, as does a write whose answer was lost; a region's
``global_state`` entry outlives its session. Time to Live removes them too, two session TTLs after they were written.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from botocore.exceptions import ClientError

from sessions_dynamo import schema
from sessions_dynamo.errors import boto_errors
from sessions_dynamo.reading import item_kinds, scans
from sessions_dynamo.reading.item_kinds import SessionsKind
from sessions_dynamo.store import batches
from sessions_dynamo.store.sessions import SessionStore

SAFE_AGE: Final = timedelta(hours=1)
"""What is younger is never taken for left behind: a large value is put before its session points to it, and a
replica may show an item before the session that it belongs to."""

_READ: Final = ("session_id", schema.TTL_ATTRIBUTE, item_kinds.REGION_ATTRIBUTE)


@dataclass(frozen=True, slots=True)
class Orphan:
    """An item that belongs to no session, and the ``ttl`` (epoch s) that it was seen with."""

    item_id: str
    kind: SessionsKind
    ttl: str


def find(store: SessionStore, *, segment: int, segments: int) -> Iterator[Orphan]:
    """The orphans of one segment of the table, by a Scan of it and one BatchGetItem of their sessions a page."""
    for page in scans.segment_pages(store.dynamodb, store.table, segment=segment, segments=segments, projection=_READ):
        kinds = {item["session_id"]["S"]: item_kinds.kind_of(item) for item in page}
        old = [item for item in page if _is_old(item, kinds[item["session_id"]["S"]], store.session_ttl)]
        owners = _owners(store, {item_kinds.owner_of(item["session_id"]["S"]) for item in old})
        for item in old:
            item_id = item["session_id"]["S"]
            pointed = owners.get(item_kinds.owner_of(item_id))
            in_use = pointed is not None and (kinds[item_id] is SessionsKind.REGION or item_id in pointed)
            if not in_use:
                yield Orphan(item_id, kinds[item_id], item[schema.TTL_ATTRIBUTE]["N"])


def delete(store: SessionStore, orphan: Orphan) -> bool:
    """Delete an orphan unless it is gone or was written since; whether this call did."""
    try:
        with boto_errors(store.table):
            store.dynamodb.delete_item(
                TableName=store.table,
                Key={"session_id": {"S": orphan.item_id}},
                # A new ttl is the sign of use.
                ConditionExpression="#ttl = :seen",
                ExpressionAttributeNames={"#ttl": schema.TTL_ATTRIBUTE},
                ExpressionAttributeValues={":seen": {"N": orphan.ttl}},
            )
    except ClientError:
        return False
    return True


def _is_old(item: dict[str, Any], kind: SessionsKind, session_ttl: timedelta) -> bool:
    """Whether a large value or a region's entry was written longer than ``SAFE_AGE`` ago, judged by its ``ttl``."""
    if kind not in (SessionsKind.VALUE, SessionsKind.REGION) or schema.TTL_ATTRIBUTE not in item:
        return False
    # Both are written to live for two session TTLs.
    written = int(item[schema.TTL_ATTRIBUTE]["N"]) - 2 * session_ttl.total_seconds()
    return written <= schema.now_ms() / 1000 - SAFE_AGE.total_seconds()


def _owners(store: SessionStore, session_ids: set[str]) -> dict[str, set[str]]:
    """The large values that each of these sessions points to; without those that do not exist."""
    keys = [{"session_id": {"S": session_id}} for session_id in sorted(session_ids)]
    items = store.drive(batches.get(store.table, keys, projection=("session_id", "state")))
    return {item["session_id"]["S"]: set(item_kinds.value_ids(item)) for item in items}
