"""The dashboard: what it reads by itself, over which time, and what it says needs attention."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.site import Site
from tests.browser.visitor import Size, Theme, Visitor, assert_whole


@pytest.mark.parametrize(("theme", "size"), [("light", "desktop"), ("dark", "phone")])
def test_every_part_is_read_and_drawn(theme: Theme, size: Size, visit: Callable[..., Visitor]) -> None:
    visitor = visit(theme=theme, size=size)
    visitor.goto("/admin/")
    page = visitor.settle()
    expect(page.locator(".plot canvas").first).to_be_visible()
    expect(page.get_by_text("Reading…")).to_have_count(0)
    # The numbers that a chart is drawn from are there for whoever cannot see it.
    page.get_by_text("The numbers").first.click()
    expect(page.locator(".numbers table").first).to_be_visible()
    assert_whole(visitor)


def test_a_range_of_time_is_in_the_address(admin: Visitor) -> None:
    page = admin.goto("/admin/")
    other = page.locator("nav.ranges a:not([aria-current])").first
    key = other.inner_text()
    admin.follow(other)
    admin.settle()
    assert f"range={key}" in page.url
    expect(page.locator("nav.ranges [aria-current]")).to_have_text(key)


def test_what_needs_attention_comes_with_its_command(admin: Visitor) -> None:
    admin.goto("/admin/")
    page = admin.settle()
    # A table is made without it, and nobody has turned it on.
    finding = page.locator(".attention li").filter(has_text="point-in-time recovery is off")
    expect(finding.first).to_contain_text("manage.py dynamodb_setup --pitr")
    assert finding.count() == 2


def test_a_session_is_two_clicks_from_the_login(admin: Visitor, seeded_site: Site) -> None:
    page = admin.goto("/admin/")
    admin.follow(page.locator('#nav-sidebar a[href="/admin/sessions/"]'))
    admin.follow(page.locator(f'tr:has([data-copy="{seeded_site.seeded.busy}"]) th a'))
    expect(page.get_by_role("heading", name="Timeline")).to_be_visible()
