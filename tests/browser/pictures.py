"""``python -m tests.browser.pictures [DIRECTORY]``: take the documentation's pictures of the pages anew.

The site is used by clients first, as for the tests, but by none that is hostile.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.browser.visitor import VIEWPORTS, Size, Theme

DIRECTORY: Final = Path(__file__).resolve().parents[2] / "docs" / "pictures"
# File name, URL name, whose argument is the busiest session where it takes one, theme, size.
PICTURES: Final[tuple[tuple[str, str, Theme, Size], ...]] = (
    ("dashboard", "mcp_staff:dashboard", "light", "desktop"),
    ("dashboard-dark", "mcp_staff:dashboard", "dark", "desktop"),
    ("sessions", "mcp_staff:sessions", "light", "desktop"),
    ("session", "mcp_staff:session", "light", "desktop"),
    ("session-phone", "mcp_staff:session", "dark", "phone"),
    ("events", "mcp_staff:events", "light", "desktop"),
    ("tables", "mcp_staff:tables", "light", "desktop"),
    ("backups", "mcp_staff:backups", "light", "desktop"),
    ("try-it", "try-it", "light", "desktop"),
)
QUERIES: Final = {"try-it": "?tool=lambda_operation"}


def main(directory: Path) -> None:
    """Write a PNG for each of ``PICTURES``."""
    import django

    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    django.setup()

    from django.urls import reverse
    from playwright.sync_api import sync_playwright

    from sessions_dynamo.backups import on_demand
    from tests.browser import site
    from tests.browser.conftest import CHROMIUMS, log_in
    from tests.browser.seed import everyday

    chromium = next((path for path in map(shutil.which, CHROMIUMS) if path), None)
    if chromium is None:
        sys.exit(f"None of {', '.join(CHROMIUMS)} is on PATH: install Chromium.")
    with tempfile.TemporaryDirectory() as temporary, site.running(Path(temporary)) as (server, url):
        session_id = everyday(server.url)["busy"]
        on_demand.create()
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--disable-gpu"])
            login = log_in(browser, url, "admin")
            for name, page_name, theme, size in PICTURES:
                arguments = [session_id] if page_name == "mcp_staff:session" else []
                width, height = VIEWPORTS[size]
                with browser.new_context(
                    storage_state=login,
                    viewport={"width": width, "height": height},
                    color_scheme=theme,
                    locale="en-GB",
                    timezone_id="Europe/Berlin",
                ) as context:
                    page = context.new_page()
                    page.goto(f"{url}{reverse(page_name, args=arguments)}{QUERIES.get(name, '')}")
                    page.wait_for_timeout(3000)
                    directory.mkdir(parents=True, exist_ok=True)
                    page.screenshot(path=directory / f"{name}.png", animations="disabled")
                    print(f"{directory / name}.png")
            browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else DIRECTORY)
