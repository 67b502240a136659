"""What nobody should store, stored: markup, script URLs, text that runs backwards, and far too much of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sessions_dynamo import schema, worker_keys
from sessions_dynamo.store import batches, session_items
from sessions_dynamo.store.event_items import Event
from sessions_dynamo.store.events import default_store as default_events
from sessions_dynamo.store.session_items import Session
from sessions_dynamo.store.sessions import default_store as default_sessions
from sessions_dynamo.workers import streams
from sessions_dynamo.workers.roster import WorkerItem
from tests.browser import clients

SCRIPT: Final = "<script>alert(1)</script>"
BREAKOUT: Final = "\"'></code></td></textarea></script><script>alert(2)</script><img src=x onerror=alert(3)>"
URL: Final = "javascript:alert(4)"
BACKWARDS: Final = "invoice\u202efdp.exe"
TEMPLATE: Final = "{{ 7|add:'7' }}{% debug %}${alert(5)}"
LARGE: Final = SCRIPT * 15_600
"""390,000 bytes: about as much as one item holds."""
STRINGS: Final = (SCRIPT, BREAKOUT, URL, BACKWARDS, TEMPLATE)

ODD_IDS: Final = (
    "..",
    ".",
    "../../../admin/logout/",
    "a/b?c=d#e&f",
    "%2e%2e%2f%00",
    "</code><script>alert(6)</script>",
    "\u202egnp.txt",
    "with spaces and ümlauts",
)
"""Keys of items that something else put into the sessions table; no session of ours has such an id."""

DEPTH: Final = 400


def by_clients(url: str) -> str:
    """A session whose client, values and calls are hostile; its id."""
    values: dict[str, Any] = {text: text for text in STRINGS} | {
        "links": [URL, f"https://example.org/{SCRIPT}", "data:text/html,<script>alert(7)</script>"],
        "large": LARGE,
        "__proto__": {"constructor": {"prototype": 1}},
        "k" * 250: "a key of 250 characters",
    }
    tools = (SCRIPT, BREAKOUT, URL)
    session_id = clients.use_briefly(url, name=BREAKOUT, version=URL, values=values, tools=tools)
    clients.wait_for_calls(session_id, len(values) + len(tools))
    return session_id


def by_hand(session_id: str) -> None:
    """What no client of ours can send: deep values, odd event types, and events that hold no JSON."""
    sessions, events = default_sessions(), default_events()
    session = sessions.load(session_id)
    deep: Any = SCRIPT
    for _ in range(DEPTH):
        deep = [deep]
    session.state["deep"] = deep
    session.state["many"] = {f"{SCRIPT}{number}": number for number in range(2000)}
    sessions.save(session)
    for text in STRINGS:
        params = {"level": "info", "data": text}
        message = json.dumps({"jsonrpc": "2.0", "method": text, "params": params})
        events.append([Event(session_id, schema.time_ordered_id(), 0, text, message, datetime.now(UTC))])
    events.store(session_id, "response", f"no JSON: {BREAKOUT}")
    events.store(session_id, "notifications/message", json.dumps({"data": LARGE}))


def odd_items() -> None:
    """Items under ``ODD_IDS`` in both tables, as whole as our own."""
    sessions, events = default_sessions(), default_events()
    now = datetime.now(UTC)
    shapes = [
        Session(
            odd,
            now,
            now,
            now + timedelta(hours=1),
            client_params_text=json.dumps({"clientInfo": {"name": odd, "version": odd}}),
        )
        for odd in ODD_IDS
    ]
    sessions.drive(batches.put(sessions.table, [session_items.encode(shape, {"key": '"value"'}) for shape in shapes]))
    events.append([Event(odd, schema.time_ordered_id(), 0, odd, json.dumps(odd), now) for odd in ODD_IDS])
    # Workers that somebody made up, and one that is none.
    roster, long_ago = streams.default_store().roster, now - timedelta(minutes=30)
    for odd in (*ODD_IDS[:2], BREAKOUT):
        roster.keep(WorkerItem(odd, 1, 1e9, 1.0, odd * 20, 10**12, now, long_ago, {odd: 1, "calls": 10**12}))
    no_worker = {"session_id": {"S": worker_keys.WORKERS_PARTITION}, "event_id": {"S": BREAKOUT * 2}}
    events.drive(batches.put(events.table, [no_worker]))
