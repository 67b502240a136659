"""The events page: every session's entries by time, live, filtered, page by page."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, urlsplit

from django.urls import reverse
from playwright.sync_api import Locator, Page, expect

from sessions_dynamo.store.events import default_store
from tests.browser.site import Site
from tests.browser.visitor import Visitor
from tests.mcpsite.peers import LegacyPeer

EVENTS = "/admin/events/"
SOON_MS = 6000


def _entries(page: Page) -> Locator:
    return page.locator("#entries > li")


def test_an_entry_leads_to_its_message_and_to_its_session(admin: Visitor, seeded_site: Site) -> None:
    page = admin.goto(f"{EVENTS}?session={seeded_site.seeded.busy}&show=events&type=notifications/message")
    entry = _entries(page).first
    entry.locator("summary").click()
    expect(entry.get_by_label("Message")).to_contain_text("notifications/message")
    entry.locator("a.of").click()
    expect(page).to_have_url(f"{seeded_site.url}{reverse('mcp_staff:session', args=[seeded_site.seeded.busy])}")


def test_the_filter_is_in_the_address_and_every_entry_matches(admin: Visitor) -> None:
    page = admin.goto(EVENTS)
    page.get_by_label("Method, tool or type").fill("lambda_operation")
    admin.follow(page.get_by_role("button", name="Filter"))
    assert parse_qs(urlsplit(page.url).query)["type"] == ["lambda_operation"]
    texts = _entries(page).all_inner_texts()
    assert texts
    assert all("lambda_operation" in text for text in texts)


def test_pages_go_back_in_time(admin: Visitor) -> None:
    page = admin.goto(EVENTS)
    first = page.locator("#entries time").all()
    oldest = first[-1].get_attribute("datetime")
    admin.follow(page.get_by_role("link", name="Earlier"))
    newest = page.locator("#entries time").first.get_attribute("datetime")
    assert oldest is not None
    assert newest is not None
    assert newest <= oldest

    page.get_by_role("link", name="Newest").click()
    expect(page).to_have_url(f"{admin.url}{EVENTS}")


def test_what_happens_elsewhere_appears_until_it_is_paused(admin: Visitor, seeded_site: Site) -> None:
    peer = LegacyPeer(seeded_site.server.connect()).connect()
    page = admin.goto(EVENTS)
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    default_store().store(peer.session_id, "test/elsewhere", json.dumps({"jsonrpc": "2.0"}))
    expect(_entries(page).filter(has_text="test/elsewhere")).to_be_visible(timeout=SOON_MS)

    page.get_by_role("button", name="Pause").click()
    default_store().store(peer.session_id, "test/unseen", json.dumps({"jsonrpc": "2.0"}))
    page.wait_for_timeout(3000)
    expect(_entries(page).filter(has_text="test/unseen")).to_have_count(0)
