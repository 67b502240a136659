"""A session's item: its shape, its limits, and every update expression on it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sessions_dynamo import schema
from sessions_dynamo.errors import StateTooLarge
from sessions_dynamo.store import values
from sessions_dynamo.store.state import Changes, Entry, Fetch, Spilled, State, refuse
from sessions_dynamo.store.times import from_ms, from_seconds, seconds, to_ms

SPILL_BYTES: Final = 4 * 1024
"""A value whose JSON text is larger gets an item of its own."""
MAX_CHANGED_KEYS: Final = 100
"""Keys changed by one save: an update expression holds 4 KB."""
MAX_KEYS: Final = 1000
MAX_INLINE_BYTES: Final = 300 * 1024
"""All values in the session's own item together."""
MAX_VALUE_BYTES: Final = 400 * 1024 - 2048
"""One value: DynamoDB's 400 KB an item, less the item's key and attribute names."""
ACTIVITY_RESOLUTION: Final = timedelta(minutes=1)
"""``last_activity`` is floored to this, and moved at most once in it, so that an index row is rarely rewritten."""

LAST_SAVE: Final = "last_save"
"""A name that each save of a state draws for itself, or it could not be told from another that does the same."""
CANCELLATIONS: Final = "cancellations"
"""How many of the session's requests were cancelled: a call knows by it which came before it began."""
LAPSED: Final = "lapsed"
"""Streams that others ended because their worker's lease had lapsed: no call of theirs changes the session any more."""

Attributes = dict[str, Any]
"""DynamoDB's typed attributes by name, such as ``{"ttl": {"N": "1"}}``."""


@dataclass(slots=True)
class Session:
    """A session's item. ``principal`` is empty for a session of the public endpoint."""

    session_id: str
    created_at: datetime
    last_activity: datetime
    expires_at: datetime
    principal: str = ""
    protocol_version: str | None = None
    client_params_text: str | None = None
    """The client's ``initialize`` params as it sent them, in JSON: few who read a session look into them."""
    initialized_at: datetime | None = None
    terminated_at: datetime | None = None
    log_level: str | None = None
    subscriptions: frozenset[str] = frozenset()
    """Resource URIs that the client subscribed to (``resources/subscribe``)."""
    counters: dict[str, int] = field(default_factory=dict)
    state: State = field(default_factory=State)
    cancellations: int = 0
    stream_id: str | None = None
    """Not stored: the stream of the call that works on it. Once that has lapsed the call saves nothing."""

    @property
    def is_live(self) -> bool:
        """Whether clients still reach it."""
        return self.terminated_at is None and self.expires_at > datetime.now(UTC)

    @property
    def client_params(self) -> dict[str, Any] | None:
        """The client's ``initialize`` params."""
        return None if self.client_params_text is None else values.loads(self.client_params_text)

    @property
    def client_name(self) -> str | None:
        """The client's name for itself; it is whatever the client sent."""
        info = (self.client_params or {}).get("clientInfo")
        return str(info["name"]) if isinstance(info, dict) and "name" in info else None


SUMMARY: Final = (
    "session_id",
    "created_at",
    "last_activity",
    schema.TTL_ATTRIBUTE,
    "principal",
    "protocol_version",
    "client_params",
    "initialized_at",
    "terminated_at",
    "log_level",
)
"""What a list page reads of each session: everything but its state."""


def encode(session: Session, entries: Mapping[str, Entry]) -> Attributes:
    """A new session's item."""
    item: Attributes = {
        "session_id": {"S": session.session_id},
        "shard": {"S": schema.shard(session.session_id)},
        "created_at": {"N": str(to_ms(session.created_at))},
        "last_activity": {"N": str(to_ms(session.last_activity))},
        schema.TTL_ATTRIBUTE: seconds(session.expires_at),
        "state": {"M": {key: encode_entry(entry) for key, entry in entries.items()}},
        "counters": {"M": {}},
    }
    if session.principal:
        item["principal"] = {"S": session.principal}
    texts = {"protocol_version": session.protocol_version, "client_params": session.client_params_text}
    return item | {name: {"S": text} for name, text in texts.items() if text is not None}


_FIELDS: Final[Mapping[str, Any]] = {
    "initialized_at": lambda value: {"N": str(to_ms(value))},
    "log_level": lambda value: {"S": value},
}


def encode_fields(fields: Mapping[str, Any]) -> Attributes:
    """The attributes of what a client sets after its handshake."""
    return {name: _FIELDS[name](value) for name, value in fields.items()}


def decode(item: Attributes, fetch: Fetch = refuse) -> Session:
    """The session of an item; ``fetch`` reads its large values when they are asked for."""

    def time_of(name: str) -> datetime | None:
        return from_ms(int(item[name]["N"])) if name in item else None

    created_at = from_ms(int(item["created_at"]["N"]))
    return Session(
        session_id=item["session_id"]["S"],
        created_at=created_at,
        last_activity=time_of("last_activity") or created_at,
        expires_at=from_seconds(item[schema.TTL_ATTRIBUTE]),
        principal=item.get("principal", {}).get("S", ""),
        protocol_version=item.get("protocol_version", {}).get("S"),
        client_params_text=item.get("client_params", {}).get("S"),
        initialized_at=time_of("initialized_at"),
        terminated_at=time_of("terminated_at"),
        log_level=item.get("log_level", {}).get("S"),
        subscriptions=frozenset(item.get("subscriptions", {}).get("SS", ())),
        counters={name: int(value["N"]) for name, value in item.get("counters", {}).get("M", {}).items()},
        state=State(decode_entries(item), fetch),
        cancellations=int(item.get(CANCELLATIONS, {}).get("N", 0)),
    )


def encode_entry(entry: Entry) -> Attributes:
    if isinstance(entry, str):
        return {"S": entry}
    return {
        "M": {
            "item_id": {"S": entry.item_id},
            "size": {"N": str(entry.size)},
            schema.TTL_ATTRIBUTE: {"N": str(entry.ttl)},
        }
    }


def decode_entries(item: Attributes) -> dict[str, Entry]:
    """The state map of an item."""
    entries: dict[str, Entry] = {}
    for key, value in item.get("state", {}).get("M", {}).items():
        if "S" in value:
            entries[key] = value["S"]
        else:
            spilled = value["M"]
            entries[key] = Spilled(
                spilled["item_id"]["S"], int(spilled["size"]["N"]), int(spilled[schema.TTL_ATTRIBUTE]["N"])
            )
    return entries


def stale_keys(changes: Changes, stored: Mapping[str, Entry]) -> list[str]:
    """The keys that a unit of work had read and that no longer hold what it read."""

    def identity(entry: Entry | None) -> str | None:
        return entry.item_id if isinstance(entry, Spilled) else entry

    return sorted(key for key, entry in changes.expected.items() if identity(stored.get(key)) != identity(entry))


# --- Limits ---------------------------------------------------------------------------------------------------


def check_value_size(what: str, text: str) -> int:
    """The bytes of a value's JSON text; raises ``StateTooLarge`` for one that no item can hold."""
    size = len(text.encode())
    if size > MAX_VALUE_BYTES:
        raise StateTooLarge(
            f"The value of {what} is {size} bytes of JSON; the limit is {MAX_VALUE_BYTES}: store it in parts, or keep"
            " it elsewhere and store a reference."
        )
    return size


def check_limits(changes: Changes, entries: Mapping[str, Entry]) -> None:
    """Raise ``StateTooLarge`` if a session would hold too much once ``changes`` made its state ``entries``."""
    if len(changes.keys) > MAX_CHANGED_KEYS:
        raise StateTooLarge(
            f"{len(changes.keys)} keys changed in one call; at most {MAX_CHANGED_KEYS} can be saved together: group"
            " them under fewer keys."
        )
    if len(entries) > MAX_KEYS and changes.texts:
        raise too_many_keys()
    inline = sum(len(key.encode()) + len(text.encode()) for key, text in entries.items() if isinstance(text, str))
    if inline > MAX_INLINE_BYTES and changes.texts:
        raise StateTooLarge(
            f"The session's state would take {inline} bytes; the limit is {MAX_INLINE_BYTES}, besides values over"
            f" {SPILL_BYTES} bytes, which are kept apart: remove keys first."
        )


def too_many_keys() -> StateTooLarge:
    return StateTooLarge(f"A session holds at most {MAX_KEYS} keys: remove some first.")


def floor(at: datetime) -> datetime:
    """A time floored to ``ACTIVITY_RESOLUTION``."""
    step = ACTIVITY_RESOLUTION.total_seconds()
    return datetime.fromtimestamp(math.floor(at.timestamp() / step) * step, UTC)
