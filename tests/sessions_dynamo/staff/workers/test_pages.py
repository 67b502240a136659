"""The page of workers: who is alive, who is silent, what they hold, and what cannot be read."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.test import Client
from django.urls import reverse

from sessions_dynamo.staff import stores
from sessions_dynamo.staff.workers import pages
from sessions_dynamo.store import batches
from sessions_dynamo.workers.roster import WorkerItem
from tests.engines import on_moto
from tests.sessions_dynamo.support import Wire

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

pytestmark = pytest.mark.django_db

HOSTILE = "</td><script>alert(1)</script>"


def keep(worker_id: str, *, silent: float = 0, host: str = "web-1", **holds: int) -> None:
    now = datetime.now(UTC)
    beat_at = now - timedelta(seconds=silent)
    item = WorkerItem(worker_id, 9, 15.0, 5.0, host, 4711, now - timedelta(hours=3), beat_at, holds)
    stores.streams().roster.keep(item)


def text_of(client: Client, name: str = "workers") -> str:
    answer = client.get(reverse(f"mcp_staff:{name}"))
    assert answer.status_code == 200
    return re.sub(r"\s+", " ", answer.content.decode())


def test_the_page_tells_the_living_from_the_silent_and_what_each_holds(
    dynamodb: DynamoDBClient, viewer: Client, wire: Wire
) -> None:
    keep("aaaaaaaaaaaa", streams=2, calls=1)
    keep("bbbbbbbbbbbb", calls=4)
    keep("cccccccccccc", silent=615, host="web-9", calls=50)
    with wire.counting() as requests:
        text = text_of(viewer)
    assert requests == {"Query": 1}
    alive, silent = text.split('id="silent-title"')
    assert 'id="worker-aaaaaaaaaaaa"' in alive
    assert "1 call" in alive
    assert "2 streams of calls" in alive
    assert "<dt>Calls</dt><dd>5</dd>" in alive
    assert "<dt>Alive</dt><dd>2</dd>" in alive
    assert "15 s" in alive
    assert "3 hours ago" in alive.replace("\xa0", " ")
    assert "cccccccccccc" not in alive
    assert "web-9" in silent
    assert ">10 min<" in silent
    assert "50 calls" in silent


@pytest.mark.parametrize("name", ["workers", "workers-live"])
def test_without_workers_it_says_what_that_means(dynamodb: DynamoDBClient, viewer: Client, name: str) -> None:
    text = text_of(viewer, name)
    assert "No worker has registered yet" in text
    assert "frozen between calls" in text


@on_moto
def test_the_live_part_is_the_lists_and_where_to_ask_next(dynamodb: DynamoDBClient, viewer: Client) -> None:
    keep("aaaaaaaaaaaa")
    text = text_of(viewer, "workers-live")
    assert f'data-url="{reverse("mcp_staff:workers-live")}"' in text
    assert 'hx-swap-oob="innerHTML:#entries"' in text
    assert "aaaaaaaaaaaa" in text
    assert "<html" not in text


@on_moto
def test_what_cannot_be_read_is_counted_and_what_is_odd_is_escaped(dynamodb: DynamoDBClient, viewer: Client) -> None:
    odd: dict[str, Any] = {"session_id": {"S": "#workers"}, "event_id": {"S": "odd"}}
    events = stores.events()
    events.drive(batches.put(events.table, [odd, odd | {"event_id": {"S": HOSTILE}}]))
    keep(HOSTILE * 2, host=HOSTILE * 9, silent=99)
    text = text_of(viewer)
    assert "2 items among the workers" in text
    assert "<script>alert" not in text
    assert 'id="worker-' not in text
    assert "None. On Lambda" in text


@on_moto
def test_a_long_list_is_cut(dynamodb: DynamoDBClient, viewer: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "MAX_SHOWN", 2)
    for letter in "abc":
        keep(letter * 12)
    text = text_of(viewer)
    assert text.count('id="worker-') == 2
    assert "2 of 3." in text


@on_moto
def test_the_dashboard_leads_to_it(dynamodb: DynamoDBClient, viewer: Client) -> None:
    link = f'<a href="{reverse("mcp_staff:workers")}">'
    assert f"{link}none registered</a>" in text_of(viewer, "dashboard")
    keep("aaaaaaaaaaaa")
    keep("bbbbbbbbbbbb", silent=60)
    assert f"{link}1 alive, 1 silent</a>" in text_of(viewer, "dashboard")
