"""The documentation in Chromium, light and dark, wide and narrow: it fits, axe-core is content, the search finds."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser import axe
from tests.browser.conftest import CHROMIUMS
from tests.browser.visitor import VIEWPORTS, Size, Theme
from tests.conftest import NOT_TESTED

PICTURES: Final = Path(__file__).resolve().parents[2] / "artefacts" / "documentation"
PAGES: Final = ("concepts", "how-to", "readme", "reference/commands", "settings")
LOOKS: Final[tuple[tuple[Theme, Size], ...]] = (("light", "desktop"), ("dark", "phone"))


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """A line for each picture would drown what fails."""


@pytest.fixture(scope="module")
def address(documentation: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(documentation)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = next((path for path in map(shutil.which, CHROMIUMS) if path), None)
    if chromium is None or not axe.SCRIPT.exists():
        reason = "it needs Chromium on PATH, and axe-core: 'npm ci --prefix tests'"
        assert os.environ.get("CI") != "true", reason
        pytest.skip(f"{NOT_TESTED} in a browser: {reason}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--disable-gpu", "--no-sandbox"])
        yield browser
        browser.close()


def _opened(browser: Browser, theme: Theme, size: Size, asked: list[str]) -> Page:
    """A new page that notes what it asks for."""
    width, height = VIEWPORTS[size]
    page = browser.new_context(color_scheme=theme, viewport={"width": width, "height": height}).new_page()
    page.on("request", lambda request: asked.append(request.url))
    return page


@pytest.mark.parametrize(("theme", "size"), LOOKS)
def test_pages_fit_can_be_read_and_load_nothing_from_elsewhere(
    browser: Browser, address: str, theme: Theme, size: Size
) -> None:
    asked: list[str] = []
    page = _opened(browser, theme, size, asked)
    PICTURES.mkdir(parents=True, exist_ok=True)
    for name in PAGES:
        page.goto(f"{address}/{name}.html")
        page.screenshot(path=PICTURES / f"{name.replace('/', '-')}-{theme}-{size}.png")
        beyond = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert beyond <= 0, name
        assert axe.grave_violations(page) == [], name
    assert {url for url in asked if not url.startswith((f"{address}/", "data:", "blob:"))} == set()


def test_the_search_finds_a_setting(browser: Browser, address: str) -> None:
    page = _opened(browser, "light", "desktop", [])
    # Asked for by the address: what is typed before the theme's script listens is lost.
    page.goto(f"{address}/how-to.html?q=STREAM_LEASE_SECONDS")
    page.wait_for_selector('.md-search-result__item a[href*="settings.html"]', state="attached")
