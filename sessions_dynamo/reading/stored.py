"""How much each session has stored, from an index alone."""

from __future__ import annotations

from dataclasses import dataclass

from sessions_dynamo import schema
from sessions_dynamo.operations import Operation
from sessions_dynamo.store import queries
from sessions_dynamo.store.event_items import EVENT_KINDS


@dataclass(slots=True)
class Stored:
    """What the index tells of one session's items: since when there are any (ms), and how many are events."""

    since: int
    events: int = 0


def stored_by_session(table: str, shard: str) -> Operation[dict[str, Stored]]:
    """What one index shard's sessions have stored, by session, with what has expired and is not deleted yet.

    By one Query of the index, keys only and eventually consistent: no item is read.
    """
    index = schema.TIMESTAMP_INDEX
    found: dict[str, Stored] = {}
    query: queries.Query | None = {
        "TableName": table,
        "IndexName": index.name,
        "KeyConditionExpression": "#shard = :shard",
        "ExpressionAttributeNames": {"#shard": index.partition.name},
        "ExpressionAttributeValues": {":shard": {"S": shard}},
    }
    while query is not None:
        page = yield from queries.query_page(query)
        for row in page.items:
            session_id, key = row["session_id"]["S"], row["event_id"]["S"]
            stored = found.setdefault(session_id, Stored(int(row[index.sort.name]["N"])))
            stored.events += schema.kind_of(session_id, key) in EVENT_KINDS
        query = page.following
    return found
