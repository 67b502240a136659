"""One session out of an export or out of tables, and back into the tables that serve: its life begins again there."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

from sessions_dynamo import schema
from sessions_dynamo.errors import SessionExists, SessionNotFound
from sessions_dynamo.operations import run
from sessions_dynamo.patience import patiently
from sessions_dynamo.reading import item_kinds
from sessions_dynamo.store import batches, session_items
from sessions_dynamo.store.live_update import put_back
from sessions_dynamo.store.times import seconds, to_ms
from sessions_dynamo.transfer.export_files import unpacked
from sessions_dynamo.transfer.export_format import TABLES, Header, Item, Line, TableKind, Trailer, read
from sessions_dynamo.transfer.exports import Both, export_session

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@dataclass(frozen=True, slots=True)
class OneSession:
    """A session's items: its own, large values and regions' state, and what the events table has of it."""

    session: Item
    beside: tuple[Item, ...]
    events: tuple[Item, ...]
    exported_at: str
    """When it was so, ISO 8601."""

    @property
    def is_live(self) -> bool:
        """Whether clients could go on with it: not ended, and its ``ttl`` to come."""
        return session_items.decode(self.session).is_live

    @property
    def has_ended(self) -> bool:
        """Whether its client or staff ended it, which no new ``ttl`` undoes."""
        return session_items.decode(self.session).terminated_at is not None

    @property
    def expires_at(self) -> datetime:
        return session_items.decode(self.session).expires_at

    def keys(self, table: TableKind) -> set[tuple[str, ...]]:
        """The places of its items in one of the tables."""
        items = self.events if table == "events" else (self.session, *self.beside)
        return {tuple(item[key.name]["S"] for key in TABLES[table].keys) for item in items}


def of_export(stream: BinaryIO, session_id: str) -> OneSession:
    """A session out of a whole export, of both tables or of itself, each line of which is checked.

    Raises ``SessionNotFound`` where it has none of that id, ``ExportDamaged`` and ``ExportTruncated``.
    """
    items: dict[TableKind, list[Item]] = {"sessions": [], "events": []}
    exported_at, lines, counted = "", 0, 0
    for part in read(unpacked(stream)):
        match part:
            case Header():
                exported_at = part.exported_at
            case Line():
                lines += 1
                if part.key[0].partition("#")[0] == session_id:
                    items[part.table].append(part.item)
            case Trailer():
                counted = sum(part.items.values())
    own = [item for item in items["sessions"] if item["session_id"]["S"] == session_id]
    if not own:
        if events := items["events"]:
            raise SessionNotFound(
                f"The export of {exported_at} has {len(events):,} items of events of session {session_id!r}, and not"
                " the session itself, which had expired or was deleted by then. Events alone are no session that a"
                " client could go on with: take an older export or backup."
            )
        less = f", and {counted - lines:,} items of it are missing" if lines < counted else ""
        raise SessionNotFound(f"There is no session {session_id[:128]!r} in the export of {exported_at}{less}.")
    pointed = set(item_kinds.value_ids(own[-1]))
    beside = [
        item
        for item in items["sessions"]
        if item["session_id"]["S"] in pointed or item_kinds.kind_of(item) is item_kinds.SessionsKind.REGION
    ]
    return OneSession(own[-1], tuple(beside), tuple(items["events"]), exported_at)


def of_tables(session_id: str, both: Both, *, client: DynamoDBClient) -> OneSession:
    """A session as tables have it now. Raises ``SessionNotFound``, and as ``export_session``."""
    lines = export_session(session_id, both, client=client)
    return of_export(io.BytesIO("".join(lines).encode()), session_id)


def standing(session_id: str, both: Both, *, client: DynamoDBClient) -> OneSession | None:
    """``of_tables``, or ``None``."""
    try:
        return of_tables(session_id, both, client=client)
    except SessionNotFound:
        return None


def begun_again(one: OneSession, life: timedelta, *, event_life: timedelta) -> OneSession:
    """The session with a new life from now on: used this minute, as if its client had come back.

    No ``ttl`` moves nearer. What stands beside a session lives twice as long, as when it was written.
    """
    now = datetime.now(UTC)
    used = {schema.LAST_ACTIVITY_INDEX.sort.name: {"N": str(to_ms(session_items.floor(now)))}}
    return replace(
        one,
        session=_living_until(one.session, now + life) | used,
        beside=tuple(_living_until(item, now + 2 * life) for item in one.beside),
        events=tuple(_living_until(item, now + event_life) for item in one.events),
    )


def put(one: OneSession, former: OneSession | None, both: Both, *, client: DynamoDBClient, overwrite: bool) -> int:
    """Write the session's items, itself last, so that whoever sees it sees all of it; then delete what is ``former``'s.

    Returns how many items went. Raises ``SessionExists`` where the session lives and is not to be overwritten: then
    what stands is as it was, but for items beside it that ``former`` did not have.
    """
    sessions, events = (table.name for table in both)
    _put_all(client, sessions, one.beside)
    _put_all(client, events, one.events)
    if not patiently(lambda: run(client, put_back(sessions, one.session, over_live=overwrite))):
        raise SessionExists(
            f"Session {one.session['session_id']['S']} began to live meanwhile, and was left as it is: --overwrite"
            " replaces it."
        )
    if former is None:
        return 0
    gone = 0
    for kind, name in (("sessions", sessions), ("events", events)):
        left_over = former.keys(kind) - one.keys(kind)  # type: ignore[arg-type]
        names = [key.name for key in TABLES[kind].keys]  # type: ignore[index]
        keys = [{name: {"S": value} for name, value in zip(names, key, strict=True)} for key in left_over]
        gone += patiently(partial(_delete, client, name, keys))
    return gone


def _put_all(client: DynamoDBClient, table: str, items: Sequence[Item]) -> None:
    patiently(lambda: run(client, batches.put(table, items)))


def _delete(client: DynamoDBClient, table: str, keys: Iterable[Item]) -> int:
    return run(client, batches.delete(table, keys))


def _living_until(item: Item, at: datetime) -> Item:
    """The item with a ``ttl`` that is at least this; one without a number there never expires."""
    ttl = item.get(schema.TTL_ATTRIBUTE, {}).get("N")
    later = seconds(at)
    if ttl is None or float(ttl) >= int(later["N"]):
        return item
    return {**item, schema.TTL_ATTRIBUTE: later}
