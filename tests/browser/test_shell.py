"""Around every page: the login, who sees which page, pages that are refused or not there; and that these tests see."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.accounts import PASSWORD
from tests.browser.axe import grave_violations
from tests.browser.site import Site
from tests.browser.visitor import Theme, Visitor, assert_whole


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_logging_in_leads_to_the_page_that_was_asked_for(
    theme: Literal["light", "dark"], browser: Browser, seeded_site: Site
) -> None:
    with browser.new_context(color_scheme=theme) as context:
        visitor = Visitor(context, seeded_site.url)
        visitor.goto("/admin/sessions/")
        assert not grave_violations(visitor.page)
        visitor.page.get_by_label("Username").fill("viewer")
        visitor.page.get_by_label("Password").fill("not the password")
        visitor.page.get_by_role("button", name="Log in").click()
        expect(visitor.page.get_by_text("Please enter the correct username and password")).to_be_visible()

        visitor.page.get_by_label("Password").fill(PASSWORD)
        visitor.page.get_by_role("button", name="Log in").click()
        expect(visitor.page).to_have_url(f"{seeded_site.url}/admin/sessions/")
        assert visitor.problems == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_page_that_is_refused_says_which_permission_it_needs(theme: Theme, visit: Callable[..., Visitor]) -> None:
    visitor = visit("newcomer", theme=theme)
    page = visitor.goto("/admin/sessions/", status=403)
    assert visitor.heading() == "Not permitted"
    expect(page.get_by_role("alert")).to_contain_text("sessions_dynamo.view_session")
    assert_whole(visitor)


# Without the dashboard, to which the site's own name leads as well.
PAGES: Final = ("/admin/sessions/", "/admin/events/", "/admin/workers/", "/admin/tables/", "/admin/backups/")
TRY_IT: Final = "/admin/try-it/"


@pytest.mark.parametrize(("account", "offered"), [("newcomer", ()), ("viewer", PAGES), ("operator", (*PAGES, TRY_IT))])
def test_the_sidebar_offers_what_an_account_may_open(
    account: str, offered: tuple[str, ...], visit: Callable[..., Visitor]
) -> None:
    page = visit(account).goto("/admin/password_change/")
    links = page.locator("#nav-sidebar").get_by_role("link").all()
    assert {link.get_attribute("href") for link in links} & {*PAGES, TRY_IT} == set(offered)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_session_that_is_not_there_has_a_page_that_says_so(theme: Theme, visit: Callable[..., Visitor]) -> None:
    visitor = visit(theme=theme)
    page = visitor.goto("/admin/sessions/no-such-session/", status=404)
    assert visitor.heading() == "No such session"
    expect(page.get_by_role("alert")).to_contain_text("no-such-session")
    assert_whole(visitor)


# --- These tests themselves -----------------------------------------------------------------------------------


def test_what_is_wrong_with_a_page_is_seen(admin: Visitor) -> None:
    page = admin.goto("/admin/sessions/")
    page.locator(".staff").evaluate(
        "element => element.insertAdjacentHTML('beforeend', '<button></button><p style=\"width: 3000px\">wide</p>')"
    )
    assert [line.split("\n")[0] for line in grave_violations(page)] == [
        "critical: button-name: Buttons must have discernible text"
    ]
    assert any("3000px" in line for line in admin.too_wide())

    page.evaluate("alert('shown'); console.error('written'); setTimeout(() => { throw new Error('thrown') })")
    page.wait_for_function("true", polling=50)
    page.wait_for_timeout(100)
    seen, admin.problems = admin.problems, []
    assert {problem.partition(":")[0] for problem in seen} == {"dialog", "console", "script"}
