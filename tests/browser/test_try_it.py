"""Try it: a tool's form, called in both eras, with the exchange as it went over the wire."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from sessions_dynamo.store.sessions import default_store
from tests.browser.visitor import Visitor, assert_whole
from tests.mcpsite.peers import LEGACY, MODERN

TRY_IT = "/admin/try-it/"


def _open(visitor: Visitor, tool: str) -> Page:
    page = visitor.goto(TRY_IT)
    visitor.follow(page.get_by_role("navigation", name="Tools").locator("a", has_text=tool))
    return page


def _store(visitor: Visitor, era: str) -> Page:
    """Call ``store_app_state`` in an era, by its form."""
    page = _open(visitor, "store_app_state")
    page.get_by_label("Protocol revision").select_option(era)
    page.get_by_label("key", exact=False).first.fill("colour")
    page.get_by_label("data", exact=False).first.fill('{"name": "green"}')
    visitor.follow(page.get_by_role("button", name="Call store_app_state"))
    return page


def _touched(visitor: Visitor) -> str:
    """Follow the link to the session that the call touched; its id."""
    page = visitor.page
    visitor.follow(page.get_by_role("link", name="Open session"))
    return str(page.locator("h1 button.copy, .staff h1 [data-copy]").first.get_attribute("data-copy"))


def test_a_tool_is_called_in_a_session(admin: Visitor) -> None:
    page = _store(admin, LEGACY)
    expect(page.get_by_role("heading", name="Answer ok")).to_be_visible()
    expect(page.locator(".exchange").filter(has_text="initialize").first).to_be_visible()
    assert_whole(admin)
    session = default_store().peek(_touched(admin))
    assert session is not None
    assert session.protocol_version == LEGACY
    assert session.state["colour"] == {"name": "green"}


def test_a_tool_is_called_without_a_session(admin: Visitor) -> None:
    page = _store(admin, MODERN)
    expect(page.get_by_role("heading", name="Answer ok")).to_be_visible()
    expect(page.get_by_label("Request of: Call the tool")).to_contain_text(MODERN)
    session = default_store().peek(_touched(admin))
    assert session is not None
    assert session.state["colour"] == {"name": "green"}


def test_a_tool_that_fails_is_shown_as_it_answered(admin: Visitor) -> None:
    page = _open(admin, "global_state")
    page.get_by_text("Write the arguments as JSON instead").click()
    page.get_by_label("Arguments, as JSON").fill('{"region": "nowhere", "data": 1}')
    admin.follow(page.get_by_role("button", name="Call with this JSON"))
    expect(page.get_by_role("heading", name="Answer tool error")).to_be_visible()
    assert_whole(admin)


def test_what_is_no_json_is_refused_with_its_place(admin: Visitor) -> None:
    page = _open(admin, "store_app_state")
    admin.expect_refusal(f"{TRY_IT}?tool=store_app_state")
    page.get_by_label("key", exact=False).first.fill("colour")
    page.get_by_label("data", exact=False).first.fill("{'a': 1}")
    admin.follow(page.get_by_role("button", name="Call store_app_state"))
    expect(page.get_by_role("alert").first).to_contain_text("not JSON")
    assert_whole(admin)


def test_a_call_is_passed_on_as_a_link_that_calls_nothing(admin: Visitor) -> None:
    page = _store(admin, MODERN)
    admin.follow(page.get_by_role("link", name="Link to this call"))
    expect(page.get_by_label("Arguments, as JSON")).to_have_value('{"key": "colour", "data": {"name": "green"}}')
    expect(page.get_by_role("heading", name="Answer")).to_have_count(0)
