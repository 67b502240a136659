"""Where scripts do not run: tables, forms and links do everything but follow what happens."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.urls import reverse
from playwright.sync_api import expect

from sessions_dynamo.store.sessions import default_store
from tests.browser.site import Site
from tests.browser.visitor import Visitor
from tests.mcpsite.peers import LegacyPeer


@pytest.fixture
def plain(visit: Callable[..., Visitor]) -> Visitor:
    """A window that runs no scripts."""
    return visit("admin", scripts=False)


def test_sessions_are_listed_filtered_and_ended(plain: Visitor, seeded_site: Site) -> None:
    peer = LegacyPeer(seeded_site.server.connect()).connect()
    page = plain.goto("/admin/sessions/")
    page.get_by_label("Client name").fill("peer")
    page.get_by_role("button", name="Filter").click()
    page.locator(f'input[name="session"][value="{peer.session_id}"]').check()
    page.get_by_role("button", name="Terminate chosen").click()
    page.get_by_role("button", name="Terminate 1 session").click()
    expect(page.get_by_text("Terminated 1 session")).to_be_visible()
    assert not default_store().exists(peer.session_id)


def test_workers_are_listed(plain: Visitor) -> None:
    page = plain.goto("/admin/workers/")
    expect(page.locator("#worker-000000000000")).to_contain_text("4 calls")
    expect(page.get_by_role("link", name="Load again for what is new")).to_be_visible()


def test_a_session_is_read_and_changed(plain: Visitor, seeded_site: Site) -> None:
    seeded = seeded_site.seeded
    page = plain.goto(reverse("mcp_staff:session", args=[seeded.busy]))
    expect(page.locator("#entries > li").first).to_be_visible()
    expect(page.get_by_role("link", name="Load again for what is new")).to_be_visible()
    row = page.locator("#state li").filter(has=page.locator(".key-name", has_text="report"))
    row.locator("summary").first.click()
    row.get_by_role("link", name="Read the value").click()
    expect(page.locator(".tree")).to_contain_text("rows")

    page = plain.goto(reverse("mcp_staff:session-value-edit", args=[seeded.busy, "ratio"]))
    page.get_by_label("Value, as JSON").fill("0.75")
    page.get_by_role("button", name="Save the key").click()
    assert default_store().load(seeded.busy, "alice").state["ratio"] == 0.75


def test_events_are_listed_and_opened(plain: Visitor, seeded_site: Site) -> None:
    page = plain.goto(f"/admin/events/?session={seeded_site.seeded.busy}&show=events&type=notifications/message")
    entry = page.locator("#entries > li").first
    entry.locator("summary").click()
    entry.get_by_role("link", name="Open the message").click()
    expect(page.get_by_label("Message")).to_contain_text("jsonrpc")


@pytest.mark.parametrize("path", ["/admin/", "/admin/tables/", "/admin/backups/", "/admin/try-it/"])
def test_a_page_shows_what_it_has(path: str, plain: Visitor) -> None:
    page = plain.goto(path)
    expect(page.locator(".staff h1")).to_be_visible()
    expect(page.locator('#nav-sidebar a[href="/admin/sessions/"]')).to_be_visible()
    assert len(page.locator(".staff").inner_text().split()) > 20
