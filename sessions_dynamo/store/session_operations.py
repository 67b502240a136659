"""What is asked of the sessions table: one item a session, its state a map with one entry a key.

A session whose ``ttl`` has passed, that was terminated, or that belongs to another principal is gone for every read
and every condition here: DynamoDB's Time to Live deletes up to 48 hours late.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Self

from botocore.exceptions import ClientError

from sessions_dynamo import metrics, schema
from sessions_dynamo.conf import conf, forget_on_change
from sessions_dynamo.errors import InvalidState, SessionExists, SessionNotFound, StateConflict, StateTooLarge
from sessions_dynamo.operations import Operation, ask
from sessions_dynamo.store import batches, session_items, times, values
from sessions_dynamo.store.global_state import RegionEntries
from sessions_dynamo.store.large_values import LargeValues
from sessions_dynamo.store.live_update import StateUpdate, Update, beginning, may_begin, not_found, update_live
from sessions_dynamo.store.session_items import Attributes, Session
from sessions_dynamo.store.state import Fetch, Spilled, State, refuse


class SessionOperations:
    """Creates, loads, saves and ends sessions. One serves a whole process, whatever drives it."""

    def __init__(self, table: str, *, session_ttl: timedelta, terminated_ttl: timedelta, fetch: Fetch = refuse) -> None:
        """``fetch`` reads large values when a state is asked for them; by default each is supplied beforehand."""
        self.table = table
        self.session_ttl = session_ttl
        self.terminated_ttl = terminated_ttl
        self._fetch = fetch
        self._values = LargeValues(table, session_ttl)
        self._regions = RegionEntries(table, session_ttl)

    @classmethod
    def from_settings(cls) -> Self:
        """The operations on the table that the settings describe."""
        return cls(
            conf.DYNAMODB_SESSIONS_TABLE,
            session_ttl=timedelta(hours=conf.SESSION_TTL_HOURS),
            terminated_ttl=timedelta(hours=min(conf.SESSION_TTL_HOURS, conf.EVENT_TTL_HOURS)),
        )

    def create(
        self,
        session_id: str | None = None,
        *,
        principal: str = "",
        protocol_version: str | None = None,
        client_params: Mapping[str, Any] | None = None,
        state: State | None = None,
    ) -> Operation[Session]:
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
        entries = self._values.entries(session_id, state.changes, {})
        session = Session(
            session_id=session_id,
            created_at=times.from_ms(times.to_ms(now)),
            last_activity=session_items.floor(now),
            expires_at=times.from_seconds(times.seconds(now + self.session_ttl)),
            principal=principal,
            protocol_version=protocol_version,
            client_params_text=None if client_params is None else values.dumps(client_params),
            state=state,
        )
        item = session_items.encode(session, entries) | beginning(session_id)
        yield from self._values.put(state.changes, entries)
        try:
            yield from ask(
                self.table,
                "PutItem",
                Item=item,
                ConditionExpression=may_begin(session_id),
                ExpressionAttributeNames={"#ttl": schema.TTL_ATTRIBUTE},
                ExpressionAttributeValues={":now": times.seconds(now)},
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ClientError as exc:
            # A write whose answer was lost is sent again, and then refused for what it did itself.
            if exc.response.get("Item") != item:
                yield from self._values.delete_unused(entries.values(), self.peek(session_id))
                raise SessionExists(f"There is a session {session_id!r} already.") from exc
        except StateTooLarge:
            yield from self._values.delete(entries.values())
            raise
        state.saved(entries, self._fetch)
        metrics.count("SessionCreated")
        return session

    def load(self, session_id: str, principal: str = "") -> Operation[Session]:
        """The live session of this principal, by a consistent read: another worker may have written just now.

        Raises ``SessionNotFound`` alike for an unknown, expired, terminated or foreign session, so that an id tells
        a stranger nothing; and for a user's own, which no client names.
        """
        session = None if schema.is_user_session_id(session_id) else (yield from self.peek(session_id))
        if session is None or not session.is_live or session.principal != principal:
            raise not_found(session_id)
        return session

    def peek(self, session_id: str) -> Operation[Session | None]:
        """The session as it is stored, live or not and whoever's; ``None`` where there is none. For staff."""
        if not schema.is_session_id(session_id):
            return None
        answer = yield from ask(self.table, "GetItem", Key={"session_id": {"S": session_id}}, ConsistentRead=True)
        item = answer.get("Item")
        return session_items.decode(item, self._fetch) if item else None

    def exists(self, session_id: str) -> Operation[bool]:
        """Whether a live session has this id."""
        session = yield from self.peek(session_id)
        return session is not None and session.is_live

    def large_value(self, spilled: Spilled) -> Operation[str]:
        """The JSON text of a large value, for ``State.supply``; raises ``StateConflict`` if it was replaced."""
        return self._values.read(spilled)

    # --- Change -----------------------------------------------------------------------------------------------

    def save(self, session: Session) -> Operation[None]:
        """Write the session's changed state as one unit, with its activity: one UpdateItem.

        Without a change it only records activity. Raises ``SessionNotFound`` if the session ended meanwhile,
        ``StateConflict`` if a key that was read has changed, ``StateTooLarge``; then nothing is changed.
        """
        changes = session.state.changes
        if not changes:
            yield from self.touch(session)
            return
        stored = session.state.entries
        written = self._values.entries(session.session_id, changes, stored)
        entries = {key: entry for key, entry in stored.items() if key not in changes.removed} | written
        yield from self._values.put(changes, written)
        try:
            yield from self._update(session, StateUpdate(self._activity(session), changes, written, stored))
        except (SessionNotFound, StateConflict, StateTooLarge):
            yield from self._values.delete_unused(written.values(), self.peek(session.session_id))
            raise
        session.state.saved(entries, self._fetch)
        yield from self._values.delete(stored[key] for key in changes.keys if key in stored)

    def touch(self, session: Session) -> Operation[None]:
        """Record activity and slide the expiry; at most one UpdateItem a minute.

        Raises ``SessionNotFound`` if the session ended meanwhile.
        """
        if session_items.floor(datetime.now(UTC)) <= session.last_activity:
            return
        yield from self._update(session, Update(self._activity(session)))

    def update(self, /, session: Session, **fields: Any) -> Operation[None]:
        """Set ``initialized_at`` or ``log_level``, and record activity.

        Raises ``SessionNotFound`` if the session ended meanwhile.
        """
        yield from self._update(session, Update(self._activity(session) | session_items.encode_fields(fields)))
        for name, value in fields.items():
            setattr(session, name, value)

    def subscribe(self, session: Session, uri: str) -> Operation[None]:
        """Add a resource to the session's subscriptions; raises ``SessionNotFound``."""
        yield from self._update(session, Update(self._activity(session), add={"subscriptions": {"SS": [uri]}}))
        session.subscriptions |= {uri}

    def subscribers(self, uri: str, session_ids: Sequence[str]) -> Operation[set[str]]:
        """Those of some sessions that are subscribed to a resource: one request for 100 of them."""
        keys = [{"session_id": {"S": session_id}} for session_id in session_ids]
        items = yield from batches.get(self.table, keys, projection=("session_id", "subscriptions"))
        return {item["session_id"]["S"] for item in items if uri in item.get("subscriptions", {}).get("SS", ())}

    def unsubscribe(self, session: Session, uri: str) -> Operation[None]:
        """Remove a resource from the session's subscriptions; raises ``SessionNotFound``."""
        yield from self._update(session, Update(self._activity(session), delete={"subscriptions": {"SS": [uri]}}))
        session.subscriptions -= {uri}

    def incr(self, session: Session, name: str, by: int = 1) -> Operation[int]:
        """Add to a counter, at once and atomically, and return its new value; a counter begins at 0.

        A lost answer makes the AWS client ask again, which may count twice. Raises ``SessionNotFound`` if the session
        ended meanwhile, ``InvalidState`` for a name that is no key or a number that is not whole.
        """
        values.check_key(name)
        values.check_count(by)
        new = yield from self._update(
            session, Update(self._activity(session), counter=(name, by)), returning="UPDATED_NEW"
        )
        session.counters[name] = int(new["counters"]["M"][name]["N"])
        return session.counters[name]

    # --- End --------------------------------------------------------------------------------------------------

    def terminate(self, session_id: str, principal: str | None = None) -> Operation[datetime | None]:
        """End a live session: gone for clients, still readable by staff until its shortened ``ttl``; since when it was.

        ``principal`` restricts it to that principal's session; ``None`` is for staff. Raises ``SessionNotFound``.
        """
        if principal is not None and schema.is_user_session_id(session_id):
            raise not_found(session_id)
        now = datetime.now(UTC)
        ended = {
            "terminated_at": {"N": str(times.to_ms(now))},
            schema.TTL_ATTRIBUTE: times.seconds(now + self.terminated_ttl),
        }
        item = yield from update_live(self.table, session_id, principal, Update(ended), returning="ALL_NEW")
        metrics.count("SessionTerminated")
        return times.from_ms(int(item["created_at"]["N"])) if "created_at" in item else None

    def delete(self, session_id: str) -> Operation[bool]:
        """Delete a session's item, live or not, and its large values; whether there was one.

        Its events stay: ``EventStore.delete`` removes them.
        """
        if not schema.is_session_id(session_id):
            return False
        answer = yield from ask(self.table, "DeleteItem", Key={"session_id": {"S": session_id}}, ReturnValues="ALL_OLD")
        item = answer.get("Attributes")
        yield from self._values.delete(session_items.decode_entries(item or {}).values())
        return bool(item)

    def delete_if_inactive(
        self, session_id: str, *, now: datetime, idle_since: datetime | None = None
    ) -> Operation[bool]:
        """Delete a session if its ``ttl`` is at or before ``now``, or it was last active before ``idle_since``.

        The condition is judged on the item itself: the indexes may be behind a client that just came back.
        """
        condition = "#ttl <= :now"
        bound = {":now": times.seconds(now)}
        if idle_since is not None:
            condition += " OR last_activity < :idle"
            bound[":idle"] = {"N": str(times.to_ms(idle_since))}
        try:
            answer = yield from ask(
                self.table,
                "DeleteItem",
                Key={"session_id": {"S": session_id}},
                ConditionExpression=condition,
                ExpressionAttributeNames={"#ttl": schema.TTL_ATTRIBUTE},
                ExpressionAttributeValues=bound,
                ReturnValues="ALL_OLD",
            )
        except ClientError:
            return False
        yield from self._values.delete(session_items.decode_entries(answer.get("Attributes", {})).values())
        metrics.count("SessionExpired")
        return True

    # --- global_state -----------------------------------------------------------------------------------------

    def set_global_state(self, session: Session, region: str, value: Any) -> Operation[None]:
        """Write one region's entry: an item of its own, so that two regions never overwrite each other's.

        It is kept for two session TTLs after its last write. Raises ``InvalidState`` or ``StateTooLarge``.
        """
        yield from self._regions.put(session.session_id, region, value)

    def get_global_state(self, session: Session, region: str, default: Any = None) -> Operation[Any]:
        """One region's entry, by a consistent read; ``default`` where there is none."""
        text = yield from self._values.text(schema.global_state_id(session.session_id, region))
        return default if text is None else values.loads(text)

    def _activity(self, session: Session) -> Attributes:
        """What every write to a session sets besides its own change."""
        now = datetime.now(UTC)
        return {
            "last_activity": {"N": str(times.to_ms(max(session_items.floor(now), session.last_activity)))},
            schema.TTL_ATTRIBUTE: times.seconds(now + self.session_ttl),
        }

    def _update(self, session: Session, update: Update, returning: str = "NONE") -> Operation[Attributes]:
        if session.stream_id is not None:
            update.unless_lapsed(session.stream_id)
        new = yield from update_live(self.table, session.session_id, session.principal, update, returning=returning)
        session.last_activity = times.from_ms(int(update.attributes["last_activity"]["N"]))
        session.expires_at = times.from_seconds(update.attributes[schema.TTL_ATTRIBUTE])
        yield from self._values.keep(session)
        return new


@cache
def default_operations() -> SessionOperations:
    """The process's, made on first use."""
    return SessionOperations.from_settings()


forget_on_change(default_operations.cache_clear, "DYNAMODB_", "AWS_", "SESSION_TTL_HOURS", "EVENT_TTL_HOURS")
