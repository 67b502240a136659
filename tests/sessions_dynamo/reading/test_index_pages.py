"""Queries to their last page, and pages merged from every shard; on each engine."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from typing import Any

import pytest

from sessions_dynamo import schema
from sessions_dynamo.errors import IndexMissing
from sessions_dynamo.reading.session_list import Order, SessionList
from sessions_dynamo.store import queries
from sessions_dynamo.store.sessions import SessionStore
from tests.sessions_dynamo.support import Wire


def _of_principal(store: SessionStore, **more: Any) -> dict[str, Any]:
    return {
        "TableName": store.table,
        "IndexName": schema.PRINCIPAL_INDEX.name,
        "KeyConditionExpression": "principal = :alice",
        "ExpressionAttributeValues": {":alice": {"S": "alice"}},
        **more,
    }


@pytest.fixture
def seven_sessions(session_store: SessionStore) -> list[str]:
    return [session_store.create(principal="alice").session_id for _ in range(7)]


def test_a_query_is_read_to_its_last_page(session_store: SessionStore, seven_sessions: list[str], wire: Wire) -> None:
    items = session_store.drive(queries.query_all(**_of_principal(session_store, Limit=2)))
    assert sorted(item["session_id"]["S"] for item in items) == sorted(seven_sessions)
    assert len(wire.of("Query")) == 4


def test_a_query_reads_no_page_that_is_not_asked_for(
    session_store: SessionStore, seven_sessions: list[str], wire: Wire
) -> None:
    items = queries.stream(session_store.drive, **_of_principal(session_store, Limit=2))
    assert len([next(items), next(items)]) == 2
    assert len(wire.of("Query")) == 1
    assert len(list(items)) == 5
    assert len(wire.of("Query")) == 4


def test_a_query_ends_with_the_page_that_is_enough(
    session_store: SessionStore, seven_sessions: list[str], wire: Wire
) -> None:
    query = _of_principal(session_store, Limit=2)
    items = session_store.drive(queries.query_all(enough=lambda items: len(items) >= 3, **query))
    assert len(items) == 4
    assert len(wire.of("Query")) == 2


def test_a_count_is_of_every_page(session_store: SessionStore, seven_sessions: list[str], wire: Wire) -> None:
    assert session_store.drive(queries.count_all(**_of_principal(session_store, Limit=2))) == 7
    assert len(wire.of("Query")) == 4
    assert all(query["Select"] == "COUNT" for query in wire.of("Query"))


def test_a_query_that_dynamodb_refuses_is_a_storage_error(session_store: SessionStore) -> None:
    query = _of_principal(session_store, IndexName="NoSuchIndex")
    with pytest.raises(IndexMissing, match="dynamodb_setup"):
        session_store.drive(queries.query_all(**query))


def _cursor(session_pages: SessionList, order: Order = "last_activity", *, newest_first: bool = True) -> str:
    cursor = session_pages.page(order, newest_first=newest_first, limit=2).next_cursor
    assert cursor is not None
    return cursor


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "7",
        "é",
        "\x00",
        "a" * 5000,
        urlsafe_b64encode(b"{}").decode(),
        urlsafe_b64encode(b'{"0":["1","abc"]}').decode(),
        urlsafe_b64encode(b"[" * 5000).decode(),
    ],
)
def test_a_cursor_that_came_from_no_page_is_refused(session_pages: SessionList, cursor: str) -> None:
    with pytest.raises(ValueError, match="cursor is damaged"):
        session_pages.page(cursor=cursor)


def test_a_cursor_that_was_changed_is_refused(session_pages: SessionList, seven_sessions: list[str]) -> None:
    cursor = _cursor(session_pages)
    assert session_pages.page(cursor=cursor).items
    for place in (0, len(cursor) // 2, len(cursor) - 1):
        damaged = cursor[:place] + ("A" if cursor[place] != "A" else "B") + cursor[place + 1 :]
        with pytest.raises(ValueError, match="cursor is damaged"):
            session_pages.page(cursor=damaged)
    with pytest.raises(ValueError, match="cursor is damaged"):
        session_pages.page(cursor=cursor[:-1])


def test_a_cursor_of_another_list_is_refused(session_pages: SessionList, seven_sessions: list[str]) -> None:
    with pytest.raises(ValueError, match="cursor is damaged"):
        session_pages.page("created_at", cursor=_cursor(session_pages, "last_activity"))
    with pytest.raises(ValueError, match="cursor is damaged"):
        session_pages.page(newest_first=False, cursor=_cursor(session_pages, newest_first=True))


def test_a_cursor_fits_a_url(session_store: SessionStore, session_pages: SessionList) -> None:
    for shard in range(40):
        session_store.create(f"{shard}".rjust(128, "s"))
    cursor = session_pages.page(limit=20).next_cursor
    assert cursor is not None
    assert len(cursor) < 2000
