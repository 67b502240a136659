"""The events page: across sessions by time, filtered, live; and one event whole."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import pytest
from django.test import Client
from django.urls import reverse

from sessions_dynamo import schema
from sessions_dynamo.reading import event_list
from sessions_dynamo.store.calls import Call
from sessions_dynamo.store.event_items import PART_BYTES, Event
from sessions_dynamo.store.events import default_store as events
from tests.engines import on_moto
from tests.sessions_dynamo.exported import put_of_the_moment
from tests.sessions_dynamo.support import Wire, raw_items, record_calls

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

pytestmark = pytest.mark.django_db

HOSTILE = '<script>alert(1)</script>\u202e"javascript:'


def add(*rows: tuple[str, str, str], seconds_ago: float = 60) -> None:
    """Store calls of ``(session, tool, outcome)``, each a second after the one before."""
    first = datetime.now(UTC) - timedelta(seconds=seconds_ago + len(rows))
    calls = [
        Call(session_id, first + timedelta(seconds=number), "tools/call", outcome, 1.0, tool=tool)
        for number, (session_id, tool, outcome) in enumerate(rows)
    ]
    record_calls(events(), *calls)


def listed(text: str) -> list[str]:
    """The session and tool, or type, of each entry that is shown."""
    rows = re.findall(r'<li class="entry.*?</summary>', text, re.DOTALL)
    sessions = [re.findall(r'<a class="of" href="[^"]*" title="([^"]*)">', row)[0] for row in rows]
    names = [re.findall(r'client-text">([^<]*)<', row) for row in rows]
    # A call's method, then its tool; an event's type, then what it carries.
    shown = [row[1] if row[0] == "tools/call" else row[0] for row in names]
    return [html.unescape(f"{session}/{name}") for session, name in zip(sessions, shown, strict=True)]


def get(client: Client, **query: str) -> str:
    answer = client.get(reverse("mcp_staff:events", query=query))
    assert answer.status_code == 200
    return str(answer.content.decode())


def onward(text: str) -> dict[str, str] | None:
    found = re.findall(r'rel="next" href="\?([^"]+)"', text)
    if not found:
        return None
    return dict(parse_qsl(html.unescape(found[0])))


def every_page(client: Client, **query: str) -> list[str]:
    found: list[str] = []
    following: dict[str, str] | None = query
    for _ in range(50):
        text = get(client, **(following or {}))
        found += listed(text)
        following = onward(text)
        if following is None:
            return found
    raise AssertionError("the pages do not end")


def test_entries_of_all_sessions_are_listed_newest_first(dynamodb: DynamoDBClient, viewer: Client) -> None:
    add(*((f"session-{number % 7}", f"tool-{number}", "ok") for number in range(120)))
    expected = [f"session-{number % 7}/tool-{number}" for number in reversed(range(120))]
    assert every_page(viewer) == expected


def test_entries_of_one_moment_are_all_listed_once(dynamodb: DynamoDBClient, viewer: Client) -> None:
    at = datetime.now(UTC)
    calls = [Call("one", at, "tools/call", "ok", 1.0, tool=f"tool-{number}") for number in range(130)]
    record_calls(events(), *calls)
    found = every_page(viewer)
    assert len(found) == len(set(found)) == 130


def test_a_page_is_one_query_a_shard_and_one_batch(dynamodb: DynamoDBClient, viewer: Client, wire: Wire) -> None:
    add(*((f"session-{number}", "add", "ok") for number in range(130)))
    with wire.counting() as requests:
        get(viewer)
    assert requests == {"Query": schema.SHARDS, "BatchGetItem": 1}


def test_a_filter_reads_so_much_and_then_offers_to_go_on(
    dynamodb: DynamoDBClient, viewer: Client, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_list, "MAX_READS", 2)
    add(("rare", "seldom", "tool_error"), *((f"session-{number}", "add", "ok") for number in range(220)))
    with wire.counting() as requests:
        text = get(viewer, show="failed")
    assert requests == {"Query": schema.SHARDS, "BatchGetItem": 2}
    assert "200 rows read, 0 found" in text
    assert "go on" in text
    assert every_page(viewer, show="failed") == ["rare/seldom"]


def test_entries_are_filtered_by_kind_type_session_and_time(dynamodb: DynamoDBClient, viewer: Client) -> None:
    add(("one", "add", "ok"), ("two", "subtract", "-32602"), seconds_ago=600)
    events().store("two", "notifications/message", "{}")
    assert every_page(viewer, show="events") == ["two/notifications/message"]
    assert every_page(viewer, show="calls") == ["two/subtract", "one/add"]
    assert every_page(viewer, show="failed") == ["two/subtract"]
    assert every_page(viewer, type="add") == ["one/add"]
    assert every_page(viewer, session="two") == ["two/notifications/message", "two/subtract"]
    assert every_page(viewer, session="two", show="failed") == ["two/subtract"]
    before = (datetime.now(UTC) - timedelta(seconds=300)).strftime("%Y-%m-%dT%H:%M:%S")
    assert every_page(viewer, before=before) == ["two/subtract", "one/add"]
    assert every_page(viewer, session="two", before=before) == ["two/subtract"]


@on_moto
def test_a_damaged_cursor_shows_the_newest_and_says_so(dynamodb: DynamoDBClient, viewer: Client) -> None:
    add(("one", "add", "ok"))
    text = get(viewer, cursor="damaged")
    assert "begin again" in text
    assert listed(text) == ["one/add"]


def test_a_cursor_of_another_filter_shows_the_newest_and_says_so(dynamodb: DynamoDBClient, viewer: Client) -> None:
    add(*((f"session-{number % 2}", "add", "ok") for number in range(120)))
    of_one = {"session": "session-1"}
    for scope in ({}, of_one):
        following = onward(get(viewer, **scope))
        assert following
        text = get(viewer, **following, before="2020-01-01T00:00")
        assert "begin again" in text
        assert listed(text) == []


@on_moto
def test_an_empty_list_says_why(dynamodb: DynamoDBClient, viewer: Client) -> None:
    assert "No events yet" in get(viewer)
    assert "Nothing matches" in get(viewer, type="none")
    assert "Nothing matches" in get(viewer, session="../..")


def live_url(text: str) -> str:
    return html.unescape(re.findall(r'id="live" data-url="([^"]+)"', text)[0])


def test_the_tail_shows_what_is_new_once(dynamodb: DynamoDBClient, viewer: Client, wire: Wire) -> None:
    add(("one", "old", "ok"), seconds_ago=1)
    url = live_url(get(viewer))
    add(("one", "late-record", "ok"), seconds_ago=2)
    events().store("two", "fresh-news", "{}")
    with wire.counting() as requests:
        first = viewer.get(url).content.decode()
    assert sorted(listed(first)) == ["one/late-record", "two/fresh-news"]
    assert requests == {"Query": schema.SHARDS, "BatchGetItem": 1}
    with wire.counting() as requests:
        second = viewer.get(live_url(first)).content.decode()
    assert listed(second) == []
    assert requests == {"Query": schema.SHARDS}


@on_moto
def test_the_tail_keeps_to_the_filter(dynamodb: DynamoDBClient, viewer: Client) -> None:
    url = live_url(get(viewer, show="failed", session="two"))
    add(("one", "other", "tool_error"), ("two", "fine", "ok"), ("two", "wrong", "tool_error"), seconds_ago=0)
    assert listed(viewer.get(url).content.decode()) == ["two/wrong"]


@on_moto
def test_a_tail_that_cannot_follow_says_so(dynamodb: DynamoDBClient, viewer: Client) -> None:
    url = live_url(get(viewer))
    now = datetime.now(UTC)
    calls = [Call("one", now, "ping", "ok", 1.0) for _ in range(120)]
    record_calls(events(), *calls)
    text = viewer.get(url).content.decode()
    assert "Show the newest" in text
    # Beside the part that the next look replaces.
    assert 'hx-swap-oob="innerHTML:#missed"' in text
    assert 'id="missed"' in get(viewer)


@on_moto
def test_a_tail_of_long_ago_is_broken_off(
    dynamodb: DynamoDBClient, viewer: Client, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = live_url(get(viewer))
    monkeypatch.setattr(schema, "now_ms", lambda now=schema.now_ms: now() + 3_600_000)
    with wire.counting() as requests:
        assert "Show the newest" in viewer.get(url).content.decode()
    assert requests.total() == 0


class TestOneEvent:
    def url(self, event: Event, name: str = "event") -> str:
        return reverse(f"mcp_staff:{name}", args=[event.session_id, event.event_id])

    @on_moto
    def test_an_event_is_shown_and_downloaded(self, dynamodb: DynamoDBClient, viewer: Client) -> None:
        data = json.dumps({"jsonrpc": "2.0", "method": "notifications/message", "params": {"data": HOSTILE}})
        event = events().store("one", "notifications/message", data)
        text = viewer.get(self.url(event)).content.decode()
        assert "<script>alert" not in text
        assert html.escape("<script>alert(1)") in text
        answer = viewer.get(self.url(event, "event-download"))
        assert answer.content.decode() == data
        assert answer["Content-Disposition"].startswith("attachment")

    def test_a_large_event_is_cut_on_screen_and_whole_in_the_download(
        self, dynamodb: DynamoDBClient, viewer: Client
    ) -> None:
        data = json.dumps("é" * PART_BYTES, ensure_ascii=False)
        event = events().store("one", HOSTILE, data)
        answer = viewer.get(self.url(event))
        assert "stored in 3 parts" in answer.content.decode()
        assert len(answer.content) < 250_000
        assert viewer.get(self.url(event, "event-download")).content.decode() == data

    @on_moto
    def test_a_call_shows_its_bodies_where_they_were_recorded(self, dynamodb: DynamoDBClient, viewer: Client) -> None:
        call = Call("one", datetime.now(UTC), "tools/call", "tool_error", 3.25, tool=HOSTILE,
                    request_body='{"a":1}', response_body=json.dumps(HOSTILE))  # fmt: skip
        url = reverse("mcp_staff:event", args=["one", *record_calls(events(), call)])
        text = viewer.get(url).content.decode()
        assert "the tool answered with an error" in text
        assert "<script>alert" not in text
        assert viewer.get(f"{url}download/?body=request").content == b'{"a":1}'
        assert json.loads(viewer.get(f"{url}download/?body=response").content) == HOSTILE

    @on_moto
    @pytest.mark.parametrize(
        ("session_id", "key"),
        [
            ("one", "none"),
            ("../..", "../../x"),
            ("#bus", "1"),
            ("#workers", "0123456789ab"),
            ("#inbox.0123456789ab", "1763700000000aaa"),
            ("#news.0123456789ab", "0000000001"),
            ("one", "hold.0.0123456789ab.1"),
            ("one", "cancel."),
            (HOSTILE, HOSTILE),
            ("one", "call.1"),
            ("." * 300, ".!"),
        ],
    )
    def test_an_unknown_event_is_a_page_that_says_so(
        self, dynamodb: DynamoDBClient, viewer: Client, session_id: str, key: str
    ) -> None:
        for name in ("event", "event-download"):
            answer = viewer.get(reverse(f"mcp_staff:{name}", args=[session_id, key]))
            assert answer.status_code == 404
            assert "<script>alert" not in answer.content.decode()


@on_moto
def test_what_workers_tell_each_other_is_no_event_of_any_page(dynamodb: DynamoDBClient, viewer: Client) -> None:
    put_of_the_moment(events(), "one")
    put_of_the_moment(events(), "one", timestamp={"N": "1"}, shard={"S": "0"}, event_type={"S": "ping"})
    keys = [(item["session_id"]["S"], item["event_id"]["S"]) for item in raw_items(dynamodb, events().table)]
    assert keys
    for session_id, key in keys:
        assert 'class="entry' not in get(viewer, session=session_id)
        for name in ("event", "event-download"):
            assert viewer.get(reverse(f"mcp_staff:{name}", args=[session_id, key])).status_code == 404
    assert 'class="entry' not in get(viewer)


@on_moto
def test_foreign_sessions_of_dots_and_slashes_do_no_harm(dynamodb: DynamoDBClient, viewer: Client) -> None:
    event = events().store("../../etc", HOSTILE, "{}")
    text = get(viewer)
    link = reverse("mcp_staff:session", args=["../../etc"])
    assert ".." not in link
    assert link in text
    assert "<script>alert" not in text
    assert viewer.get(link).status_code == 404
    assert viewer.get(reverse("mcp_staff:event", args=[event.session_id, event.event_id])).status_code == 200


@on_moto
def test_without_permission_nothing_is_shown(dynamodb: DynamoDBClient, staff_client: Callable[..., Any]) -> None:
    event = events().store("one", "ping", "{}")
    nobody = staff_client()
    for url in (
        reverse("mcp_staff:events"),
        reverse("mcp_staff:events-live"),
        reverse("mcp_staff:event", args=["one", event.event_id]),
        reverse("mcp_staff:event-download", args=["one", event.event_id]),
    ):
        assert nobody.get(url).status_code == 403
