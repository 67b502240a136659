"""One Chromium and one seeded site for all of these tests; a window of its own for each.

Playwright runs an event loop in this thread, which Django's ORM and anyio refuse: nothing here uses either while the
browser is open, and it closes with the package's last test.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Browser, BrowserContext, StorageState, sync_playwright

from tests.browser import axe, site
from tests.browser.accounts import PASSWORD
from tests.browser.seed import seed
from tests.browser.site import Site
from tests.browser.visitor import VIEWPORTS, Size, Theme, Visitor
from tests.conftest import NOT_TESTED

CHROMIUMS: Final = ("chromium", "chromium-browser", "google-chrome")
SCREENSHOTS: Final = Path(__file__).resolve().parents[2] / "artefacts" / "screenshots"


@pytest.fixture(scope="package")
def chromium() -> str:
    """The system's Chromium; without it, or without axe-core, a test is skipped, and on CI fails."""
    found = next((path for path in map(shutil.which, CHROMIUMS) if path), None)
    if found and axe.SCRIPT.exists():
        return found
    reason = "run 'npm ci --prefix tests' for axe-core" if found else f"none of {', '.join(CHROMIUMS)} is on PATH"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(f"{NOT_TESTED} in a browser: {reason}")


@pytest.fixture(scope="package")
def seeded_site(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The site, used by real clients."""
    with site.running(tmp_path_factory.mktemp("site")) as (server, url):
        yield Site(server, url, seed(server.url))


@pytest.fixture(scope="package")
def browser(chromium: str, seeded_site: Site) -> Iterator[Browser]:
    """Chromium, started once."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def context(browser: Browser, seeded_site: Site) -> Iterator[Callable[..., BrowserContext]]:
    """The context of an account in a theme and a size, logged in; made once each."""
    contexts: dict[tuple[str, Theme, Size, bool], BrowserContext] = {}
    logins: dict[str, StorageState] = {}

    def get(account: str, theme: Theme, size: Size, scripts: bool) -> BrowserContext:
        if account not in logins:
            logins[account] = log_in(browser, seeded_site.url, account)
        key = (account, theme, size, scripts)
        if key not in contexts:
            width, height = VIEWPORTS[size]
            contexts[key] = browser.new_context(
                storage_state=logins[account],
                viewport={"width": width, "height": height},
                color_scheme=theme,
                reduced_motion="reduce",
                has_touch=size == "phone",
                java_script_enabled=scripts,
                locale="en-GB",
                timezone_id="Europe/Berlin",
                accept_downloads=True,
            )
        return contexts[key]

    yield get
    for context in contexts.values():
        context.close()


def log_in(browser: Browser, url: str, account: str) -> StorageState:
    """Log an account in by the form; what a context needs to be logged in as well."""
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(f"{url}/admin/login/")
        page.fill("[name=username]", account)
        page.fill("[name=password]", PASSWORD)
        page.click("[type=submit]")
        page.wait_for_load_state()
        assert "/login/" not in page.url, page.inner_text("body")
        return context.storage_state()


@pytest.fixture
def visit(context: Callable[..., BrowserContext], seeded_site: Site) -> Iterator[Callable[..., Visitor]]:
    """Open a window; nothing may go wrong in it until the test ends: no dialog, no script error, no console error."""
    visitors: list[Visitor] = []

    def open_window(
        account: str = "admin", *, theme: Theme = "light", size: Size = "desktop", scripts: bool = True
    ) -> Visitor:
        visitors.append(Visitor(context(account, theme, size, scripts), seeded_site.url))
        return visitors[-1]

    yield open_window
    for visitor in visitors:
        visitor.close()
    assert [problem for visitor in visitors for problem in visitor.problems] == []


@pytest.fixture
def admin(visit: Callable[..., Visitor]) -> Visitor:
    """A window of the superuser, light and wide."""
    return visit()
