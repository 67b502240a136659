"""What hostile hands stored is text on every page: nothing of it runs, turns the page around or swells it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.urls import reverse
from playwright.sync_api import Page, expect

from sessions_dynamo.store.events import default_store
from tests.browser import hostile
from tests.browser.site import Site
from tests.browser.visitor import Visitor

MAX_PAGE_BYTES = 1_500_000

# Elements that only stored markup could have made; links that run; text that turns what follows it around.
_INJECTED = """() => [...document.querySelectorAll(
  '.staff script, .staff iframe, .staff img, .staff object, .staff base, .staff form[action^="javascript:" i], ' +
  '.staff [href^="javascript:" i], .staff [src^="javascript:" i], .staff [href^="data:" i]')]
  .concat([...document.querySelectorAll('.staff *')].filter(
    (element) => [...element.attributes].some((attribute) => attribute.name.startsWith('on'))))
  .map((element) => element.outerHTML.slice(0, 200))"""
_TURNED = """() => {
  const isolated = (element) => element && (/isolate|plaintext/.test(getComputedStyle(element).unicodeBidi) ||
    (!element.matches('.staff') && isolated(element.parentElement)));
  const found = [];
  const walker = document.createTreeWalker(document.querySelector('.staff'), NodeFilter.SHOW_TEXT);
  while (walker.nextNode())
    if (walker.currentNode.data.includes('\\u202e') && !walker.currentNode.parentElement.matches('textarea, option')
        && !isolated(walker.currentNode.parentElement))
      found.push(walker.currentNode.parentElement.outerHTML.slice(0, 200));
  return found;
}"""


def _assert_harmless(page: Page) -> None:
    assert page.evaluate(_INJECTED) == []
    assert page.evaluate(_TURNED) == []


def _open_everything(page: Page) -> None:
    """Open every fold, and wait until what they ask for is there."""
    page.evaluate("document.querySelectorAll('.staff details').forEach((element) => { element.open = true; })")
    page.wait_for_load_state("networkidle")


def test_the_session_of_a_hostile_client_does_no_harm(admin: Visitor, seeded_site: Site) -> None:
    page = admin.page
    with page.expect_response("**/sessions/**") as response:
        admin.goto(reverse("mcp_staff:session", args=[seeded_site.seeded.hostile]))
    assert len(response.value.body()) < MAX_PAGE_BYTES
    page.get_by_role("button", name="Pause").click()
    _open_everything(page)
    _assert_harmless(page)
    # It is there to be read, as it was sent.
    for text in (hostile.SCRIPT, hostile.URL, hostile.BACKWARDS):
        expect(page.locator(".key-name").get_by_text(text, exact=True)).to_be_visible()


def test_the_list_of_sessions_with_hostile_names_and_ids_does_no_harm(admin: Visitor) -> None:
    page = admin.goto("/admin/sessions/?order=created_at&per_page=100")
    assert hostile.BREAKOUT[:40] in page.locator("table.sessions").inner_text()
    _assert_harmless(page)


@pytest.mark.parametrize("text", hostile.STRINGS)
def test_a_hostile_filter_does_no_harm(text: str, visit: Callable[..., Visitor]) -> None:
    visitor = visit()
    page = visitor.goto("/admin/sessions/")
    page.get_by_label("Client name").fill(text)
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_label("Client name")).to_have_value(text)
    _assert_harmless(page)
    page = visitor.goto("/admin/events/")
    page.get_by_label("Method, tool or type").fill(text)
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_label("Method, tool or type")).to_have_value(text)
    _assert_harmless(page)


def test_the_events_of_hostile_hands_do_no_harm(admin: Visitor) -> None:
    page = admin.goto("/admin/events/")
    page.get_by_role("button", name="Pause").click()
    _open_everything(page)
    assert hostile.SCRIPT in page.locator("#entries").inner_text()
    _assert_harmless(page)


def test_workers_that_hostile_hands_made_up_do_no_harm(admin: Visitor) -> None:
    page = admin.goto(reverse("mcp_staff:workers"))
    shown = page.locator("#entries").inner_text()
    assert hostile.BREAKOUT[:12] in shown
    assert "1 item among the workers" in shown
    _assert_harmless(page)
    assert admin.too_wide() == []


@pytest.mark.parametrize("odd", hostile.ODD_IDS)
def test_an_id_of_dots_slashes_or_markup_is_one_place_and_no_other(odd: str, visit: Callable[..., Visitor]) -> None:
    visitor = visit()
    # No client's session has such an id: staff read that there is none, and are nowhere else.
    page = visitor.goto(reverse("mcp_staff:session", args=[odd]), status=404)
    assert visitor.heading() == "No such session"
    _assert_harmless(page)

    event = default_store().recent(odd, 1)[-1]
    page = visitor.goto(reverse("mcp_staff:event", args=[odd, event.event_id]))
    expect(page.get_by_label("Message")).to_be_visible()
    _assert_harmless(page)


@pytest.mark.parametrize("key", [*hostile.STRINGS, "large", "deep", "many", "__proto__", "links"])
def test_a_hostile_value_is_shown_and_edited_as_text(
    key: str, visit: Callable[..., Visitor], seeded_site: Site
) -> None:
    visitor = visit()
    for name in ("mcp_staff:session-value", "mcp_staff:session-value-edit", "mcp_staff:session-value-delete"):
        page = visitor.page
        with page.expect_response("**/state/**") as response:
            visitor.goto(reverse(name, args=[seeded_site.seeded.hostile, key]))
        assert len(response.value.body()) < MAX_PAGE_BYTES
        _assert_harmless(page)
