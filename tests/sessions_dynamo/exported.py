"""Tables with every kind of item, and what an export of them must hold."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sessions_dynamo import schema, worker_keys
from sessions_dynamo.store import batches
from sessions_dynamo.store.calls import Call
from sessions_dynamo.store.event_items import PART_BYTES, Event
from sessions_dynamo.store.events import EventStore
from sessions_dynamo.store.sessions import SessionStore
from sessions_dynamo.tables.names import NamedTable
from sessions_dynamo.workers.streams import Lease, StreamStore
from tests.sessions_dynamo.support import raw_items, record_calls, state_of

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

Item = dict[str, Any]
Both = tuple[NamedTable, NamedTable]

LARGE = "x" * 5000
ODD_TEXT = 'Zürich 東京 🚀 \u2028 \x00 \x1f " \\ \r\n\t end'


def both_tables(sessions: SessionStore, events: EventStore) -> Both:
    return NamedTable(sessions.table, schema.SESSIONS), NamedTable(events.table, schema.EVENTS)


def make_every_kind(sessions: SessionStore, events: EventStore) -> None:
    """A session with an item of every kind, through the stores; one that has ended; and one item of each data type."""
    state = state_of(text=ODD_TEXT, number=1e300, deep=[[[{"": None}]]], large=LARGE, huge="é" * 190_000)
    session = sessions.create("full", principal="user:1", protocol_version="2025-11-25", state=state)
    sessions.incr(session, "calls", 10**30)
    sessions.subscribe(session, "file:///b")
    sessions.subscribe(session, "file:///a")
    sessions.set_global_state(session, "us-west-2", {"cache_warmed": True})
    sessions.set_global_state(session, "nowhere-else-1", ODD_TEXT)
    sessions.create("ended")
    sessions.terminate("ended")
    streams = StreamStore(events)
    stream_id, standalone = schema.time_ordered_id(), schema.standalone_stream_id(1_763_700_000_000)
    opened = [_event(stream_id, 0, ODD_TEXT, retry=500), _event(stream_id, 1, "é" * PART_BYTES)]
    streams.open(Lease("full", stream_id, "aaaaaaaaaaaa", '"id"'), opened)
    streams.end(_event(stream_id, 2, "{}"), 1)
    streams.standalone.claim("full", standalone, "aaaaaaaaaaaa/1", datetime.now(UTC))
    streams.standalone.send("full", standalone, "notifications/message", "{}")
    streams.replies.put("full", "1", "y" * (PART_BYTES + 1))
    put_of_the_moment(events, "full")
    call = Call("full", datetime.now(UTC), "tools/call", "ok", 12.5, tool="store", request_body=ODD_TEXT)
    record_calls(events, call)
    every_type: Item = {
        "session_id": {"S": "typed"},
        "event_id": {"S": "by hand"},
        "B": {"B": bytes(range(256))},
        "BS": {"BS": [b"\x00", b"\xff\xfe"]},
        "SS": {"SS": ["a", "ü"]},
        "NS": {"NS": ["1", "-2.5", "12345678901234567890123456789012345678"]},
        "N": {"N": "-1.0000000000000000000000000000000000001"},
        "L": {"L": [{"NULL": True}, {"BOOL": False}, {"M": {}}, {"B": b"\x80"}]},
        "M": {"M": {"S": {"S": ""}, "N": {"N": "0"}, "deeper": {"M": {"L": {"L": []}}}}},
    }
    events.drive(batches.put(events.table, [every_type]))
    sessions.drive(batches.put(sessions.table, [{"session_id": {"S": "none of ours#"}, "B": {"B": b"\x00\xff"}}]))


OF_THE_MOMENT = 7
"""Items by which workers tell each other something: those of ``put_of_the_moment``, and one on the bus."""


def put_of_the_moment(events: EventStore, session_id: str, **more: Item) -> None:
    """What workers tell each other: all kinds of it but the bus's, the last two in a session's partition."""
    worker_id = "0123456789ab"
    ttl = {"ttl": {"N": str(schema.now_ms() // 1000 + 600)}}
    keys = [
        (worker_keys.WORKERS_PARTITION, worker_id),
        (worker_keys.inbox_partition(worker_id), "1763700000000aaa"),
        (worker_keys.news_partition(worker_id), worker_keys.news_id(1)),
        ("#of a version to come", schema.event_id(schema.time_ordered_id(), 0)),
    ]
    items = [{"session_id": {"S": partition}, "event_id": {"S": key}, **ttl, **more} for partition, key in keys]
    own = {"session_id": {"S": session_id}, **ttl, "number": {"N": "1"}, **more}
    holding = {"event_id": {"S": worker_keys.holding_id("7", worker_id, 1)}, "worker": {"S": worker_id}}
    items += [
        {**own, **holding, "request_id": {"S": "7"}},
        {**own, "event_id": {"S": worker_keys.cancellation_id("7")}, "hang_up": {"BOOL": True}},
    ]
    events.drive(batches.put(events.table, items))


def make_many(sessions: SessionStore, events: EventStore, count: int) -> None:
    """Many sessions, each with state and a few events, every tenth with a large value."""
    for number in range(count):
        name, now = f"session-{number}", datetime.now(UTC)
        state = state_of(number=number, text=ODD_TEXT) if number % 10 else state_of(number=number, large=LARGE)
        sessions.create(name, principal=f"user:{number % 7}", state=state)
        stream_id = schema.time_ordered_id()
        events.append([Event(name, stream_id, step, "m", f'{{"n":{step}}}', now) for step in range(3)])


def contents(dynamodb: DynamoDBClient, both: Both) -> dict[str, list[Item]]:
    """Every item of both tables but what is of the moment, in the order of their keys, made comparable."""
    found = {}
    for table in both:
        keys = [key.name for key in table.schema.keys]
        items = [item for item in raw_items(dynamodb, table.name) if not _is_of_the_moment(item)]
        items.sort(key=lambda item: [item[key]["S"] for key in keys])
        found[table.schema.purpose] = [{name: normal(value) for name, value in item.items()} for item in items]
    return found


def _is_of_the_moment(item: Item) -> bool:
    partition: str = item["session_id"]["S"]
    key: str = item.get("event_id", {"S": ""})["S"]
    return bool(key) and (partition.startswith("#") or key.startswith(("hold.", "cancel.")))


def normal(value: Item) -> Item:
    """A typed attribute; engines differ in the order of sets and in zeros behind a decimal point."""
    [(kind, content)] = value.items()
    match kind:
        case "N":
            return {kind: Decimal(content)}
        case "NS":
            return {kind: sorted(map(Decimal, content))}
        case "SS" | "BS":
            return {kind: sorted(content)}
        case "M":
            return {kind: {name: normal(each) for name, each in content.items()}}
        case "L":
            return {kind: [normal(each) for each in content]}
        case _:
            return {kind: content}


def _event(stream_id: str, sequence: int, data: str, retry: int | None = None) -> Event:
    at = datetime.now(UTC) - timedelta(seconds=1)
    return Event("full", stream_id, sequence, "notifications/message", data, at, retry)
