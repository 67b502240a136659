"""State values too large for their session's own item: each is an item of its own, under a key never used before.

Put the new one, point to it, delete the one that it replaces. A crash in between leaves an item that nothing points
to, which its ``ttl`` removes; so does an answer that never came: the pointer may have been written all the same.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from botocore.exceptions import ClientError

from sessions_dynamo import schema
from sessions_dynamo.errors import StateConflict, StorageError
from sessions_dynamo.operations import Operation, ask
from sessions_dynamo.store import batches, session_items
from sessions_dynamo.store.session_items import Session
from sessions_dynamo.store.state import Changes, Entry, Spilled

logger = logging.getLogger(__name__)


class LargeValues:
    """Puts, reads, keeps and deletes them. Thread-safe."""

    def __init__(self, table: str, session_ttl: timedelta) -> None:
        self._table = table
        self._session_ttl = session_ttl

    def entries(self, session_id: str, changes: Changes, stored: Mapping[str, Entry]) -> dict[str, Entry]:
        """The new entries of a unit of work; raises ``StateTooLarge``."""
        entries: dict[str, Entry] = {}
        for key, text in changes.texts.items():
            size = session_items.check_value_size(repr(key), text)
            if size > session_items.SPILL_BYTES:
                entries[key] = Spilled(schema.spilled_value_id(session_id, key), size, self._expires())
            else:
                entries[key] = text
        kept = {key: entry for key, entry in stored.items() if key not in changes.removed}
        session_items.check_limits(changes, kept | entries)
        return entries

    def put(self, changes: Changes, entries: Mapping[str, Entry]) -> Operation[None]:
        """Put the large values of a unit of work. Raises ``StorageUnavailable``."""
        for key, entry in entries.items():
            if isinstance(entry, Spilled):
                item = {
                    "session_id": {"S": entry.item_id},
                    "value": {"S": changes.texts[key]},
                    schema.TTL_ATTRIBUTE: {"N": str(entry.ttl)},
                }
                yield from ask(self._table, "PutItem", Item=item)

    def keep(self, session: Session) -> Operation[None]:
        """Keep the ``ttl`` of large values ahead of their session's; written two session TTLs ahead, so seldom."""
        for key, entry in session.state.entries.items():
            if not isinstance(entry, Spilled) or entry.ttl > session.expires_at.timestamp():
                continue
            names = {"#ttl": schema.TTL_ATTRIBUTE}
            ttl = {":ttl": {"N": str(self._expires())}}
            try:
                yield from ask(
                    self._table,
                    "UpdateItem",
                    Key={"session_id": {"S": entry.item_id}},
                    UpdateExpression="SET #ttl = :ttl",
                    ConditionExpression="attribute_exists(session_id)",
                    ExpressionAttributeNames=names,
                    ExpressionAttributeValues=ttl,
                )
                yield from ask(
                    self._table,
                    "UpdateItem",
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

    def read(self, spilled: Spilled) -> Operation[str]:
        """The JSON text of a large value; raises ``StateConflict`` for one that was replaced meanwhile."""
        text = yield from self.text(spilled.item_id)
        if text is None:
            raise StateConflict("Another call replaced a large value while this one was reading it: retry.")
        return text

    def text(self, item_id: str) -> Operation[str | None]:
        """What an item apart from its session holds, by a consistent read; ``None`` where there is none, or no more."""
        answer = yield from ask(self._table, "GetItem", Key={"session_id": {"S": item_id}}, ConsistentRead=True)
        item = answer.get("Item")
        return item["value"]["S"] if item and int(item[schema.TTL_ATTRIBUTE]["N"]) > schema.now_ms() / 1000 else None

    def delete(self, entries: Iterable[Entry]) -> Operation[None]:
        """Delete those of some entries that are large values; never raises for what a ``ttl`` removes anyway."""
        keys = [{"session_id": {"S": entry.item_id}} for entry in entries if isinstance(entry, Spilled)]
        try:
            yield from batches.delete(self._table, keys)
        except StorageError as exc:
            # What the caller asked for is done or refused by now: this only tidies up.
            logger.warning("%d large values were left to their ttl: %s", len(keys), exc)

    def delete_unused(self, entries: Iterable[Entry], read: Operation[Session | None]) -> Operation[None]:
        """Delete the large values of a refused write, but none that the session, which ``read`` reads, points to.

        A write whose answer was lost is sent again by the AWS client and then refused for what it did itself.
        """
        spilled = {entry.item_id: entry for entry in entries if isinstance(entry, Spilled)}
        if not spilled:
            return
        try:
            session = yield from read
        except StorageError as exc:
            logger.warning("%d large values were left to their ttl: %s", len(spilled), exc)
            return
        for entry in session.state.entries.values() if session else ():
            if isinstance(entry, Spilled):
                spilled.pop(entry.item_id, None)
        yield from self.delete(spilled.values())

    def _expires(self) -> int:
        return int((datetime.now(UTC) + 2 * self._session_ttl).timestamp())
