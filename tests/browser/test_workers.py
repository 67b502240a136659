"""The page of workers follows them: one that comes is there, one that leaves is not, until somebody pauses it."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from playwright.sync_api import expect

from sessions_dynamo.workers import streams
from sessions_dynamo.workers.roster import WorkerItem
from tests.browser.visitor import Visitor, assert_whole

WORKERS = "/admin/workers/"
SOON_MS = 12_000
NAME = "c0ffee000000"


def _keep(calls: int) -> None:
    now = datetime.now(UTC)
    streams.default_store().roster.keep(WorkerItem(NAME, 1, 15.0, 600.0, "newcomer", 7, now, now, {"calls": calls}))


def test_a_worker_that_comes_appears_and_one_that_leaves_goes(admin: Visitor) -> None:
    page = admin.goto(WORKERS)
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    row = page.locator(f"#worker-{NAME}")
    expect(row).to_have_count(0)
    _keep(calls=1)
    try:
        expect(row).to_contain_text("1 call", timeout=SOON_MS)
        # A button that a part brought along works like those of the page.
        expect(row.locator("button.copy")).to_be_visible()
        page.get_by_role("button", name="Pause").click()
        expect(page.get_by_text("Paused", exact=True)).to_be_visible()
        _keep(calls=2)
        page.wait_for_timeout(6_000)
        expect(row).to_contain_text("1 call")
        page.get_by_role("button", name="Go on").click()
        expect(row).to_contain_text("2 calls", timeout=SOON_MS)
    finally:
        streams.default_store().roster.leave(NAME)
    expect(row).to_have_count(0, timeout=SOON_MS)
    assert_whole(admin)


def test_the_dashboard_says_how_many_there_are(admin: Visitor) -> None:
    page = admin.goto("/admin/")
    # Those that are seeded, and the site's own.
    admin.follow(page.get_by_role("link", name=re.compile(r"^[3-9] alive, [4-9] silent$")))
    assert admin.heading() == "Workers"
