"""A service that has been used for a while: sessions of every status, a day of calls, and some from hostile hands."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from sessions_dynamo import schema
from sessions_dynamo.store import batches, calls, event_items, events, session_items, sessions, times
from sessions_dynamo.store.session_items import Session
from sessions_dynamo.workers import streams
from sessions_dynamo.workers.roster import WorkerItem
from tests.browser import clients, hostile
from tests.sessions_dynamo.support import record_calls

OLDER_SESSIONS: Final = 130
"""More than two pages of the list."""

_CLIENTS: Final = (("claude-code", "2.4.1"), ("claude-desktop", "1.9.0"), ("vscode", "1.112.0"), ("cursor", "3.2.0"))
_VERSIONS: Final = ("2025-06-18", "2025-11-25", "2026-07-28")
_PRINCIPALS: Final = ("alice", "bob", "user:7", "")
_TOOLS: Final = ("store_app_state", "get_app_state", "lambda_operation", "dynamodb_info")


@dataclass(frozen=True, slots=True)
class Seeded:
    """Ids of sessions by what was done with them."""

    busy: str
    modern: str
    terminated: str
    expired: str
    idle: str
    large: str
    hostile: str
    busy_event: str
    """The id of the newest event of a stream of ``busy``."""
    large_event: str


def seed(url: str) -> Seeded:
    """Use the site at ``url`` as clients do, then give it a past that no client can."""
    seeded = everyday(url)
    hostile_id = hostile.by_clients(url)
    hostile.by_hand(hostile_id)
    hostile.odd_items()
    store = events.default_store()
    busy_event, large_event = (store.recent(seeded[name], 1)[-1].event_id for name in ("busy", "large"))
    return Seeded(**seeded, hostile=hostile_id, busy_event=busy_event, large_event=large_event)


def everyday(url: str) -> dict[str, str]:
    """What any service holds; nothing hostile."""
    older_sessions()
    workers()
    seeded = {
        "large": clients.say_much(url, 70_000),
        "expired": clients.use_briefly(url, name="cursor", version="3.2.0", values={"seen": True}),
        "idle": clients.use_briefly(url, name="claude-desktop", version="1.9.0", values={"seen": True}),
        "terminated": clients.use_and_end(url),
        "modern": clients.use_without_session(url),
        "busy": clients.use_everything(url),
    }
    now = datetime.now(UTC)
    last_used = now - sessions.default_store().session_ttl - timedelta(minutes=5)
    _change(seeded["expired"], created_at=last_used, last_activity=last_used, ttl=now - timedelta(minutes=5))
    _change(seeded["idle"], last_activity=now - timedelta(hours=2))
    clients.wait_for_calls(seeded["busy"], 15)
    return seeded


def older_sessions() -> None:
    """Sessions of the last day with their calls and events, the same at every run but for their ids and times."""
    chance = random.Random(5)
    store, event_store = sessions.default_store(), events.default_store()
    items, served = [], []
    for number in range(OLDER_SESSIONS):
        created = datetime.now(UTC) - timedelta(minutes=20 + 10 * number)
        name, version = chance.choice(_CLIENTS)
        protocol_version = chance.choice(_VERSIONS)
        session = Session(
            schema.new_session_id(),
            created,
            session_items.floor(created + timedelta(minutes=chance.randint(0, 15))),
            created + store.session_ttl,
            principal=chance.choice(_PRINCIPALS),
            protocol_version=protocol_version,
            client_params_text=json.dumps(
                {
                    "protocolVersion": protocol_version,
                    "capabilities": {"elicitation": {}},
                    "clientInfo": {"name": name, "version": version},
                }
            ),
        )
        items.append(session_items.encode(session, {"step": str(number)}))
        for second in range(chance.randint(0, 4)):
            failed = chance.random() < 0.1
            call = calls.Call(
                session.session_id,
                created + timedelta(seconds=second),
                "tools/call",
                "tool_error" if failed else "ok",
                chance.expovariate(1 / 20),
                tool=chance.choice(_TOOLS),
                request_bytes=chance.randint(80, 900),
                response_bytes=chance.randint(120, 4000),
            )
            served.append(call)
        if number % 5 == 0:
            method = "notifications/message"
            message = json.dumps({"jsonrpc": "2.0", "method": method, "params": {"level": "info", "data": number}})
            stream_id = schema.time_ordered_id(times.to_ms(created))
            event_store.append([event_items.Event(session.session_id, stream_id, 0, method, message, created)])
    record_calls(event_store, *served)
    store.drive(batches.put(store.table, items))


def workers() -> None:
    """Two that are alive for as long as anybody looks, and one that was killed ten minutes ago."""
    now, roster = datetime.now(UTC), streams.default_store().roster
    for number, (holds, silent) in enumerate(
        (
            ({"streams": 3, "calls": 4, "standalone": 2, "questions": 1, "followed": 1, "subscriptions": 12}, 0),
            ({}, 0),
            ({"calls": 2, "streams": 2}, 10),
        )
    ):
        interval = 5.0 if silent else 1_200.0
        started_at, beat_at = now - timedelta(hours=7 * number + 1), now - timedelta(minutes=silent)
        roster.keep(
            WorkerItem(f"{number:x}" * 12, 900, 15.0, interval, f"ip-10-0-{number}-17", 21, started_at, beat_at, holds)
        )


def _change(session_id: str, **moved: datetime) -> None:
    """Move a session's times, which the store never does backwards."""
    store = sessions.default_store()
    changed = {
        name: times.seconds(at) if name == schema.TTL_ATTRIBUTE else {"N": str(times.to_ms(at))}
        for name, at in moved.items()
    }
    store.dynamodb.update_item(
        TableName=store.table,
        Key={"session_id": {"S": session_id}},
        AttributeUpdates={name: {"Value": value, "Action": "PUT"} for name, value in changed.items()},
    )
