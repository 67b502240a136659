"""Every update expression on a session, its conditions, that it is live and the caller's, and a false one's error."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from botocore.exceptions import ClientError

from sessions_dynamo import schema
from sessions_dynamo.errors import SessionNotFound, StateConflict, StorageError
from sessions_dynamo.operations import Operation, ask
from sessions_dynamo.store import session_items
from sessions_dynamo.store.session_items import Attributes
from sessions_dynamo.store.state import Changes, Entry, Spilled, changed_meanwhile
from sessions_dynamo.store.times import seconds

MOST_LAPSED: Final = 64
"""Streams that a session knows to have been ended for a worker that was gone: 2 KB of its item."""


class Update:
    """An update expression in the making: plain attributes, one counter, or members of a string set."""

    changes: Changes = Changes()
    lapsed: str | None = None

    def __init__(
        self,
        attributes: Attributes,
        *,
        counter: tuple[str, int] | None = None,
        add: Attributes | None = None,
        delete: Attributes | None = None,
    ) -> None:
        self.attributes = attributes
        self.names: dict[str, str] = {}
        self.values: Attributes = {}
        self.conditions: list[str] = []
        self._set: list[str] = []
        self._remove: list[str] = []
        self._members: list[str] = []
        for number, (name, value) in enumerate(attributes.items()):
            self.names[f"#a{number}"] = name
            self.values[f":a{number}"] = value
            self._set.append(f"#a{number} = :a{number}")
        if counter is not None:
            name, by = counter
            self.names |= {"#counters": "counters", "#counter": name}
            self.values |= {":by": {"N": str(by)}, ":zero": {"N": "0"}}
            self._set.append("#counters.#counter = if_not_exists(#counters.#counter, :zero) + :by")
        for verb, members in (("ADD", add), ("DELETE", delete)):
            for name, value in (members or {}).items():
                self.names["#members"], self.values[":members"] = name, value
                self._members.append(f"{verb} #members :members")

    def unless_lapsed(self, stream_id: str) -> None:
        """Change nothing for a call whose stream was ended by others: its client was told that it failed."""
        self.lapsed = stream_id
        self.values[":stream"] = {"S": stream_id}
        self.conditions.append(f"NOT contains({session_items.LAPSED}, :stream)")

    @property
    def expression(self) -> str:
        clauses = [f"SET {', '.join(self._set)}"] if self._set else []
        if self._remove:
            clauses.append(f"REMOVE {', '.join(self._remove)}")
        return " ".join([*clauses, *self._members])


class StateUpdate(Update):
    """One unit of state changes: each key's own entry, conditional on what was read."""

    def __init__(
        self, attributes: Attributes, changes: Changes, written: Mapping[str, Entry], stored: Mapping[str, Entry]
    ) -> None:
        super().__init__({**attributes, session_items.LAST_SAVE: {"S": secrets.token_hex(8)}})
        self.changes = changes
        self.names["#state"] = "state"
        for number, key in enumerate(changes.keys):
            path = f"#state.#k{number}"
            self.names[f"#k{number}"] = key
            if key in written:
                self.values[f":k{number}"] = session_items.encode_entry(written[key])
                self._set.append(f"{path} = :k{number}")
            else:
                self._remove.append(path)
            if key in changes.expected:
                self._expect(number, path, changes.expected[key])
        added = sum(1 for key in changes.texts if key not in stored)
        if added:
            # Judged on the item itself, so that keys added by calls on other workers count too. A key makes room for
            # another only if this update is conditional on its being there.
            freed = sum(1 for key in changes.removed if changes.expected.get(key) is not None)
            self.values[":room"] = {"N": str(session_items.MAX_KEYS - added + freed)}
            self.conditions.append("size(#state) <= :room")

    def _expect(self, number: int, path: str, entry: Entry | None) -> None:
        if entry is None:
            self.conditions.append(f"attribute_not_exists({path})")
        elif isinstance(entry, Spilled):
            # Its ttl may have moved since; its key is never used for another value.
            self.values[f":r{number}"] = {"S": entry.item_id}
            self.conditions.append(f"{path}.item_id = :r{number}")
        else:
            self.values[f":r{number}"] = {"S": entry}
            self.conditions.append(f"{path} = :r{number}")


def is_made_by(item: Attributes, update: Update) -> bool:
    """Whether an item is as this save has left it."""
    return (
        session_items.LAST_SAVE in update.attributes
        and item.get(session_items.LAST_SAVE) == update.attributes[session_items.LAST_SAVE]
    )


def update_live(
    table: str,
    session_id: str,
    principal: str | None,
    update: Update,
    *,
    returning: str = "NONE",
) -> Operation[Attributes]:
    """Update a live session, unless ``principal`` is ``None`` that principal's; its attributes as ``returning`` asks.

    Raises ``SessionNotFound``, ``StateConflict`` or ``StateTooLarge``; then nothing is changed.

    A save whose answer was lost is sent again, and then refused for what it did itself: its own mark tells that.
    """
    if not schema.is_session_id(session_id):
        raise not_found(session_id)
    live = ["attribute_exists(session_id)", "attribute_not_exists(terminated_at)", "#ttl > :now"]
    bound: Attributes = {**update.values, ":now": seconds(datetime.now(UTC))}
    if principal:
        live.append("principal = :principal")
        bound[":principal"] = {"S": principal}
    elif principal is not None:
        live.append("attribute_not_exists(principal)")
    try:
        answer = yield from ask(
            table,
            "UpdateItem",
            Key={"session_id": {"S": session_id}},
            UpdateExpression=update.expression,
            ConditionExpression=" AND ".join([*live, *update.conditions]),
            ExpressionAttributeNames={**update.names, "#ttl": schema.TTL_ATTRIBUTE},
            ExpressionAttributeValues=bound,
            ReturnValues=returning,
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
    except ClientError as exc:
        item: Attributes = exc.response.get("Item") or {}  # type: ignore[assignment]
        if is_made_by(item, update):
            return {}
        raise _why_refused(session_id, principal, update, item) from exc
    return dict(answer.get("Attributes", {}))


def count_cancellation(table: str, session_id: str, principal: str) -> Operation[int]:
    """Count one cancellation of a request of a live session; how many there are with it. Raises ``SessionNotFound``."""
    update = Update({}, add={session_items.CANCELLATIONS: {"N": "1"}})
    new = yield from update_live(table, session_id, principal, update, returning="UPDATED_NEW")
    return int(new[session_items.CANCELLATIONS]["N"])


def lapse(table: str, session_id: str, stream_id: str) -> Operation[None]:
    """Let no call of a stream change its session any more; nothing is done where there is no session.

    A session remembers ``MOST_LAPSED`` of them: of more, those make room that began first, whose workers nobody awaits.
    """
    add = f"ADD {session_items.LAPSED} :streams"
    room = f"attribute_not_exists({session_items.LAPSED}) OR size({session_items.LAPSED}) < :most"
    item = yield from _update_lapsed(table, session_id, add, [stream_id], room, {":most": {"N": str(MOST_LAPSED)}})
    if item is not None:
        # An id begins with the time at which its stream did.
        first = sorted(item.get(session_items.LAPSED, {}).get("SS", ()))[: MOST_LAPSED // 2]
        if first:
            yield from _update_lapsed(table, session_id, f"DELETE {session_items.LAPSED} :streams", first)
            yield from _update_lapsed(table, session_id, add, [stream_id])


def _update_lapsed(
    table: str,
    session_id: str,
    expression: str,
    streams: list[str],
    condition: str = "",
    bound: Attributes | None = None,
) -> Operation[Attributes | None]:
    """``None``, or a session's item as it stands, empty for none, where the condition is false."""
    exists = "attribute_exists(session_id)"
    try:
        yield from ask(
            table,
            "UpdateItem",
            Key={"session_id": {"S": session_id}},
            UpdateExpression=expression,
            ConditionExpression=f"{exists} AND ({condition})" if condition else exists,
            ExpressionAttributeValues={":streams": {"SS": streams}, **(bound or {})},
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
    except ClientError as exc:
        return exc.response.get("Item") or {}  # type: ignore[return-value]
    return None


def may_begin(session_id: str) -> str:
    """The condition (on ``#ttl`` and ``:now``) under which a new session takes an id.

    A user's own has one id for ever, so it begins anew where it was ended; any other id is used once.
    """
    free = "attribute_not_exists(session_id) OR #ttl <= :now"
    return f"{free} OR attribute_exists(terminated_at)" if schema.is_user_session_id(session_id) else free


def put_back(table: str, item: Attributes, *, over_live: bool = False) -> Operation[bool]:
    """Put a session's whole item where none lives, or ``over_live`` over whatever stands; whether it was put."""
    condition: dict[str, Any] = {
        "ConditionExpression": "attribute_not_exists(session_id) OR attribute_exists(terminated_at) OR #ttl <= :now",
        "ExpressionAttributeNames": {"#ttl": schema.TTL_ATTRIBUTE},
        "ExpressionAttributeValues": {":now": seconds(datetime.now(UTC))},
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }
    try:
        yield from ask(table, "PutItem", Item=item, **({} if over_live else condition))
    except ClientError as exc:
        # A write whose answer was lost is sent again, and then refused for what it did itself.
        return exc.response.get("Item") == item
    return True


def beginning(session_id: str) -> Attributes:
    """What a new session's item has besides: for a user's own a name of this write.

    Calls of a user may begin it in one millisecond, and alike: each would take the other's item for its own.
    """
    own = schema.is_user_session_id(session_id)
    return {session_items.LAST_SAVE: {"S": secrets.token_hex(8)}} if own else {}


def _why_refused(session_id: str, principal: str | None, update: Update, item: Attributes) -> StorageError:
    """The error for a false condition, told from the item as it stood."""
    session = session_items.decode(item) if item else None
    if session is None or not session.is_live or (principal is not None and session.principal != principal):
        return not_found(session_id)
    if update.lapsed in item.get(session_items.LAPSED, {}).get("SS", ()):
        return StateConflict(
            "This call's process stood still for so long that its client was told that it failed: nothing was saved."
        )
    if stale := session_items.stale_keys(update.changes, session.state.entries):
        return changed_meanwhile(stale)
    return session_items.too_many_keys()


def not_found(session_id: str) -> SessionNotFound:
    """Alike for an unknown, expired, terminated or foreign session, so that an id tells a stranger nothing."""
    return SessionNotFound(
        f"Session {session_id[:128]!r} does not exist, has ended, or belongs to another caller: begin a new one."
    )
