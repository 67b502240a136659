"""The store of sessions: one item a session, its state a map with one entry a key.

A session whose ``ttl`` has passed, that was terminated, or that belongs to another principal is gone for every read
and every condition here: DynamoDB's Time to Live deletes up to 48 hours late.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, Self

from botocore.exceptions import ClientError
from django.conf import settings
from django.core.signals import setting_changed

from sessions_dynamo import batches, client, metrics, schema, session_items, values
from sessions_dynamo.errors import (
    InvalidState,
    SessionExists,
    SessionNotFound,
    StateConflict,
    StateTooLarge,
    StorageError,
    boto_errors,
)
from sessions_dynamo.session_items import Attributes, Session, StateUpdate, Update, seconds
from sessions_dynamo.state import Changes, Entry, Spilled, State

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

__all__ = ["Session", "SessionStore", "default_store"]

logger = logging.getLogger(__name__)


class SessionStore:
    """Creates, loads, saves and ends sessions. Thread-safe: one serves a whole process."""

    def __init__(
        self, dynamodb: DynamoDBClient, table: str, *, session_ttl: timedelta, terminated_ttl: timedelta
    ) -> None:
        self.dynamodb = dynamodb
        self.table = table
        self.session_ttl = session_ttl
        self.terminated_ttl = terminated_ttl

    @classmethod
    def from_settings(cls, region: str | None = None, *, quick: bool = False) -> Self:
        """The store that the settings describe; ``region`` reads a replica, ``quick`` is for pages."""
        return cls(
            client.dynamodb(region, quick=quick),
            settings.DYNAMODB_SESSIONS_TABLE,
            session_ttl=timedelta(hours=settings.SESSION_TTL_HOURS),
            terminated_ttl=timedelta(hours=min(settings.SESSION_TTL_HOURS, settings.EVENT_TTL_HOURS)),
        )

    @property
    def backend_name(self) -> str:
        """Which table, region and endpoint hold the sessions, for people."""
        meta = self.dynamodb.meta
        return f"DynamoDB table {self.table} in {meta.region_name} at {meta.endpoint_url}"

    # --- Begin and read ---------------------------------------------------------------------------------------

    def create(
        self,
        session_id: str | None = None,
        *,
        principal: str = "",
        protocol_version: str | None = None,
        client_params: Mapping[str, Any] | None = None,
        state: State | None = None,
    ) -> Session:
        """Store a new session with its first state: one PutItem, and one for each large value.

        An id is drawn where none is given. Raises ``SessionExists`` for an id that is taken, ``InvalidState`` for
        one that cannot be an id, ``StateTooLarge``.
        """
        if session_id is None:
            session_id = schema.new_session_id()
        elif not schema.is_session_id(session_id):
            raise InvalidState("A session id is 1 to 128 letters, digits, '-' and '_'.")
        now = datetime.now(UTC)
        state = State() if state is None else state
        entries = self._entries(session_id, state.changes, {})
        session = Session(
            session_id=session_id,
            created_at=session_items.from_ms(session_items.to_ms(now)),
            last_activity=session_items.floor(now),
            expires_at=session_items.from_seconds(seconds(now + self.session_ttl)),
            principal=principal,
            protocol_version=protocol_version,
            client_params=dict(client_params) if client_params is not None else None,
            state=state,
        )
        item = session_items.encode(session, entries)
        self._put_values(state.changes, entries)
        try:
            with boto_errors(self.table):
                self.dynamodb.put_item(
                    TableName=self.table,
                    Item=item,
                    ConditionExpression="attribute_not_exists(session_id) OR #ttl <= :now",
                    ExpressionAttributeNames={"#ttl": schema.TTL_ATTRIBUTE},
                    ExpressionAttributeValues={":now": seconds(now)},
                )
        except ClientError as exc:
            self._delete_unused(session_id, entries.values())
            raise SessionExists(f"There is a session {session_id!r} already.") from exc
        except StateTooLarge:
            self._delete_values(entries.values())
            raise
        state.saved(entries, self._fetch)
        metrics.count("SessionCreated")
        return session

    def load(self, session_id: str, principal: str = "") -> Session:
        """The live session of this principal, by a consistent read: another worker may have written just now.

        Raises ``SessionNotFound`` alike for an unknown, expired, terminated or foreign session, so that an id tells
        a stranger nothing.
        """
        session = self.peek(session_id)
        if session is None or not session.is_live or session.principal != principal:
            raise _not_found(session_id)
        return session

    def peek(self, session_id: str) -> Session | None:
        """The session as it is stored, live or not and whoever's; ``None`` where there is none. For staff."""
        if not schema.is_session_id(session_id):
            return None
        with boto_errors(self.table):
            answer = self.dynamodb.get_item(
                TableName=self.table, Key={"session_id": {"S": session_id}}, ConsistentRead=True
            )
        item = answer.get("Item")
        return session_items.decode(item, self._fetch) if item else None

    def exists(self, session_id: str) -> bool:
        """Whether a live session has this id."""
        session = self.peek(session_id)
        return session is not None and session.is_live

    # --- Change -----------------------------------------------------------------------------------------------

    def save(self, session: Session) -> None:
        """Write the session's changed state as one unit, with its activity: one UpdateItem.

        Without a change it only records activity. Raises ``SessionNotFound`` if the session ended meanwhile,
        ``StateConflict`` if a key that was read has changed, ``StateTooLarge``; then nothing is changed.
        """
        changes = session.state.changes
        if not changes:
            self.touch(session)
            return
        stored = session.state.entries
        written = self._entries(session.session_id, changes, stored)
        entries = {key: entry for key, entry in stored.items() if key not in changes.removed} | written
        self._put_values(changes, written)
        try:
            self._update(session, StateUpdate(self._activity(session), changes, written, stored))
        except (SessionNotFound, StateConflict, StateTooLarge):
            self._delete_unused(session.session_id, written.values())
            raise
        session.state.saved(entries, self._fetch)
        self._delete_values(stored[key] for key in changes.keys if key in stored)

    def touch(self, session: Session) -> None:
        """Record activity and slide the expiry; at most one UpdateItem a minute.

        Raises ``SessionNotFound`` if the session ended meanwhile.
        """
        if session_items.floor(datetime.now(UTC)) <= session.last_activity:
            return
        self._update(session, Update(self._activity(session)))

    def update(self, session: Session, **fields: Any) -> None:
        """Set ``initialized_at``, ``log_level``, ``protocol_version`` or ``client_params``, and record activity.

        Raises ``SessionNotFound`` if the session ended meanwhile.
        """
        self._update(session, Update(self._activity(session) | session_items.encode_fields(fields)))
        for name, value in fields.items():
            setattr(session, name, value)

    def subscribe(self, session: Session, uri: str) -> None:
        """Add a resource to the session's subscriptions; raises ``SessionNotFound``."""
        self._update(session, Update(self._activity(session), add={"subscriptions": {"SS": [uri]}}))
        session.subscriptions |= {uri}

    def subscribers(self, uri: str, session_ids: Sequence[str]) -> set[str]:
        """Those of some sessions that are subscribed to a resource: one request for 100 of them."""
        keys = [{"session_id": {"S": session_id}} for session_id in session_ids]
        items = batches.get(self.dynamodb, self.table, keys, projection=("session_id", "subscriptions"))
        return {item["session_id"]["S"] for item in items if uri in item.get("subscriptions", {}).get("SS", ())}

    def unsubscribe(self, session: Session, uri: str) -> None:
        """Remove a resource from the session's subscriptions; raises ``SessionNotFound``."""
        self._update(session, Update(self._activity(session), delete={"subscriptions": {"SS": [uri]}}))
        session.subscriptions -= {uri}

    def incr(self, session: Session, name: str, by: int = 1) -> int:
        """Add to a counter, at once and atomically, and return its new value; a counter begins at 0.

        A lost answer makes the AWS client ask again, which may count twice. Raises ``SessionNotFound`` if the session
        ended meanwhile, ``InvalidState`` for a name that is no key.
        """
        values.check_key(name)
        new = self._update(session, Update(self._activity(session), counter=(name, by)), returning=True)
        session.counters[name] = int(new["counters"]["M"][name]["N"])
        return session.counters[name]

    # --- End --------------------------------------------------------------------------------------------------

    def terminate(self, session_id: str, principal: str | None = None) -> None:
        """End a live session: gone for clients, still readable by staff until its shortened ``ttl``.

        ``principal`` restricts it to that principal's session; ``None`` is for staff. Raises ``SessionNotFound``.
        """
        now = datetime.now(UTC)
        ended = {
            "terminated_at": {"N": str(session_items.to_ms(now))},
            schema.TTL_ATTRIBUTE: seconds(now + self.terminated_ttl),
        }
        self._update_live(session_id, principal, Update(ended))
        metrics.count("SessionTerminated")

    def delete(self, session_id: str) -> bool:
        """Delete a session's item, live or not, and its large values; whether there was one.

        Its events stay: ``EventStore.delete`` removes them.
        """
        if not schema.is_session_id(session_id):
            return False
        with boto_errors(self.table):
            answer = self.dynamodb.delete_item(
                TableName=self.table, Key={"session_id": {"S": session_id}}, ReturnValues="ALL_OLD"
            )
        item = answer.get("Attributes")
        self._delete_values(session_items.decode_entries(item or {}).values())
        return bool(item)

    def delete_if_inactive(self, session_id: str, *, now: datetime, idle_since: datetime | None = None) -> bool:
        """Delete a session if its ``ttl`` is at or before ``now``, or it was last active before ``idle_since``.

        The condition is judged on the item itself: the indexes may be behind a client that just came back.
        """
        condition = "#ttl <= :now"
        bound = {":now": seconds(now)}
        if idle_since is not None:
            condition += " OR last_activity < :idle"
            bound[":idle"] = {"N": str(session_items.to_ms(idle_since))}
        try:
            with boto_errors(self.table):
                answer = self.dynamodb.delete_item(
                    TableName=self.table,
                    Key={"session_id": {"S": session_id}},
                    ConditionExpression=condition,
                    ExpressionAttributeNames={"#ttl": schema.TTL_ATTRIBUTE},
                    ExpressionAttributeValues=bound,
                    ReturnValues="ALL_OLD",
                )
        except ClientError:
            return False
        self._delete_values(session_items.decode_entries(answer.get("Attributes", {})).values())
        metrics.count("SessionExpired")
        return True

    # --- global_state -----------------------------------------------------------------------------------------

    def set_global_state(self, session: Session, region: str, value: Any) -> None:
        """Write one region's entry: an item of its own, so that two regions never overwrite each other's.

        It is kept for two session TTLs after its last write. Raises ``InvalidState`` or ``StateTooLarge``.
        """
        values.check_key(region)
        text = values.dumps(value)
        session_items.check_value_size(f"the entry of {region}", text)
        with boto_errors(self.table):
            self.dynamodb.put_item(
                TableName=self.table,
                Item={
                    "session_id": {"S": schema.global_state_id(session.session_id, region)},
                    "value": {"S": text},
                    "updated_at": {"N": str(schema.now_ms())},
                    schema.TTL_ATTRIBUTE: seconds(datetime.now(UTC) + 2 * self.session_ttl),
                },
            )

    def get_global_state(self, session: Session, region: str, default: Any = None) -> Any:
        """One region's entry, by a consistent read; ``default`` where there is none."""
        text = self._value(schema.global_state_id(session.session_id, region))
        return default if text is None else values.loads(text)

    # --- Inside -----------------------------------------------------------------------------------------------

    def _activity(self, session: Session) -> Attributes:
        """What every write to a session sets besides its own change."""
        now = datetime.now(UTC)
        return {
            "last_activity": {"N": str(session_items.to_ms(max(session_items.floor(now), session.last_activity)))},
            schema.TTL_ATTRIBUTE: seconds(now + self.session_ttl),
        }

    def _update(self, session: Session, update: Update, *, returning: bool = False) -> Attributes:
        new = self._update_live(session.session_id, session.principal, update, returning=returning)
        session.last_activity = session_items.from_ms(int(update.attributes["last_activity"]["N"]))
        session.expires_at = session_items.from_seconds(update.attributes[schema.TTL_ATTRIBUTE])
        self._keep_values(session)
        return new

    def _update_live(
        self, session_id: str, principal: str | None, update: Update, *, returning: bool = False
    ) -> Attributes:
        """One UpdateItem on a session that is live and, unless ``principal`` is ``None``, that principal's."""
        if not schema.is_session_id(session_id):
            raise _not_found(session_id)
        live = ["attribute_exists(session_id)", "attribute_not_exists(terminated_at)", "#ttl > :now"]
        bound: Attributes = {**update.values, ":now": seconds(datetime.now(UTC))}
        if principal:
            live.append("principal = :principal")
            bound[":principal"] = {"S": principal}
        elif principal is not None:
            live.append("attribute_not_exists(principal)")
        try:
            with boto_errors(self.table):
                answer = self.dynamodb.update_item(
                    TableName=self.table,
                    Key={"session_id": {"S": session_id}},
                    UpdateExpression=update.expression,
                    ConditionExpression=" AND ".join([*live, *update.conditions]),
                    ExpressionAttributeNames={**update.names, "#ttl": schema.TTL_ATTRIBUTE},
                    ExpressionAttributeValues=bound,
                    ReturnValues="UPDATED_NEW" if returning else "NONE",
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )
        except ClientError as exc:
            raise self._why_refused(session_id, principal, update.changes, exc.response.get("Item")) from exc
        return dict(answer.get("Attributes", {}))

    def _why_refused(self, session_id: str, principal: str | None, changes: Changes, item: Any) -> Exception:
        """The error for a false condition, told from the item as it stood."""
        session = session_items.decode(item, self._fetch) if item else None
        if session is None or not session.is_live or (principal is not None and session.principal != principal):
            return _not_found(session_id)
        if stale := session_items.stale_keys(changes, session.state.entries):
            return StateConflict(
                f"Another call changed {', '.join(map(repr, stale))} meanwhile, so nothing was saved: read again and"
                " retry."
            )
        return session_items.too_many_keys()

    # Large values. Each has an item of its own under a key never used before: put it, point to it, delete the one
    # it replaces. A crash in between leaves an item that nothing points to, which its ttl removes; so does an answer
    # that never came, because the pointer may have been written all the same.

    def _entries(self, session_id: str, changes: Changes, stored: Mapping[str, Entry]) -> dict[str, Entry]:
        """The new entries of a unit of work; raises ``StateTooLarge``."""
        expires = int((datetime.now(UTC) + 2 * self.session_ttl).timestamp())
        entries: dict[str, Entry] = {}
        for key, text in changes.texts.items():
            size = session_items.check_value_size(repr(key), text)
            large = size > session_items.SPILL_BYTES
            entries[key] = Spilled(schema.spilled_value_id(session_id, key), size, expires) if large else text
        kept = {key: entry for key, entry in stored.items() if key not in changes.removed}
        session_items.check_limits(changes, kept | entries)
        return entries

    def _put_values(self, changes: Changes, entries: Mapping[str, Entry]) -> None:
        """Put the large values of a unit of work."""
        for key, entry in entries.items():
            if isinstance(entry, Spilled):
                with boto_errors(self.table):
                    self.dynamodb.put_item(
                        TableName=self.table,
                        Item={
                            "session_id": {"S": entry.item_id},
                            "value": {"S": changes.texts[key]},
                            schema.TTL_ATTRIBUTE: {"N": str(entry.ttl)},
                        },
                    )

    def _keep_values(self, session: Session) -> None:
        """Keep the ``ttl`` of large values ahead of their session's; written two session TTLs ahead, so seldom."""
        expires = int((datetime.now(UTC) + 2 * self.session_ttl).timestamp())
        for key, entry in session.state.entries.items():
            if not isinstance(entry, Spilled) or entry.ttl > session.expires_at.timestamp():
                continue
            names = {"#ttl": schema.TTL_ATTRIBUTE}
            ttl = {":ttl": {"N": str(expires)}}
            try:
                with boto_errors(self.table):
                    self.dynamodb.update_item(
                        TableName=self.table,
                        Key={"session_id": {"S": entry.item_id}},
                        UpdateExpression="SET #ttl = :ttl",
                        ConditionExpression="attribute_exists(session_id)",
                        ExpressionAttributeNames=names,
                        ExpressionAttributeValues=ttl,
                    )
                    self.dynamodb.update_item(
                        TableName=self.table,
                        Key={"session_id": {"S": session.session_id}},
                        UpdateExpression="SET #state.#key.#ttl = :ttl",
                        ConditionExpression="#state.#key.item_id = :id",
                        ExpressionAttributeNames={**names, "#state": "state", "#key": key},
                        ExpressionAttributeValues={**ttl, ":id": {"S": entry.item_id}},
                    )
            except ClientError:
                continue  # Replaced meanwhile, and with a later ttl.
            except StorageError as exc:
                # What the caller asked for is done, and the next activity tries again.
                logger.warning("The ttl of a large value was not moved: %s", exc)
                return

    def _fetch(self, spilled: Spilled) -> str:
        text = self._value(spilled.item_id)
        if text is None:
            raise StateConflict("Another call replaced a large value while this one was reading it: retry.")
        return text

    def _value(self, item_id: str) -> str | None:
        with boto_errors(self.table):
            answer = self.dynamodb.get_item(
                TableName=self.table, Key={"session_id": {"S": item_id}}, ConsistentRead=True
            )
        item = answer.get("Item")
        return item["value"]["S"] if item and int(item[schema.TTL_ATTRIBUTE]["N"]) > schema.now_ms() / 1000 else None

    def _delete_unused(self, session_id: str, entries: Iterable[Entry]) -> None:
        """Delete the large values of a refused write, but none that the session points to.

        A write whose answer was lost is sent again by the AWS client and then refused for what it did itself.
        """
        spilled = {entry.item_id: entry for entry in entries if isinstance(entry, Spilled)}
        if not spilled:
            return
        try:
            session = self.peek(session_id)
        except StorageError as exc:
            logger.warning("%d large values were left to their ttl: %s", len(spilled), exc)
            return
        for entry in session.state.entries.values() if session else ():
            if isinstance(entry, Spilled):
                spilled.pop(entry.item_id, None)
        self._delete_values(spilled.values())

    def _delete_values(self, entries: Iterable[Entry]) -> None:
        keys = [{"session_id": {"S": entry.item_id}} for entry in entries if isinstance(entry, Spilled)]
        try:
            batches.delete(self.dynamodb, self.table, keys)
        except StorageError as exc:
            # What the caller asked for is done or refused by now: this only tidies up what a ttl removes anyway.
            logger.warning("%d large values were left to their ttl: %s", len(keys), exc)


@cache
def default_store(region: str | None = None) -> SessionStore:
    """The process's store, made on first use; ``region`` reads a replica."""
    return SessionStore.from_settings(region)


def _not_found(session_id: str) -> SessionNotFound:
    return SessionNotFound(
        f"Session {session_id[:128]!r} does not exist, has ended, or belongs to another caller: begin a new one."
    )


def _forget(*, setting: str, **_: object) -> None:
    if setting.startswith(("DYNAMODB_", "AWS_")) or setting.endswith("_TTL_HOURS"):
        default_store.cache_clear()


setting_changed.connect(_forget)
