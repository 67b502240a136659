"""A person at the site, in one window: what they see, and everything that went wrong while they looked."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal

from playwright.sync_api import BrowserContext, ConsoleMessage, Dialog, Error, Locator, Page, Response

from tests.browser.axe import grave_violations

Theme = Literal["light", "dark"]
Size = Literal["desktop", "phone"]

VIEWPORTS: Final[dict[Size, tuple[int, int]]] = {"desktop": (1360, 900), "phone": (390, 844)}
SETTLE_MS: Final = 30_000
TRIES: Final = 3

# The page itself, and every box around it: what of them is wider than it has room for, and which elements make it so.
_OVERFLOW: Final = """() => {
  const tooWide = [];
  for (let box = document.querySelector(".staff"); box; box = box.parentElement) {
    const room = box === document.documentElement ? window.innerWidth : box.clientWidth;
    if (box.scrollWidth > room + 1) tooWide.push(`${box.tagName}.${box.className}: ${box.scrollWidth} > ${room}`);
  }
  if (!tooWide.length) return [];
  const scrolls = (element) => !element.matches(".staff") &&
    (getComputedStyle(element).overflowX !== "visible" || scrolls(element.parentElement));
  for (const element of document.querySelectorAll(".staff *"))
    if (element.getBoundingClientRect().right > window.innerWidth + 1 && !scrolls(element.parentElement))
      tooWide.push(`  ${element.outerHTML.slice(0, 160)}`);
  return tooWide.slice(0, 8);
}"""


class Visitor:
    """A window of a browser context. ``problems`` has every dialog, script error and console error so far."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.url = url
        self.page: Page = context.new_page()
        self.page.set_default_timeout(SETTLE_MS)
        self.problems: list[str] = []
        self._expected: set[str] = set()
        self.page.on("console", self._on_console)
        self.page.on("pageerror", self._on_error)
        self.page.on("dialog", self._on_dialog)

    def goto(self, path: str, *, status: int = 200) -> Page:
        """Visit a path and wait until it has loaded; the answer must have the status."""
        if status >= 400:
            # Chromium writes an error to the console for the page that was asked for, too.
            self._expected.add(f"{self.url}{path}")
        response = self.page.goto(f"{self.url}{path}", wait_until="load")
        return self._arrived(path, response, status)

    def follow(self, what: Locator) -> Page:
        """Click, and wait until the page that this leads to has loaded."""
        with self.page.expect_navigation(wait_until="load") as navigation:
            what.click()
        return self._arrived(str(what), navigation.value)

    def _arrived(self, where: str, response: Response | None, status: int | None = None) -> Page:
        """The page, once it is the one that was wanted; any that is no failure of the site where ``status`` is none.

        On a machine that is busy with more than these tests the emulator may be too late for a page; it then offers
        to be tried again.
        """
        for _ in range(TRIES):
            if response is None or response.status != 503 or status == 503:
                break
            again = self.page.get_by_role("link", name="Try again")
            if again.count() == 0:
                break
            self.problems = [problem for problem in self.problems if response.url not in problem]
            with self.page.expect_navigation(wait_until="load") as navigation:
                again.click()
            response = navigation.value
        assert response is not None, where
        wanted = response.status == status if status is not None else response.status < 500
        assert wanted, f"{where} answers {response.status}: {self.page.inner_text('body')[:1500]}"
        return self.page

    def settle(self) -> Page:
        """Wait until the parts that the page asks for by itself are there."""
        self.page.wait_for_function("!document.querySelector('.staff [aria-busy=\"true\"]')")
        return self.page

    def expect_refusal(self, path: str) -> None:
        """A later answer of this path may be an error."""
        self._expected.add(f"{self.url}{path}")

    def too_wide(self) -> list[str]:
        """What makes the page scroll sideways; empty for one that does not."""
        found: list[str] = self.page.evaluate(_OVERFLOW)
        return found

    def heading(self) -> str:
        """The page's one heading of the first level."""
        return self.page.locator(".staff h1").inner_text().strip()

    def picture(self, path: Path) -> None:
        """The whole page, at most 6,000 pixels of it."""
        height = int(self.page.evaluate("document.documentElement.scrollHeight"))
        width = (self.page.viewport_size or {"width": 1360})["width"]
        path.parent.mkdir(parents=True, exist_ok=True)
        clip: Any = {"x": 0, "y": 0, "width": width, "height": min(height, 6000)}
        self.page.screenshot(path=path, full_page=True, clip=clip, animations="disabled")

    def close(self) -> None:
        self.page.close()

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type != "error" or message.location.get("url") in self._expected:
            return
        self.problems.append(f"console: {message.text} ({message.location.get('url')})")

    def _on_error(self, error: Error) -> None:
        self.problems.append(f"script: {error}")

    def _on_dialog(self, dialog: Dialog) -> None:
        self.problems.append(f"dialog: {dialog.type}: {dialog.message}")
        dialog.dismiss()


def assert_whole(visitor: Visitor) -> None:
    """The page fits its window, and axe-core is content with it."""
    too_wide = visitor.too_wide()
    assert not too_wide, "\n".join(["The page scrolls sideways:", *too_wide])
    violations = grave_violations(visitor.page)
    assert not violations, "\n".join(violations)
