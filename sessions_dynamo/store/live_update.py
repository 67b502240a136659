"""The conditions of writes to a session, that it is live and the caller's, and the error of a false one."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from sessions_dynamo import schema
from sessions_dynamo.errors import SessionNotFound, StorageError
from sessions_dynamo.operations import Operation, ask
from sessions_dynamo.store import session_items
from sessions_dynamo.store.session_items import Attributes, Update
from sessions_dynamo.store.state import Changes, changed_meanwhile
from sessions_dynamo.store.times import seconds


def update_live(
    table: str,
    session_id: str,
    principal: str | None,
    update: Update,
    *,
    returning: bool = False,
) -> Operation[Attributes]:
    """Update a live session, unless ``principal`` is ``None`` that principal's; with ``returning`` the new attributes.

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
            ReturnValues="UPDATED_NEW" if returning else "NONE",
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
    except ClientError as exc:
        item: Attributes = exc.response.get("Item") or {}  # type: ignore[assignment]
        if session_items.is_made_by(item, update):
            return {}
        raise _why_refused(session_id, principal, update.changes, item) from exc
    return dict(answer.get("Attributes", {}))


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


def _why_refused(session_id: str, principal: str | None, changes: Changes, item: Any) -> StorageError:
    """The error for a false condition, told from the item as it stood."""
    session = session_items.decode(item) if item else None
    if session is None or not session.is_live or (principal is not None and session.principal != principal):
        return not_found(session_id)
    if stale := session_items.stale_keys(changes, session.state.entries):
        return changed_meanwhile(stale)
    return session_items.too_many_keys()


def not_found(session_id: str) -> SessionNotFound:
    """Alike for an unknown, expired, terminated or foreign session, so that an id tells a stranger nothing."""
    return SessionNotFound(
        f"Session {session_id[:128]!r} does not exist, has ended, or belongs to another caller: begin a new one."
    )
