"""One session's timeline: its streams, their events and its served calls, newest first, in pages.

A session's events sort by their stream's beginning, so the newest are not simply the last: a page reads a window of
whole pages of DynamoDB (almost always the session's only one) and sorts it by time. Calls sort by time as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any, Final

from django.core import signing

from sessions_dynamo import schema, worker_keys
from sessions_dynamo.errors import boto_errors
from sessions_dynamo.reading import entries
from sessions_dynamo.reading.entries import Entry, Item, Show, from_ms
from sessions_dynamo.schema import EventKind
from sessions_dynamo.store.event_items import EVENT_KINDS
from sessions_dynamo.store.events import EventStore

_SALT: Final = "sessions_dynamo.timeline"  # Of cursors that are out: a name that no move changes.
WINDOW_QUERIES: Final = 4
"""Queries for a page's events, 1 MB each; streams that began earlier are on later pages."""
CALL_QUERIES: Final = 3
MAX_CALLS: Final = 1000
"""Calls that a filtered page reads before it offers to go on."""
_OF_STREAMS: Final = EVENT_KINDS | {EventKind.LEASE, EventKind.INBOX}
END: Final = ""
"""A position's place where there is no more to read."""


@dataclass(slots=True)
class Stream:
    """A stream with its owner, lease and end, as far as the window holds them. Times of leases are epoch ms."""

    stream_id: str
    owner: str | None = None
    owner_is_gone: bool = False
    """Whether the owner is a worker of which nothing is known any more: for whoever knows the workers to say."""
    lease_expires: int | None = None
    request_id: str | None = None
    """JSON text of the id of the request that it answers; ``None`` for a standalone stream."""
    ended: Entry | None = None
    events: int = 0
    newest: datetime | None = None
    waiting: int = 0
    """Messages in its inbox: sent, and not yet taken by a holder."""

    @property
    def began(self) -> datetime:
        """When the stream began; a standalone one begins with its session."""
        return from_ms(_time(self.stream_id))

    @property
    def state(self) -> str:
        """``ended``, ``open`` or ``lapsed`` (its worker gave no sign in time), ``held``, or ``unowned``."""
        if self.ended:
            return "ended"
        if self.owner is None:
            return "unowned"
        if not self.lease_expires:
            return "held"
        if self.is_of_worker:
            return "lapsed" if self.owner_is_gone else "open"
        return "open" if self.lease_expires > schema.now_ms() else "lapsed"

    @property
    def is_of_worker(self) -> bool:
        """Whether its worker has a lease for all of its streams, not one for each, as those of the version before."""
        return self.owner is not None and worker_keys.is_worker_id(self.owner)

    @property
    def lease_until(self) -> datetime | None:
        """When a lease of its own lapses unless it is renewed; ``None`` where it has none."""
        if self.ended or self.is_of_worker or not self.lease_expires:
            return None
        return from_ms(self.lease_expires)


@dataclass(frozen=True, slots=True)
class TimelinePage:
    """One page, newest first; ``streams``, newest first, are those of the window that it was read from."""

    entries: list[Entry]
    streams: list[Stream]
    next_cursor: str | None
    calls_read: int
    goes_back_to: datetime | None = None
    """Streams that began before this were not read for this page; ``None`` where all were."""


@dataclass(frozen=True, slots=True)
class _Position:
    """Where a page goes on: the window's start key, the last event shown of it, and the last call passed."""

    window: str | None = None
    event: tuple[int, str] | None = None
    call: str | None = None


@dataclass(slots=True)
class _Window:
    entries: list[Entry] = field(default_factory=list)
    streams: dict[str, Stream] = field(default_factory=dict)
    next: str = END

    @property
    def horizon(self) -> int:
        """Older entries (ms) may be in a window that was not read yet, and are not to be shown before it."""
        return min([_time(self.next), *(entry.order[0] for entry in self.entries)]) if self.next else 0


@dataclass(slots=True)
class _Calls:
    entries: list[Entry] = field(default_factory=list)
    read: int = 0
    horizon: int = 0
    """Older calls (ms) were not read yet, and no older event is to be shown before them."""
    next: str = END


def page(
    store: EventStore,
    session_id: str,
    *,
    show: Show = Show.ALL,
    type_: str = "",
    before: datetime | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> TimelinePage:
    """A page of a session's timeline, live or not: at most seven Queries, one or two for most sessions.

    ``cursor`` is the ``next_cursor`` of the page before, of the same filter; a damaged one raises ``ValueError``.
    """
    salt = repr((_SALT, session_id, show.value, type_, before and entries.to_ms(before)))
    position = _decode(cursor, salt) if cursor else _beginning(before)
    test = entries.shows(show, type_)
    window = _Window() if position.window == END else _read_window(store, session_id, position.window)
    calls = _Calls()
    if position.call != END and show is not Show.EVENTS:
        calls = _read_calls(store, session_id, position.call, show, type_, limit)
    events = [e for e in window.entries if test(e) and (position.event is None or e.order < position.event)]

    horizon = max(calls.horizon, window.horizon)
    listed = sorted([*events, *calls.entries], key=lambda entry: entry.order, reverse=True)
    shown = list(islice((entry for entry in listed if entry.order[0] >= horizon), limit))
    after = _after(position, window, len(events), calls, shown, before)
    finished = after.window == END and after.call == END
    return TimelinePage(
        entries=shown,
        streams=sorted(window.streams.values(), key=lambda stream: stream.stream_id, reverse=True),
        next_cursor=None if finished else signing.dumps([after.window, after.event, after.call], salt=salt),
        calls_read=calls.read,
        goes_back_to=from_ms(_time(window.next)) if window.next else None,
    )


def _after(
    position: _Position, window: _Window, events: int, calls: _Calls, shown: list[Entry], before: datetime | None
) -> _Position:
    """Where the next page begins: behind what was shown, and behind what was read and holds nothing to show."""
    shown_events = [entry for entry in shown if entry.call is None]
    shown_calls = [entry for entry in shown if entry.call is not None]
    if len(shown_calls) == len(calls.entries):
        call: str | None = calls.next
    else:
        call = shown_calls[-1].key if shown_calls else position.call
    if len(shown_events) < events:
        return _Position(position.window, shown_events[-1].order if shown_events else position.event, call)
    return _Position(window.next, _beginning(before).event if window.next else None, call)


def _beginning(before: datetime | None) -> _Position:
    if before is None:
        return _Position()
    at = entries.to_ms(before)
    return _Position(event=(at, ""), call=f"{schema.CALL_PREFIX}{at:013d}")


def _decode(cursor: str, salt: str) -> _Position:
    try:
        window, event, call = signing.loads(cursor, salt=salt)
    except (signing.BadSignature, ValueError) as exc:
        raise ValueError("This page's cursor is damaged: begin again at the newest entries.") from exc
    return _Position(window, tuple(event) if event else None, call)


def _read_window(store: EventStore, session_id: str, start: str | None) -> _Window:
    window = _Window()
    for _ in range(WINDOW_QUERIES):
        items, start = _query(store, session_id, "0", schema.STREAMS_END, start)
        for item in items:
            _add(window, session_id, item)
        if start is None:
            return window
        if schema.kind_of(session_id, start) is EventKind.PART:
            # The parts of a large event tell nothing here: go on at the event that they belong to.
            start = f"{start.rpartition('.')[0]}.0"
    window.next = start or END
    return window


def _add(window: _Window, session_id: str, item: Item) -> None:
    key = item["event_id"]["S"]
    kind = schema.kind_of(session_id, key)
    if kind not in _OF_STREAMS:
        return
    stream_id = key.partition(".")[0]
    if not _time(stream_id):
        return
    stream = window.streams.setdefault(stream_id, Stream(stream_id))
    if kind is EventKind.LEASE:
        stream.owner = item.get("owner", {}).get("S")
        stream.lease_expires = int(item.get("lease_expires", {}).get("N", 0))
        stream.request_id = item.get("request_id", {}).get("S")
    elif kind is EventKind.INBOX:
        stream.waiting += 1
    elif entry := entries.decode(item):
        window.entries.append(entry)
        stream.events += 1
        stream.newest = max(stream.newest or entry.at, entry.at)
        if entry.is_end:
            stream.ended = entry


def _read_calls(store: EventStore, session_id: str, start: str | None, show: Show, type_: str, limit: int) -> _Calls:
    calls, test = _Calls(), entries.shows(show, type_)
    filtered = show is Show.FAILED or bool(type_)
    first, last = schema.CALL_PREFIX, f"{schema.CALL_PREFIX}:"
    for _ in range(CALL_QUERIES):
        wanted = MAX_CALLS - calls.read if filtered else limit + 1 - calls.read
        items, start = _query(store, session_id, first, last, start, limit=wanted)
        for item in items:
            calls.read += 1
            entry = entries.decode(item)
            if entry and test(entry):
                calls.entries.append(entry)
        if start is None:
            return calls
        if calls.read >= (MAX_CALLS if filtered else limit + 1) or len(calls.entries) > limit:
            break
    calls.next = start or END
    calls.horizon = _time(calls.next.removeprefix(schema.CALL_PREFIX))
    return calls


def _time(key: str) -> int:
    """The time (ms) that a stream's or a call's id begins with; 0 for none."""
    return int(key[:13]) if key[:13].isdecimal() else 0


def _query(
    store: EventStore,
    session_id: str,
    first: str,
    last: str,
    start: str | None,
    *,
    limit: int | None = None,
) -> tuple[list[Item], str | None]:
    """One Query of a range of the session's items, newest key first, and the key to go on from."""
    query: dict[str, Any] = {
        "TableName": store.table,
        "KeyConditionExpression": "session_id = :session AND event_id BETWEEN :first AND :last",
        "ExpressionAttributeValues": {":session": {"S": session_id}, ":first": {"S": first}, ":last": {"S": last}},
        "ScanIndexForward": False,
        "ConsistentRead": True,
    }
    if start is not None:
        query["ExclusiveStartKey"] = {"session_id": {"S": session_id}, "event_id": {"S": start}}
    if limit is not None:
        query["Limit"] = limit
    with boto_errors(store.table):
        answer = store.dynamodb.query(**query)
    start_key: Any = answer.get("LastEvaluatedKey")
    return answer["Items"], start_key["event_id"]["S"] if start_key else None
