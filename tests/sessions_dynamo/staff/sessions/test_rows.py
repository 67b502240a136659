"""The lines of the sessions table, where they must agree with what other pages show."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from sessions_dynamo import schema
from sessions_dynamo.staff.formats import status_badge, when
from sessions_dynamo.staff.sessions import rows
from sessions_dynamo.store.session_items import Session

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@pytest.mark.parametrize(
    "span",
    [
        timedelta(seconds=20),
        MINUTE * 1.5,
        MINUTE * 2.5,
        HOUR - MINUTE * 0.5,
        HOUR * 1.5,
        DAY - HOUR * 0.5,
        DAY * 1.5,
        DAY * 6.5,
        DAY * 8.5,
        DAY * 45,
        DAY * 800,
    ],
)
@pytest.mark.parametrize("sign", [1, -1], ids=["ahead", "ago"])
def test_a_time_reads_as_on_other_pages(span: timedelta, sign: int) -> None:
    at = datetime.now(UTC) + sign * span
    line = rows.rows([Session("abc", at, at, at)], {}, choice=False)
    assert re.findall(r"<time.*?</time>", line) == [when(at)] * 3


def test_a_status_reads_as_on_other_pages() -> None:
    now = datetime.now(UTC)
    day_ago, tomorrow = now - DAY, now + DAY
    for session in (
        Session("active", day_ago, now, tomorrow),
        Session("idle", day_ago, day_ago, tomorrow),
        Session("expired", day_ago, day_ago, now - HOUR),
        Session("terminated", day_ago, now, tomorrow, terminated_at=now),
    ):
        badge = status_badge(session)
        assert session.session_id in badge
        assert badge in rows.rows([session], {}, choice=False)


def test_counted_keys_and_others_are_told_apart() -> None:
    now = datetime.now(UTC)
    lines = rows.rows([Session(name, now, now, now) for name in ("none", "unknown")], {"none": 0}, choice=False)
    assert re.findall(r'class="number">(.*?)</td>', lines) == ["0", '<span class="quiet">not counted</span>']


def test_a_users_own_session_says_so_where_another_has_a_client() -> None:
    now = datetime.now(UTC)
    own, handle = schema.user_session_id("ann"), schema.new_session_id()
    lines = rows.rows(
        [Session(session_id, now, now, now, principal="ann") for session_id in (own, handle)], {}, choice=False
    )
    assert lines.count("kept for the user") == 1
    assert lines.index("kept for the user") < lines.index(handle)
