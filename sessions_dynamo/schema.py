"""Both tables, their indexes and every kind of item's key, declared once.

Nothing else spells a table's key or an index. Times in sort keys and index keys are whole milliseconds since the
epoch; ``ttl`` is whole seconds, as DynamoDB's Time to Live requires.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
import zlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal
from urllib.parse import quote

from sessions_dynamo import worker_keys

SHARDS: Final = 8
"""Partitions of each time index: a list page is one Query a shard."""

TTL_ATTRIBUTE: Final = "ttl"
STREAM_VIEW_TYPE: Final = "NEW_AND_OLD_IMAGES"
APPLICATION_TAG: Final = "mcp-sessions"

AttributeType = Literal["S", "N"]


@dataclass(frozen=True, slots=True)
class Key:
    """One key attribute: its name and DynamoDB scalar type."""

    name: str
    type: AttributeType = "S"


@dataclass(frozen=True, slots=True)
class Index:
    """A global secondary index, keys only: a page reads the items themselves by BatchGetItem."""

    name: str
    partition: Key
    sort: Key


@dataclass(frozen=True, slots=True)
class Table:
    """What a table must look like, whatever its name in this deployment."""

    purpose: str
    partition: Key
    sort: Key | None
    indexes: tuple[Index, ...]

    @property
    def keys(self) -> tuple[Key, ...]:
        return (self.partition, self.sort) if self.sort else (self.partition,)

    @property
    def attributes(self) -> tuple[Key, ...]:
        """Every attribute that a key of the table or of an index names, each once, in order of first use."""
        keys = [*self.keys]
        for index in self.indexes:
            keys += [index.partition, index.sort]
        return tuple(dict.fromkeys(keys))


_SESSION_ID: Final = Key("session_id")
_SHARD: Final = Key("shard")

LAST_ACTIVITY_INDEX: Final = Index("LastActivityIndex", _SHARD, Key("last_activity", "N"))
CREATED_AT_INDEX: Final = Index("CreatedAtIndex", _SHARD, Key("created_at", "N"))
PRINCIPAL_INDEX: Final = Index("PrincipalIndex", Key("principal"), Key("created_at", "N"))
TIMESTAMP_INDEX: Final = Index("TimestampIndex", _SHARD, Key("timestamp", "N"))

SESSIONS: Final = Table(
    purpose="MCP session state",
    partition=_SESSION_ID,
    sort=None,
    indexes=(LAST_ACTIVITY_INDEX, CREATED_AT_INDEX, PRINCIPAL_INDEX),
)
EVENTS: Final = Table(
    purpose="MCP session events",
    partition=_SESSION_ID,
    sort=Key("event_id"),
    indexes=(TIMESTAMP_INDEX,),
)


def shard(session_id: str) -> str:
    """The index partition of a session and all of its events: the same on every worker and Python version."""
    return str(zlib.crc32(session_id.encode()) % SHARDS)


def now_ms() -> int:
    """The wall clock in whole milliseconds."""
    return time.time_ns() // 1_000_000


# --- Items of the sessions table ------------------------------------------------------------------------------

_VALID_SESSION_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
_USER_SESSION_ID: Final = re.compile(r"user-[0-9a-f]{64}")


def new_session_id() -> str:
    """A session id of 192 random bits (at least 128: MCP, Security Best Practices, "Session Hijacking")."""
    return secrets.token_urlsafe(24)


def is_session_id(value: str) -> bool:
    """Whether a string can be a session's id; it never can be another kind of item's key."""
    return _VALID_SESSION_ID.fullmatch(value) is not None


def user_session_id(principal: str) -> str:
    """The id of a principal's own session: the same on every worker. No client names it, so it need be no secret."""
    return f"user-{hashlib.sha256(principal.encode()).hexdigest()}"


def is_user_session_id(value: str) -> bool:
    """Whether an id is a principal's own session's; one that was drawn is shorter."""
    return _USER_SESSION_ID.fullmatch(value) is not None


def spilled_value_id(session_id: str, key: str) -> str:
    """A fresh key for one large state value; never reused, so a reader never meets a half-replaced value."""
    return f"{session_id}#{key}#{secrets.token_hex(8)}"


def global_state_id(session_id: str, region: str) -> str:
    """The key of one region's ``global_state`` entry. State keys are never empty, so it is no spilled value's."""
    return f"{session_id}##{region}"


def key_value_id(collection: str, key: str) -> str:
    """The key of a value that is no session's: it begins as no session's id does."""
    return f"#kv#{quote(collection, safe='', errors='surrogatepass')}#{key}"


# --- Items of the events table --------------------------------------------------------------------------------


class EventKind(StrEnum):
    """What an item of the events table is, told from its sort key."""

    EVENT = "event"
    PART = "part"
    LEASE = "lease"
    INBOX = "inbox"
    END = "end"
    REPLY = "reply"
    CALL = "call"
    HOLDING = "holding"
    CANCELLATION = "cancellation"
    WORKER = "worker"
    MESSAGE = "message"
    NEWS = "news"
    BUS = "bus"


OF_THE_MOMENT: Final = frozenset(
    {
        EventKind.HOLDING,
        EventKind.CANCELLATION,
        EventKind.WORKER,
        EventKind.MESSAGE,
        EventKind.NEWS,
        EventKind.BUS,
    }
)
"""What workers tell each other: it means nothing to any others, nor to themselves an hour later."""

REPLY_PREFIX: Final = "reply."
CALL_PREFIX: Final = "call."
STREAMS_END: Final = ":"
"""Sorts after every stream id (they begin with a digit) and before every other prefix of a session's partition."""

_SEQUENCE_DIGITS: Final = 10


def time_ordered_id(at_ms: int | None = None) -> str:
    """``<13 digits of milliseconds>-<64 random bits>``: sorts as it happened, unique without coordination."""
    return f"{now_ms() if at_ms is None else at_ms:013d}-{secrets.token_hex(8)}"


def event_id(stream_id: str, sequence: int) -> str:
    """The sort key of a stream's event; fixed width, so that a stream's events sort by sequence."""
    return end_id(stream_id) if sequence >= END_SEQUENCE else f"{stream_id}.{sequence:0{_SEQUENCE_DIGITS}d}"


def part_id(event: str, part: int) -> str:
    """The sort key of an event's continuation, directly behind the event; parts count from 1."""
    return f"{event}.{part}"


def lease_id(stream_id: str) -> str:
    """The stream's owner and lease, before all of its events."""
    return f"{stream_id}.!"


def inbox_id(stream_id: str) -> str:
    """A message that waits for the stream's owner to make an event of it; directly behind the lease."""
    return f"{stream_id}.!{time_ordered_id()}"


def standalone_stream_id(created_at_ms: int) -> str:
    """The one stream of a session's GET requests: the same for every worker, so that none needs to look it up."""
    return f"{created_at_ms:013d}-{'0' * 16}"


def end_id(stream_id: str) -> str:
    """The stream's end, after all of its events."""
    return f"{stream_id}.~"


def after_stream(stream_id: str) -> str:
    """Sorts after every item of a stream: its events, its end, and the end's parts."""
    return f"{stream_id}/"


def reply_id(request_id: str) -> str:
    """A client's answer to a request of ours."""
    return f"{REPLY_PREFIX}{request_id}"


def call_id(at_ms: int) -> str:
    """A served call."""
    return f"{CALL_PREFIX}{time_ordered_id(at_ms)}"


_EVENT_ID: Final = re.compile(
    rf"(?P<stream>\d{{13}}-[0-9a-f]{{16}})\.(?P<sequence>\d{{{_SEQUENCE_DIGITS}}}|~)", re.ASCII
)
END_SEQUENCE: Final = 10**_SEQUENCE_DIGITS
"""Stands for a stream's end wherever a sequence is wanted: after every event's."""


def parse_event_id(value: str) -> tuple[str, int] | None:
    """``(stream_id, sequence)`` of an event's id; ``None`` for anything else, as a client may send."""
    match = _EVENT_ID.fullmatch(value)
    if match is None:
        return None
    sequence = match["sequence"]
    return match["stream"], END_SEQUENCE if sequence == "~" else int(sequence)


def is_end_id(value: str) -> bool:
    """Whether an id is that of a stream's end."""
    position = parse_event_id(value)
    return position is not None and position[1] == END_SEQUENCE


_KINDS_OF_WORKERS: Final = {
    worker_keys.WORKERS_PARTITION: EventKind.WORKER,
    worker_keys.INBOXES: EventKind.MESSAGE,
    worker_keys.NEWS_PARTITION: EventKind.NEWS,
}


def kind_of(session_id: str, sort_key: str) -> EventKind:
    """What the item at this key of the events table is."""
    if worker_keys.is_of_workers(session_id):
        return _KINDS_OF_WORKERS.get(worker_keys.partition_kind(session_id), EventKind.BUS)
    for prefix, kind in (
        (REPLY_PREFIX, EventKind.REPLY),
        (CALL_PREFIX, EventKind.CALL),
        (worker_keys.HOLDING_PREFIX, EventKind.HOLDING),
        (worker_keys.CANCELLATION_PREFIX, EventKind.CANCELLATION),
    ):
        if sort_key.startswith(prefix):
            return kind
    rest = sort_key.partition(".")[2]
    if rest.startswith("!"):
        return EventKind.LEASE if rest == "!" else EventKind.INBOX
    if rest == "~":
        return EventKind.END
    return EventKind.EVENT if parse_event_id(sort_key) else EventKind.PART
