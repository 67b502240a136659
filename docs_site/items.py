"""The page of what lies in the tables: keys and indexes as the schema declares them, items as the code writes them.

The operations of the stores ask without I/O, so they are asked here for what they would write. What an attribute means
is said here; ``tests/docs`` holds that each attribute that is written is described, and no other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

from docs_site.markdown import code, table
from sessions_dynamo import schema
from sessions_dynamo.conf import AppSettings
from sessions_dynamo.errors import StorageError
from sessions_dynamo.key_value.operations import KeyValueOperations
from sessions_dynamo.operations import Operation, Pause, Request
from sessions_dynamo.reading import item_kinds
from sessions_dynamo.reading.item_kinds import SessionsKind
from sessions_dynamo.schema import EventKind
from sessions_dynamo.store import calls
from sessions_dynamo.store.event_items import PART_BYTES, Event
from sessions_dynamo.store.event_operations import EventOperations
from sessions_dynamo.store.live_update import count_cancellation, lapse
from sessions_dynamo.store.session_items import SPILL_BYTES, Session
from sessions_dynamo.store.session_operations import SessionOperations
from sessions_dynamo.store.state import State
from sessions_dynamo.workers.holdings import Cancellation, Holding
from sessions_dynamo.workers.roster import WorkerItem
from sessions_dynamo.workers.stream_operations import Lease, StreamOperations

KEY_VALUE: Final = "value of the key-value store"
DESCRIBED: Final[dict[str, str]] = {
    SessionsKind.SESSION: "A session: who began it, what was negotiated, its state with one entry a key.",
    SessionsKind.VALUE: "A state value over 4 KiB, which the session's state points to.",
    SessionsKind.REGION: "One region's `global_state` entry.",
    KEY_VALUE: "A value of `sessions_dynamo.key_value.store`, such as FastMCP's `ctx.set_state`; it is no session's.",
    EventKind.EVENT: "An event of a stream.",
    EventKind.PART: "What does not fit into its event's item; parts count from 1.",
    EventKind.LEASE: "A stream's owner, or the holder of a standalone stream.",
    EventKind.INBOX: "A message that waits for the holder of a standalone stream.",
    EventKind.END: "A stream's end, with the response; put only if there is none.",
    EventKind.REPLY: "A client's answer to a request of the server's.",
    EventKind.CALL: "A served call, for the staff pages.",
    EventKind.HOLDING: "What a worker serves of the session, once it has run for a moment.",
    EventKind.CANCELLATION: "That a request was cancelled, or the session ended, for calls that left no trace yet.",
    EventKind.WORKER: "A worker: its lease, and what it holds.",
    EventKind.MESSAGE: "A message for one worker, in that worker's partition.",
    EventKind.NEWS: "What a worker told all others, in its own partition, and how much it was, in one of all workers.",
}
"""Each kind in a sentence."""

MEANINGS: Final[dict[str, dict[str, str]]] = {
    SessionsKind.SESSION: {
        "created_at": "ms; the sort key of `CreatedAtIndex` and `PrincipalIndex`",
        "last_activity": "ms, floored to the minute; the sort key of `LastActivityIndex`",
        "principal": "whose it is; absent where anybody may call",
        "protocol_version": "the revision that was negotiated",
        "client_params": "the client's `initialize` params, JSON",
        "initialized_at": "ms, of `notifications/initialized`",
        "terminated_at": "ms; from then on it is gone for clients",
        "log_level": "set by `logging/setLevel`",
        "subscriptions": "URIs, by `resources/subscribe`",
        "state": "JSON text by key; of a large value `item_id`, `size` (bytes) and `ttl`",
        "counters": "numbers by name",
        "cancellations": "how many of its requests were cancelled",
        "lapsed": "the last 64 streams that others ended for a worker that was gone: their calls change it no more",
        "last_save": "the mark of the last save, by which it knows itself when it is sent again",
    },
    SessionsKind.VALUE: {"value": "JSON text"},
    SessionsKind.REGION: {"value": "JSON text", "updated_at": "ms, of its last write"},
    KEY_VALUE: {"value": "JSON text, an object"},
    EventKind.EVENT: {
        "event_type": "the JSON-RPC method, or `response`, `error` or `priming`",
        "data": "JSON text, or its first part",
        "parts": "how many parts follow; absent where all of it is here",
        "retry": "ms, of the `retry` hint that was sent with it",
        "timestamp": "ms; the sort key of `TimestampIndex`",
    },
    EventKind.PART: {"data": "the text that follows"},
    EventKind.LEASE: {
        "owner": "the worker, or the `GET` that holds the standalone stream",
        "lease_expires": "ms; for the version before, which judged a lease by it; 0 for a standalone stream",
        "request_id": "the request that is answered, JSON",
        "newest": "the newest sequence of a standalone stream; -1 before the first",
    },
    EventKind.INBOX: {"message_type": "as `event_type`", "data": "JSON text"},
    EventKind.END: {
        "event_type": "`response` or `error`",
        "data": "the response, JSON text, or its first part",
        "parts": "as an event's",
        "retry": "as an event's",
        "last": "the sequence of the event before it, -1 without one; events with a higher one lie behind the end",
        "timestamp": "ms; the sort key of `TimestampIndex`",
    },
    EventKind.REPLY: {
        "data": "JSON text, or its first part",
        "parts": "how many parts there are besides; absent where all of it is here",
        "parts_id": "what their keys begin with",
    },
    EventKind.CALL: {
        "timestamp": "ms; the sort key of `TimestampIndex`",
        "method": "the JSON-RPC method",
        "tool": "its name, of a `tools/call`",
        "outcome": "`ok`, `tool_error` or a JSON-RPC error code",
        "duration_ms": "ms",
        "request_bytes": "of JSON",
        "response_bytes": "of JSON",
        "request_body": "with `RECORD_BODIES` only",
        "response_body": "with `RECORD_BODIES` only",
    },
    EventKind.HOLDING: {
        "worker": "who serves it",
        "number": "the worker's own for it",
        "seen": "how many of the session's requests had been cancelled when it began",
        "request_id": "the request's id, as text; absent for a stream that a client follows",
    },
    EventKind.CANCELLATION: {
        "number": "which of the session's cancellations it is; calls that had seen as many when they began go on",
        "hang_up": "of a session that ended: whether its client ended it, and waits for no answers",
    },
    EventKind.WORKER: {
        "beat": "its lease: a number that it moves",
        "lease_seconds": "s; who sees the number stand still for so long takes the worker for gone",
        "interval_seconds": "s until the next beat",
        "host": "its machine's name",
        "pid": "its process id",
        "started_at": "ms",
        "beat_at": "ms, by DynamoDB's clock",
        "holds": "how many streams, calls and questions it has, by kind",
    },
    EventKind.MESSAGE: {
        "topic": "what it is about",
        "data": "JSON text, or its first part",
        "parts": "the sort keys of its further parts; absent where all of it is here",
    },
    EventKind.NEWS: {
        "data": "JSON text of a list, oldest first",
        "newest": "of a worker's log: the number of its newest item",
    },
}
"""What an attribute of each kind means, besides the keys, ``shard`` and ``ttl``."""
EVERYWHERE: Final = {
    "session_id": "the partition key",
    "event_id": "the sort key",
    "shard": "the partition of the time indexes, a hash of the session's id",
    schema.TTL_ATTRIBUTE: "seconds; from then on the item is gone, whether DynamoDB has deleted it yet or not",
}

_SESSION: Final = "SESSION"
_WORKER: Final = "000000000000"
_STREAM: Final = schema.standalone_stream_id(1_700_000_000_000)
_DAY: Final = timedelta(hours=24)


@dataclass(slots=True)
class Kind:
    """A kind of item as it is written: its keys, with places for what varies, and its attributes' types."""

    name: str
    keys: list[str]
    attributes: dict[str, str] = field(default_factory=dict)


def kinds() -> dict[str, dict[str, Kind]]:
    """Every kind that is written, by table (``sessions``, ``events``) and name."""
    found: dict[str, dict[str, Kind]] = {"sessions": {}, "events": {}}
    for name, request in _asked():
        for item in _items(request):
            kind = _kind_of(name, item)
            keys = [_pattern(item[key]["S"]) for key in ("session_id", "event_id") if key in item]
            one = found[name].setdefault(kind, Kind(kind, keys))
            # An answer's further parts are of its kind, and have longer keys.
            one.keys = min(one.keys, keys, key=lambda parts: len(parts[-1]))
            one.attributes |= {attribute: next(iter(value)) for attribute, value in item.items()}
    return found


def _kind_of(name: str, item: dict[str, Any]) -> str:
    if name == "events":
        return schema.kind_of(item["session_id"]["S"], item["event_id"]["S"])
    kind = item_kinds.kind_of(item)
    return KEY_VALUE if kind is SessionsKind.OTHER else kind


def _asked() -> Iterator[tuple[str, Request]]:
    """What the operations ask for when they are driven, and nothing answers."""
    sessions = SessionOperations("sessions", session_ttl=_DAY, terminated_ttl=_DAY)
    events = EventOperations("events", event_ttl=_DAY, max_events=1000)
    streams = StreamOperations(events, "sessions")
    state = State()
    state["key"] = "x" * (SPILL_BYTES + 1)
    now = datetime.now(UTC)
    create = partial(sessions.create, principal="someone", protocol_version="2025-11-25", client_params={})

    def session() -> Session:
        # As long ago as makes each write one of its own.
        return Session(_SESSION, now - _DAY, now - _DAY, now + _DAY, principal="someone")

    changed = session()
    changed.state["key"] = 1
    text = "x" * (PART_BYTES + 1)
    call = calls.Call(_SESSION, now, "tools/call", "ok", 1.0, "tool", 1, 1, "{}", "{}")
    asked: list[tuple[str, Operation[Any]]] = [
        ("sessions", create(_SESSION, state=state)),
        ("sessions", sessions.save(changed)),
        ("sessions", sessions.update(session(), initialized_at=now, log_level="info")),
        ("sessions", sessions.subscribe(session(), "uri:one")),
        ("sessions", sessions.incr(session(), "name")),
        ("sessions", sessions.terminate(_SESSION)),
        ("sessions", count_cancellation("sessions", _SESSION, "someone")),
        ("sessions", lapse("sessions", _SESSION, _STREAM)),
        ("sessions", sessions.set_global_state(session(), "eu-west-1", {})),
        ("sessions", KeyValueOperations("sessions", _DAY).put("collection", [("key", {})])),
        ("events", streams.open(Lease(_SESSION, _STREAM, _WORKER, "1"), [_event(0, text)])),
        ("events", streams.end(_event(1, text), 0)),
        ("events", streams.standalone.claim(_SESSION, _STREAM, f"{_WORKER}/1", now)),
        ("events", streams.standalone.send(_SESSION, _STREAM, "notifications/message", "{}")),
        ("events", streams.replies.put(_SESSION, "request", text)),
        ("events", streams.inboxes.send(_WORKER, "topic", text)),
        ("events", streams.holdings.leave([Holding(_SESSION, "1", _WORKER, 1)])),
        ("events", streams.holdings.cancel(_SESSION, "1", Cancellation(1, hang_up=True))),
        ("events", streams.news.publish(_WORKER, 1, ["{}"])),
        ("events", streams.roster.keep(WorkerItem(_WORKER, 1, 15.0, 5.0, "host", 1, now, now, {}))),
        ("events", _put(calls.encode(call, {"N": "1"}))),
    ]
    for name, operation in asked:
        for request in _driven(operation):
            yield name, request


def _event(sequence: int, data: str) -> Event:
    return Event(_SESSION, _STREAM, sequence, "response", data, datetime.now(UTC), retry=1000)


def _put(item: dict[str, Any]) -> Operation[None]:
    yield Request("PutItem", {"Item": item})


def _driven(operation: Operation[Any]) -> Iterator[Request]:
    """An operation's requests, each answered by nothing in it, until it wants to read an answer."""
    try:
        step = next(operation)
        while True:
            if isinstance(step, Pause):
                step = next(operation)
                continue
            yield step
            step = operation.send({})
    except (StopIteration, KeyError, StorageError):
        return


def _items(request: Request) -> Iterator[dict[str, Any]]:
    """The items that a request writes, those of an update as far as it touches them."""
    asked = request.parameters
    if request.action == "PutItem":
        yield asked["Item"]
    elif request.action == "BatchWriteItem":
        for writes in asked["RequestItems"].values():
            yield from (write["PutRequest"]["Item"] for write in writes if "PutRequest" in write)
    elif request.action == "UpdateItem":
        yield {**asked["Key"], **_updated(asked)}


def _updated(asked: Any) -> dict[str, Any]:
    """The attributes that an update expression sets, with the types of what they are set to."""
    names, values = asked.get("ExpressionAttributeNames", {}), asked["ExpressionAttributeValues"]
    found: dict[str, Any] = {}
    for name, value in re.findall(r"(?<![.#\w])([#\w]+) = (?:if_not_exists\(\w+, )?(:\w+)", asked["UpdateExpression"]):
        found[names.get(name, name)] = values[value]
    for name, value in re.findall(r"ADD ([#\w]+) (:\w+)", asked["UpdateExpression"]):
        found[names.get(name, name)] = values[value]
    return found


def _pattern(key: str) -> str:
    """A key with words for what varies."""
    for found, word in (
        (_STREAM, "<stream>"),
        (_SESSION, "<session>"),
        (r"(?<=\.)[0-9a-f]{32}", "<request>"),
        (_WORKER, "<worker>"),
        (r"\d{13}-[0-9a-f]{16}", "<id>"),
        (r"[0-9a-f]{16}", "<random>"),
        (r"\.\d{10}(?=\.|$)", ".<sequence>"),
        (r"(?<=<worker>)\.\d+$", ".<n>"),
        (r"(?<=>)\.\d+$", ".<part>"),
        (r"^\d{10}$", "<n>"),
        ("eu-west-1", "<region>"),
        ("#collection#key", "#<collection>#<key>"),
        ("#key#", "#<key>#"),
        (r"reply\.request", "reply.<request>"),
    ):
        key = re.sub(found, word, key)
    return key


def text() -> str:
    """The page, in Markdown."""
    written = kinds()
    parts = [
        "# Item layout\n\nWhat lies in both tables: keys and indexes are those that `sessions_dynamo/schema.py`"
        " declares, items those that the code writes. Times are in milliseconds since the epoch, but for `ttl`. What"
        " holds of them, and which operation costs what, is in [Storage](../storage.md).\n"
    ]
    for name, declared, setting in (
        ("sessions", schema.SESSIONS, AppSettings.DYNAMODB_SESSIONS_TABLE),
        ("events", schema.EVENTS, AppSettings.DYNAMODB_EVENTS_TABLE),
    ):
        parts += [f"## The {name} table\n", _declared(declared, setting.name, setting.default)]
        parts += [_kind(written[name][kind]) for kind in DESCRIBED if kind in written[name]]
    return "\n".join([*parts, _everywhere()])


def _declared(declared: schema.Table, setting: str, default: str) -> str:
    keys = ", ".join(f"`{key.name}` ({key.type})" for key in declared.keys)
    about = (
        f"`{setting}`, `{default}` by default. Key: {keys}. Time to Live: `{schema.TTL_ATTRIBUTE}`. Stream:"
        f" `{schema.STREAM_VIEW_TYPE}`. Tags: `Application` `{schema.APPLICATION_TAG}`, `Purpose` `{declared.purpose}`,"
        " `Environment` as `ENVIRONMENT` has it.\n\n"
    )
    rows = [
        (
            code(index.name),
            f"`{index.partition.name}` ({index.partition.type})",
            f"`{index.sort.name}` ({index.sort.type})",
        )
        for index in declared.indexes
    ]
    return about + table(("index, keys only", "partition key", "sort key"), rows)


def _kind(kind: Kind) -> str:
    keys = ", ".join(map(code, kind.keys))
    meanings = MEANINGS[kind.name]
    own = [(code(name), type_, meanings[name]) for name, type_ in kind.attributes.items() if name not in EVERYWHERE]
    others = ", ".join(
        code(name) for name in kind.attributes if name in EVERYWHERE and name not in ("session_id", "event_id")
    )
    return (
        f"### {kind.name[0].upper()}{kind.name[1:]}\n\nKey: {keys}. {DESCRIBED[kind.name]} Besides: {others}.\n\n"
        + table(("attribute", "type", "what it holds"), own)
    )


def _everywhere() -> str:
    return "## In every item\n\n" + table(("attribute", "what it holds"), [(code(a), b) for a, b in EVERYWHERE.items()])
