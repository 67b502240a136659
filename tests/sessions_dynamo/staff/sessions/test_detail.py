"""The page of one session: what it shows, what it costs, and what hostile content does to it."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.test import Client
from django.urls import reverse

from sessions_dynamo import schema, worker_keys
from sessions_dynamo.staff import json_tree
from sessions_dynamo.store import batches, sessions
from sessions_dynamo.store.calls import Call
from sessions_dynamo.store.events import default_store as events
from sessions_dynamo.store.session_items import Session
from sessions_dynamo.workers import streams
from sessions_dynamo.workers.roster import WorkerItem
from sessions_dynamo.workers.streams import Lease
from tests.engines import on_moto
from tests.sessions_dynamo.exported import put_of_the_moment
from tests.sessions_dynamo.support import Wire, record_calls, state_of

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

pytestmark = pytest.mark.django_db

HOSTILE = "<script>alert(1)</script>\u202egnp.exe javascript:alert(2)"
PARAMS = {
    "protocolVersion": "2025-11-25",
    "capabilities": {"elicitation": {"form": {}}, HOSTILE: {}},
    "clientInfo": {"name": f"inspector {HOSTILE}", "version": "1.2"},
}


def page_of(session_id: str, name: str = "session", **query: str) -> str:
    return reverse(f"mcp_staff:{name}", args=[session_id], query=query)


def make(principal: str = "", **state: Any) -> Session:
    return sessions.default_store().create(
        principal=principal, protocol_version="2025-11-25", client_params=PARAMS, state=state_of(**state)
    )


def add_calls(session_id: str, *outcomes: str, body: str | None = None) -> None:
    now, store = datetime.now(UTC), events()
    calls = [
        Call(session_id, now - timedelta(seconds=len(outcomes) - number), "tools/call", outcome, 12.5, tool="add",
             request_bytes=10, response_bytes=2048, request_body=body)
        for number, outcome in enumerate(outcomes)
    ]  # fmt: skip
    record_calls(store, *calls)


def test_the_page_says_who_it_is_and_what_it_did(dynamodb: DynamoDBClient, viewer: Client) -> None:
    session = make("alice", profile={"name": "Alice"}, large="x" * 5000)
    sessions.default_store().incr(session, "visits", 3)
    add_calls(session.session_id, "ok", "tool_error", "-32602")
    events().store(session.session_id, "notifications/message", '{"params":{"level":"info","data":"warming up"}}')

    text = html.unescape(viewer.get(page_of(session.session_id)).content.decode())

    for expected in (
        session.session_id, "alice", "inspector", "2025-11-25", "elicitation", "visits", "profile", "object, 1 key",
        "spilled", "12.5 ms", "2.0 KB", "tool_error", "-32602", "2 of these 4 failed", "warming up", "Initialized",
        "Log level",
    ):  # fmt: skip
        assert expected in text, expected


@pytest.mark.parametrize(
    ("session_id", "shown"),
    [(schema.user_session_id("ann"), "none: kept for the user"), (None, "none: state handle")],
    ids=["user", "handle"],
)
def test_a_session_without_a_client_says_whose_it_is(
    dynamodb: DynamoDBClient, viewer: Client, session_id: str | None, shown: str
) -> None:
    session = sessions.default_store().create(session_id, principal="ann", state=state_of(colour="blue"))
    text = viewer.get(page_of(session.session_id)).content.decode()
    assert shown in text
    # It waits for no handshake, and has none of what a client with one sets.
    assert "Initialized" not in text
    assert "Log level" not in text
    sessions.default_store().delete(session.session_id)


def test_the_page_costs_few_requests_whatever_the_session_holds(
    dynamodb: DynamoDBClient, viewer: Client, wire: Wire
) -> None:
    session = make(**{f"key{number}": "x" * 5000 for number in range(30)})
    for _ in range(3):
        add_calls(session.session_id, *["ok"] * 100)
    for _ in range(6):
        events().store(session.session_id, "ping", '"' + "x" * 900_000 + '"')
    with wire.counting() as requests:
        assert viewer.get(page_of(session.session_id)).status_code == 200
    assert requests["GetItem"] == 1
    assert requests.total() <= 9
    with wire.counting() as requests:
        assert viewer.get(page_of(session.session_id, show="failed", type="none")).status_code == 200
    assert requests.total() <= 9


@on_moto
def test_an_unknown_session_is_a_page_that_says_so(dynamodb: DynamoDBClient, viewer: Client) -> None:
    for session_id in ("unknown", "../../etc/passwd", "a/b?c#d", HOSTILE, "#bus", "." * 300):
        for name in ("session", "session-related", "session-export"):
            answer = viewer.get(page_of(session_id, name))
            assert answer.status_code == 404
            assert "No such session" in answer.content.decode()
            assert "<script>alert" not in answer.content.decode()


@on_moto
def test_an_ended_session_can_be_read_and_not_changed(
    dynamodb: DynamoDBClient, staff_client: Callable[..., Client]
) -> None:
    client, session = staff_client("view_session", "change_session"), make(key=1)
    sessions.default_store().terminate(session.session_id)
    text = client.get(page_of(session.session_id)).content.decode()
    assert "terminated" in text
    assert page_of(session.session_id, "session-terminate") not in text
    assert page_of(session.session_id, "session-key-add") not in text
    assert 'id="live"' not in text


@on_moto
def test_streams_are_shown_with_owner_and_lease(dynamodb: DynamoDBClient, viewer: Client) -> None:
    session, store = make(), streams.default_store()
    for number, lease_ms in enumerate((60_000, -1_000)):
        lease = Lease(session.session_id, schema.time_ordered_id(), f"worker-{number}", "7")
        store.open(lease, [])
        # Of the version before, which moved a lease for each stream.
        dynamodb.update_item(
            TableName=store.events.table,
            Key={"session_id": {"S": session.session_id}, "event_id": {"S": schema.lease_id(lease.stream_id)}},
            UpdateExpression="SET lease_expires = :at",
            ExpressionAttributeValues={":at": {"N": str(schema.now_ms() + lease_ms)}},
        )
    text = viewer.get(page_of(session.session_id)).content.decode()
    assert "worker-0" in text
    assert "lease lapsed" in text
    assert ">open<" in text


def test_what_runs_and_what_was_cancelled_is_shown_with_its_worker(dynamodb: DynamoDBClient, viewer: Client) -> None:
    session = make()
    assert "At workers" not in viewer.get(page_of(session.session_id)).content.decode()
    put_of_the_moment(events(), session.session_id)
    odd = {"session_id": {"S": session.session_id}, "ttl": {"N": str(schema.now_ms() // 1000 + 60)}}
    past = {"worker": {"S": "gone"}, "ttl": {"N": "1"}}
    keys = ({"event_id": {"S": "hold.odd"}}, {"event_id": {"S": "cancel."}}, {"event_id": {"S": "hold.past"}, **past})
    events().drive(batches.put(events().table, [odd | key for key in keys]))
    answer = viewer.get(page_of(session.session_id))
    text = answer.content.decode()
    assert answer.status_code == 200
    assert "Call of request" in text
    assert f"{reverse('mcp_staff:workers')}#worker-0123456789ab" in text
    assert "The calls of a request" in text
    assert "All calls" in text
    assert "without an answer" in text
    assert "gone" not in text


@on_moto
def test_a_stream_of_a_worker_that_is_gone_is_told_from_one_that_runs(dynamodb: DynamoDBClient, viewer: Client) -> None:
    session, store = make(), streams.default_store()
    there, gone = worker_keys.new_worker_id(), worker_keys.new_worker_id()
    now = datetime.now(UTC)
    store.roster.keep(WorkerItem(there, 1, 15.0, 5.0, "host", 1, now, now))
    for owner in (there, gone):
        store.open(Lease(session.session_id, schema.time_ordered_id(), owner, "7"), [])
    text = viewer.get(page_of(session.session_id)).content.decode()
    assert ">open<" in text
    assert text.count("worker gone") == 1
    assert f"#worker-{there}" in text
    assert "lease until" not in text


@on_moto
def test_what_clients_sent_is_escaped_and_cut(dynamodb: DynamoDBClient, viewer: Client) -> None:
    session = make(HOSTILE, **{HOSTILE: {HOSTILE: [HOSTILE]}, "../..": "x" * 4000, "large": ["<" * 1000] * 390})
    events().store(session.session_id, HOSTILE, json.dumps({"params": HOSTILE * 20_000}))
    add_calls(session.session_id, "ok", body=json.dumps(HOSTILE * 2_000))
    answer = viewer.get(page_of(session.session_id))
    text = answer.content.decode()
    assert "<script>alert" not in text
    assert not re.search(r'(?:href|src|hx-get)="\s*javascript:', text)
    assert len(answer.content) < 120_000
    assert reverse("mcp_staff:session-value", args=[session.session_id, "../.."]) in text
    large = viewer.get(reverse("mcp_staff:session-value", args=[session.session_id, "large"]))
    assert "more: download the value" in large.content.decode()
    assert len(large.content) < 64 * 1024 * len("&lt;") + 60_000


def test_a_damaged_or_foreign_cursor_shows_the_newest(dynamodb: DynamoDBClient, viewer: Client) -> None:
    session = make()
    add_calls(session.session_id, *["ok"] * 60)
    first = viewer.get(page_of(session.session_id))
    onward = html.unescape(re.findall(r'rel="next" href="([^"]+)"', first.content.decode())[0])
    assert viewer.get(page_of(session.session_id) + onward).content.decode().count('class="entry') == 10
    damaged = viewer.get(page_of(session.session_id, cursor="damaged"))
    assert "begin again" in damaged.content.decode()
    assert damaged.content.decode().count('class="entry') == 50


@on_moto
def test_failures_come_with_what_was_recorded_of_them(dynamodb: DynamoDBClient, viewer: Client) -> None:
    session = make()
    add_calls(session.session_id, "ok", "tool_error", "ok", body='{"city": "Oslo"}')
    text = html.unescape(viewer.get(page_of(session.session_id, show="failed")).content.decode())
    assert text.count('class="entry') == 1
    assert '"city": "Oslo"' in text


@on_moto
@pytest.mark.parametrize(
    "query",
    [
        {"before": "yesterday"},
        {"before": "2026-13-45T99:99"},
        {"before": "0001-01-01T00:00+14:00"},
        {"before": "9999-12-31T23:59-14:00"},
        {"before": "1969-07-20"},
        {"show": "nothing"},
    ],
)
def test_a_filter_that_is_no_use_is_named(dynamodb: DynamoDBClient, viewer: Client, query: dict[str, str]) -> None:
    answer = viewer.get(page_of(make().session_id, **query))
    assert answer.status_code == 200
    assert 'role="alert"' in answer.content.decode()


def live_url(text: str) -> str:
    return html.unescape(re.findall(r'id="live" data-url="([^"]+)"', text)[0])


def test_an_event_of_another_process_is_in_the_next_look_and_only_there(
    dynamodb: DynamoDBClient, viewer: Client, wire: Wire
) -> None:
    session = make()
    events().store(session.session_id, "before", "{}")
    url = live_url(viewer.get(page_of(session.session_id)).content.decode())
    events().store(session.session_id, "fresh-news", '{"params":{"step":1}}')
    events().store("another", "not-ours", "{}")

    with wire.counting() as requests:
        first = viewer.get(url, headers={"HX-Request": "true"}).content.decode()
    assert requests == {"Query": 1, "BatchGetItem": 1}
    assert first.count('class="entry') == 1
    assert "fresh-news" in first
    assert 'hx-swap-oob="afterbegin:#entries"' in first
    with wire.counting() as requests:
        second = viewer.get(live_url(first), headers={"HX-Request": "true"}).content.decode()
    assert requests == {"Query": 1}
    assert "fresh-news" not in second


def test_an_event_of_a_stream_that_began_long_ago_is_news_too(dynamodb: DynamoDBClient, viewer: Client) -> None:
    session = make()
    old = events().store(session.session_id, "first", "{}")
    events().store(session.session_id, "second", "{}")
    url = live_url(viewer.get(page_of(session.session_id)).content.decode())
    later = type(old)(old.session_id, old.stream_id, 1, "late-event", "{}", datetime.now(UTC))
    events().append([later])
    assert "late-event" in viewer.get(url).content.decode()


def test_a_tab_that_was_hidden_for_long_is_told_what_it_missed(
    dynamodb: DynamoDBClient, viewer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, hour = make(), 3_600_000
    with monkeypatch.context() as patch:
        patch.setattr(schema, "now_ms", lambda now=schema.now_ms: now() - hour)
        url = live_url(viewer.get(page_of(session.session_id)).content.decode())
    events().store(session.session_id, "while-away", "{}")
    assert "while-away" in viewer.get(url).content.decode()


@on_moto
def test_the_live_part_says_that_the_session_has_ended(
    dynamodb: DynamoDBClient, viewer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = make()
    url = live_url(viewer.get(page_of(session.session_id)).content.decode())
    sessions.default_store().terminate(session.session_id)
    monkeypatch.setattr(schema, "now_ms", lambda now=schema.now_ms: now() + 11_000)
    assert 'data-over="This session has ended."' in viewer.get(url).content.decode()


@on_moto
def test_a_live_part_that_lost_its_place_asks_for_the_page(dynamodb: DynamoDBClient, viewer: Client) -> None:
    answer = viewer.get(page_of(make().session_id, "session-live", after="damaged"), headers={"HX-Request": "true"})
    assert answer.status_code == 400
    assert "load the page again" in answer.content.decode()


def test_related_sessions_are_of_the_same_principal_and_client(
    dynamodb: DynamoDBClient, viewer: Client, wire: Wire
) -> None:
    session, same, other = make("alice"), make("alice"), sessions.default_store().create(principal="bob")
    with wire.counting() as requests:
        text = viewer.get(page_of(session.session_id, "session-related")).content.decode()
    assert page_of(same.session_id) in text
    assert page_of(other.session_id) not in text
    assert requests.total() <= 12


@on_moto
@pytest.mark.parametrize(
    "data",
    [
        '{"params":' + "[" * 600 + "]" * 600 + "}",
        '{"params":' + '{"a":' * 480 + "1" + "}" * 481,
        r'{"params":"\ud800"}',
    ],
)
def test_a_message_that_no_page_could_hold_is_shown_as_far_as_one_can(
    dynamodb: DynamoDBClient, viewer: Client, data: str
) -> None:
    session = make()
    stored = events().store(session.session_id, "odd-message", data)
    for url in (page_of(session.session_id), reverse("mcp_staff:event", args=[session.session_id, stored.event_id])):
        answer = viewer.get(url)
        assert answer.status_code == 200
        assert "odd-message" in answer.content.decode()


def test_no_more_of_a_message_is_indented_than_is_shown() -> None:
    def chunks() -> Iterator[str]:
        yield "[1,"
        yield "2,"
        raise AssertionError("the rest was not needed")

    assert json_tree._first(chunks(), 4) == json_tree.Shown("[1,2", is_cut=True)
    deep = f"{'[' * 90}1,2{']' * 90}"
    whole = json.dumps(json.loads(deep), indent=2)
    assert json_tree.indented(deep, 5_000) == json_tree.Shown(whole[:5_000], is_cut=True)
    assert json_tree.indented(deep, len(whole)) == json_tree.Shown(whole, is_cut=False)


def test_a_part_of_a_page_never_becomes_the_login_page() -> None:
    url = page_of("some-session", "session-related")
    part = Client().get(url, headers={"HX-Request": "true"})
    assert (part.status_code, part.content) == (403, b"")
    assert part["HX-Refresh"] == "true"
    assert Client().get(url)["Location"].startswith("/admin/login/")


@on_moto
def test_without_permission_nothing_is_shown(dynamodb: DynamoDBClient, staff_client: Callable[..., Client]) -> None:
    session = make(key=1)
    nobody = staff_client()
    for name in ("session", "session-live", "session-related", "session-export", "session-terminate", "session-delete"):
        assert nobody.get(page_of(session.session_id, name)).status_code == 403
    viewer_page = staff_client("view_session").get(page_of(session.session_id)).content.decode()
    for name in ("session-terminate", "session-delete", "session-key-add"):
        assert page_of(session.session_id, name) not in viewer_page


@on_moto
def test_the_session_can_be_downloaded(dynamodb: DynamoDBClient, viewer: Client) -> None:
    session = make(large="x" * 5000)
    events().store(session.session_id, "ping", "{}")
    answer = viewer.get(page_of(session.session_id, "session-export"))
    lines = b"".join(answer.streaming_content).splitlines()  # type: ignore[attr-defined]
    assert answer["Content-Disposition"] == f'attachment; filename="session-{session.session_id}.jsonl"'
    assert len([json.loads(line) for line in lines]) >= 4
