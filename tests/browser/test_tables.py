"""The tables' page: as they stand, what drifted, and the button that mends it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import expect

from sessions_dynamo import schema
from sessions_dynamo.store.events import default_store
from sessions_dynamo.tables import setup
from sessions_dynamo.tables.names import named_tables
from tests.browser.visitor import Visitor, assert_whole

TABLES = "/admin/tables/"


@pytest.fixture
def drifted() -> Iterator[None]:
    """The events table without its Time to Live, as somebody may have left it in the console."""
    store = default_store()
    store.dynamodb.update_time_to_live(
        TableName=store.table, TimeToLiveSpecification={"Enabled": False, "AttributeName": schema.TTL_ATTRIBUTE}
    )
    yield
    setup.ensure_tables()


def _time_to_live() -> str:
    store = default_store()
    answer = store.dynamodb.describe_time_to_live(TableName=store.table)
    return str(answer["TimeToLiveDescription"]["TimeToLiveStatus"])


def test_both_tables_are_shown_with_their_indexes(admin: Visitor) -> None:
    page = admin.goto(TABLES)
    for named in named_tables():
        section = page.locator(f'[id="{named.name}"]')
        expect(section).to_contain_text("Time to Live")
        for index in named.schema.indexes:
            expect(section.get_by_text(index.name, exact=True)).to_be_visible()


def test_drift_is_shown_planned_and_mended(admin: Visitor, drifted: None) -> None:
    page = admin.goto(TABLES)
    expect(page.get_by_role("heading", name="Drift from what is declared")).to_be_visible()
    assert_whole(admin)
    admin.follow(page.get_by_role("link", name="Converge"))
    expect(page.locator(".staff")).to_contain_text(default_store().table)
    assert _time_to_live() == "DISABLED"
    assert_whole(admin)

    admin.follow(page.get_by_role("button", name="Converge the tables"))
    expect(page.get_by_role("heading", name="What was done")).to_be_visible()
    assert _time_to_live() == "ENABLED"
    assert_whole(admin)


def test_whoever_may_not_change_tables_sees_the_drift_and_the_command(
    visit: Callable[..., Visitor], drifted: None
) -> None:
    page = visit("viewer").goto(TABLES)
    expect(page.get_by_role("heading", name="Drift from what is declared")).to_be_visible()
    expect(page.get_by_text("dynamodb_setup").first).to_be_visible()
    expect(page.get_by_role("link", name="Converge")).to_have_count(0)
