"""The backups' page: both tables backed up together, restored beside those that serve, and deleted."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page, expect

from sessions_dynamo.backups import on_demand
from sessions_dynamo.client import dynamodb
from sessions_dynamo.tables.names import named_tables
from tests.browser.visitor import Visitor, assert_whole

BACKUPS = "/admin/backups/"


def _names() -> set[str]:
    return {backup.name for backup in on_demand.list_backups()}


def _back_up(visitor: Visitor) -> set[str]:
    """Back both tables up on the page; the backups' names."""
    before = _names()
    page = visitor.goto(BACKUPS)
    visitor.follow(page.get_by_role("link", name="Back up both tables"))
    assert _names() == before
    visitor.follow(page.locator(".confirm").get_by_role("button"))
    return _names() - before


def _row(page: Page, names: set[str]) -> str:
    return f'tbody tr:has-text("{min(names)}")'


def test_both_tables_are_backed_up_under_one_time_and_deleted(admin: Visitor) -> None:
    made = _back_up(admin)
    stamps = {name.rpartition("-backup-")[2] for name in made}
    assert {name.rpartition("-backup-")[0] for name in made} == {named.name for named in named_tables()}
    assert len(stamps) == 1
    page = admin.page
    row = page.locator(_row(page, made))
    for name in made:
        expect(row).to_contain_text(name)
    assert_whole(admin)

    admin.follow(row.get_by_role("link", name="Delete…"))
    for name in made:
        expect(page.locator(".targets")).to_contain_text(name)
    assert made <= _names()
    admin.follow(page.get_by_role("button", name="Delete"))
    assert not made & _names()


def test_a_backup_is_restored_to_new_tables_with_the_plan_shown_first(admin: Visitor) -> None:
    made = _back_up(admin)
    page = admin.page
    before = set(dynamodb().list_tables()["TableNames"])
    admin.follow(page.locator(_row(page, made)).get_by_role("link", name="Restore…"))
    expect(page.get_by_text("Nothing is done yet")).to_be_visible()
    expect(page.get_by_text("Made again").first).to_be_visible()
    assert_whole(admin)
    assert set(dynamodb().list_tables()["TableNames"]) == before

    admin.follow(page.get_by_role("button", name="Restore to new tables"))
    assert_whole(admin)
    restored = set(dynamodb().list_tables()["TableNames"]) - before
    assert len(restored) == 2
    for name in restored:
        expect(page.locator(".staff")).to_contain_text(name)
    expect(page.get_by_text("DYNAMODB_SESSIONS_TABLE=")).to_be_visible()


def test_whoever_may_only_look_is_offered_no_action(visit: Callable[..., Visitor]) -> None:
    page = visit("viewer").goto(BACKUPS)
    expect(page.get_by_role("heading", name="On-demand backups")).to_be_visible()
    for name in ("Back up both tables", "Restore…", "Delete…"):
        expect(page.get_by_role("link", name=name)).to_have_count(0)
