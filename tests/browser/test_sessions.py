"""The list of sessions: filter, find, page, choose, end and delete."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, expect

from sessions_dynamo.store.sessions import default_store
from tests.browser.site import Site
from tests.browser.visitor import Theme, Visitor, assert_whole
from tests.mcpsite.peers import LegacyPeer

LIST = "/admin/sessions/"


def _ids(page: Page) -> list[str]:
    """The ids of the sessions that the page shows, whole."""
    return [str(button.get_attribute("data-copy")) for button in page.locator("tbody th button.copy").all()]


def _cells(page: Page, column: str) -> list[str]:
    """What stands in a column, from top to bottom."""
    columns = [heading.strip() for heading in page.locator("thead th").all_inner_texts()]
    return page.locator(f"tbody tr > :nth-child({columns.index(column) + 1})").all_inner_texts()


def _query(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query)


def _new_sessions(site: Site, count: int) -> list[str]:
    """Sessions that a client began just now, so that the list begins with them."""
    return [LegacyPeer(site.server.connect()).connect().session_id for _ in range(count)]


# --- Read -----------------------------------------------------------------------------------------------------


def test_a_filter_is_in_the_address_and_every_row_matches_it(admin: Visitor) -> None:
    page = admin.goto(LIST)
    page.get_by_label("Client name").fill("vscode")
    page.get_by_label("Protocol revision").fill("2026-07-28")
    admin.follow(page.get_by_role("button", name="Filter"))

    assert _query(page)["client"] == ["vscode"]
    assert _cells(page, "Client")
    assert all(text.startswith("vscode") for text in _cells(page, "Client"))
    assert set(_cells(page, "Revision")) == {"2026-07-28"}

    # What is in the address is what somebody else sees who gets it.
    shown = _ids(page)
    page.goto(page.url)
    assert _ids(page) == shown
    expect(page.get_by_label("Client name")).to_have_value("vscode")


@pytest.mark.parametrize("status", ["active", "idle", "terminated", "expired"])
def test_each_status_finds_the_session_that_has_it(status: str, admin: Visitor, seeded_site: Site) -> None:
    seeded = seeded_site.seeded
    expected = {"active": seeded.busy, "idle": seeded.idle, "terminated": seeded.terminated, "expired": seeded.expired}
    page = admin.goto(f"{LIST}?per_page=100")
    page.get_by_label("Status").select_option(status)
    admin.follow(page.get_by_role("button", name="Filter"))

    assert expected[status] in _ids(page)
    assert set(_cells(page, "Status")) == {status}


def test_a_principals_sessions_are_a_click_away(admin: Visitor) -> None:
    page = admin.goto(LIST)
    admin.follow(page.locator("tbody td").get_by_role("link", name="alice", exact=True).first)
    assert _query(page)["principal"] == ["alice"]
    assert set(_cells(page, "Principal")) == {"alice"}


def test_a_session_is_found_by_its_exact_id(admin: Visitor, seeded_site: Site) -> None:
    page = admin.goto(LIST)
    page.get_by_label("Session id").fill(seeded_site.seeded.busy)
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{seeded_site.url}{LIST}{seeded_site.seeded.busy}/")


def test_an_id_that_no_session_has_is_said_to_be_unknown(admin: Visitor) -> None:
    page = admin.goto(LIST)
    admin.expect_refusal(f"{LIST}?find=no-such-session")
    page.get_by_label("Session id").fill("no-such-session")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").filter(has_text="no-such-session")).to_be_visible()


def test_pages_follow_one_another_in_both_directions(admin: Visitor) -> None:
    page = admin.goto(f"{LIST}?order=created_at")
    first = _ids(page)
    admin.follow(page.get_by_role("link", name="Next"))
    second = _ids(page)
    admin.follow(page.get_by_role("link", name="Next"))
    third = _ids(page)
    assert len({*first, *second, *third}) == len(first) + len(second) + len(third)

    admin.follow(page.get_by_role("link", name="Previous"))
    assert _ids(page) == second
    admin.follow(page.get_by_role("link", name="Previous"))
    assert _ids(page) == first


def test_a_session_is_opened_from_its_row(admin: Visitor, seeded_site: Site) -> None:
    page = admin.goto(f"{LIST}?principal=alice")
    page.locator(f'tbody tr:has(button[data-copy="{seeded_site.seeded.busy}"]) th a').click()
    expect(page).to_have_url(f"{seeded_site.url}{LIST}{seeded_site.seeded.busy}/")


# --- Act ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_several_sessions_are_terminated_once_it_is_confirmed(
    theme: Theme, visit: Callable[..., Visitor], seeded_site: Site
) -> None:
    *chosen, other = _new_sessions(seeded_site, 3)
    visitor = visit("operator", theme=theme, size="phone" if theme == "dark" else "desktop")
    page = visitor.goto(LIST)
    for session_id in chosen:
        page.locator(f'input[name="session"][value="{session_id}"]').check()
    expect(page.get_by_text("2 chosen")).to_be_visible()
    page.get_by_role("button", name="Terminate chosen").click()

    for session_id in chosen:
        expect(page.locator(".targets").get_by_text(session_id)).to_be_visible()
    assert_whole(visitor)
    assert default_store().exists(chosen[0])
    page.get_by_role("button", name="Terminate 2 sessions").click()

    expect(page.get_by_text("Terminated 2 sessions")).to_be_visible()
    assert [default_store().exists(session_id) for session_id in (*chosen, other)] == [False, False, True]
    assert_whole(visitor)


def test_whoever_cancels_has_changed_nothing_and_is_back_where_they_were(
    visit: Callable[..., Visitor], seeded_site: Site
) -> None:
    (session_id,) = _new_sessions(seeded_site, 1)
    visitor = visit("operator")
    page = visitor.goto(f"{LIST}?client=peer")
    page.locator(f'input[name="session"][value="{session_id}"]').check()
    page.get_by_role("button", name="Delete chosen").click()
    visitor.follow(page.get_by_role("link", name="Cancel"))

    assert _query(page) == {"client": ["peer"]}
    assert default_store().exists(session_id)


def test_all_of_a_page_are_chosen_and_deleted(visit: Callable[..., Visitor]) -> None:
    store = default_store()
    made = [store.create(principal="to be deleted").session_id for _ in range(3)]
    page = visit("operator").goto(f"{LIST}?principal=to+be+deleted")
    page.get_by_label("All on this page").check()
    page.get_by_role("button", name="Delete chosen").click()
    page.get_by_role("button", name="Delete 3 sessions").click()

    expect(page.get_by_text("Deleted 3 sessions")).to_be_visible()
    expect(page.get_by_text("No session matches")).to_be_visible()
    assert [store.peek(session_id) for session_id in made] == [None, None, None]


def test_whoever_may_only_look_is_offered_no_action(visit: Callable[..., Visitor]) -> None:
    page = visit("viewer").goto(LIST)
    expect(page.locator("tbody tr").first).to_be_visible()
    expect(page.locator("input[type=checkbox]")).to_have_count(0)
    expect(page.get_by_role("button", name="chosen")).to_have_count(0)


# --- The shell's command search -------------------------------------------------------------------------------


def test_the_command_search_finds_a_session_by_its_id(admin: Visitor, seeded_site: Site) -> None:
    page = admin.goto("/admin/events/")
    page.keyboard.press("Control+k")
    expect(page.get_by_placeholder("Type to search")).to_be_focused()
    page.keyboard.type(seeded_site.seeded.busy)
    page.locator("a", has_text=seeded_site.seeded.busy).first.click()
    expect(page).to_have_url(f"{seeded_site.url}{LIST}{seeded_site.seeded.busy}/")
