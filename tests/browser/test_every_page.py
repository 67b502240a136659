"""Every page in light and dark, on a desktop and on a phone: it loads, fits, has a heading, and axe-core is content."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest
from django.urls import reverse

from tests.browser.conftest import SCREENSHOTS
from tests.browser.seed import Seeded
from tests.browser.site import Site
from tests.browser.visitor import Size, Theme, Visitor, assert_whole

Address = Callable[[Seeded], str]

PAGES: Final[dict[str, Address]] = {
    "dashboard": lambda _: reverse("mcp_staff:dashboard"),
    "sessions": lambda _: reverse("mcp_staff:sessions"),
    "session": lambda seeded: reverse("mcp_staff:session", args=[seeded.busy]),
    "session-hostile": lambda seeded: reverse("mcp_staff:session", args=[seeded.hostile]),
    "events": lambda _: reverse("mcp_staff:events"),
    "workers": lambda _: reverse("mcp_staff:workers"),
    "tables": lambda _: reverse("mcp_staff:tables"),
    "backups": lambda _: reverse("mcp_staff:backups"),
    "try-it": lambda _: reverse("try-it"),
}
FURTHER_PAGES: Final[dict[str, Address]] = {
    "session-modern": lambda seeded: reverse("mcp_staff:session", args=[seeded.modern]),
    "session-terminated": lambda seeded: reverse("mcp_staff:session", args=[seeded.terminated]),
    "session-expired": lambda seeded: reverse("mcp_staff:session", args=[seeded.expired]),
    "session-large": lambda seeded: reverse("mcp_staff:session", args=[seeded.large]),
    "session-related": lambda seeded: reverse("mcp_staff:session-related", args=[seeded.busy]),
    "session-terminate": lambda seeded: reverse("mcp_staff:session-terminate", args=[seeded.busy]),
    "session-delete": lambda seeded: reverse("mcp_staff:session-delete", args=[seeded.busy]),
    "session-value": lambda seeded: reverse("mcp_staff:session-value", args=[seeded.busy, "report"]),
    "session-value-edit": lambda seeded: reverse("mcp_staff:session-value-edit", args=[seeded.busy, "user_profile"]),
    "session-key-add": lambda seeded: reverse("mcp_staff:session-key-add", args=[seeded.busy]),
    "event": lambda seeded: reverse("mcp_staff:event", args=[seeded.busy, seeded.busy_event]),
    "event-large": lambda seeded: reverse("mcp_staff:event", args=[seeded.large, seeded.large_event]),
    "tables-converge": lambda _: reverse("mcp_staff:tables-converge"),
    "backups-create": lambda _: reverse("mcp_staff:backups-create"),
    "try-it-tool": lambda _: f"{reverse('try-it')}?tool=store_app_state",
    "sessions-none": lambda _: f"{reverse('mcp_staff:sessions')}?client=nobody-has-this-name",
    "events-none": lambda _: f"{reverse('mcp_staff:events')}?type=nobody-has-this-type",
}


@pytest.mark.parametrize("size", ["desktop", "phone"])
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_whole(name: str, theme: Theme, size: Size, visit: Callable[..., Visitor], seeded_site: Site) -> None:
    _look_at(name, PAGES[name], theme, size, visit, seeded_site)


@pytest.mark.parametrize(("theme", "size"), [("light", "desktop"), ("dark", "phone")])
@pytest.mark.parametrize("name", FURTHER_PAGES)
def test_what_a_page_leads_to_is_whole(
    name: str, theme: Theme, size: Size, visit: Callable[..., Visitor], seeded_site: Site
) -> None:
    _look_at(name, FURTHER_PAGES[name], theme, size, visit, seeded_site)


def _look_at(name: str, address: Address, theme: Theme, size: Size, visit: Callable[..., Visitor], site: Site) -> None:
    visitor = visit(theme=theme, size=size)
    visitor.goto(address(site.seeded))
    visitor.settle()
    visitor.picture(SCREENSHOTS / f"{name}-{theme}-{size}.png")

    assert visitor.heading()
    assert_whole(visitor)
