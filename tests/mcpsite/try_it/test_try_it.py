"""Try it: every tool of the served server from a form, in either era, through the endpoint's own code."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from mcp.server.mcpserver import Context, MCPServer
from pytest_django import Settings

from mcpsite.try_it import exchange
from mcpsite.try_it.conversation import LEGACY, MODERN
from mcpsite.try_it.exchange import Caller
from mcpsite.try_it.forms import ArgumentsForm, plain
from sessions_dynamo.store.sessions import default_store
from tests.engines import on_moto

URL = "/admin/try-it/"

pytestmark = [pytest.mark.django_db, on_moto, pytest.mark.usefixtures("dynamodb")]

StaffClient = Callable[..., Client]

shouting = MCPServer("shouting")
"""A server whose names and texts are hostile."""


@shouting.tool(name="../<b>a</b>", description="<script>alert(1)</script>\u202egnol")
def hostile(text: str = "javascript:alert(1)") -> str:
    return f"<img src=x onerror=alert(1)>{text}"


@shouting.tool()
def long(size: int) -> str:
    return "x" * size


@shouting.tool()
async def slow_progress(ctx: Context) -> str:
    for step in range(3):
        await ctx.log("info", f"step {step}")
    return "done"


@pytest.fixture
def staff(staff_client: StaffClient) -> Client:
    return staff_client("view_session", "change_session")


@pytest.fixture
def serve_shouting(settings: Settings) -> None:
    settings.MCP_SERVER = f"{__name__}:shouting"


def call(client: Client, tool: str, era: str = MODERN, session: str = "", **arguments: Any) -> Any:
    data = {"era": era, "session": session, "input": "form"}
    return client.post(f"{URL}?tool={tool}", data | {f"arg-{name}": value for name, value in arguments.items()})


def exchanges(response: Any) -> list[exchange.Exchange]:
    found: list[exchange.Exchange] = response.context["exchanges"]
    return found


def test_it_lists_the_tools_of_the_served_server(staff: Client) -> None:
    page = staff.get(URL).content.decode()
    for tool in ("store_app_state", "get_app_state", "lambda_operation", "dynamodb_info", "global_state"):
        assert f"?tool={tool}" in page


def test_a_form_is_made_of_the_input_schema(staff: Client) -> None:
    page = staff.get(f"{URL}?tool=store_app_state")
    assert list(page.context["arguments_form"].fields) == ["key", "data", "session_id"]
    assert "Name of the value." in page.content.decode()


def test_a_tool_that_does_not_exist_is_said_to(staff: Client) -> None:
    page = staff.get(f"{URL}?tool=none")
    assert page.status_code == 404
    assert "no tool of that name" in page.content.decode()


def test_a_call_that_stands_alone_shows_its_exchange_and_the_session_that_it_made(staff: Client) -> None:
    page = call(staff, "store_app_state", key="colour", data='{"red": 1}')
    (only,) = exchanges(page)
    assert only.status == 200
    assert only.request_headers["Mcp-Name"] == "store_app_state"
    assert json.loads(only.request_body)["params"]["arguments"] == {"key": "colour", "data": {"red": 1}}
    session_id = page.context["touched"]
    stored = default_store().peek(session_id)
    assert stored is not None
    assert stored.state["colour"] == {"red": 1}
    assert f'href="/admin/sessions/{session_id}/"' in page.content.decode()


def test_a_call_in_a_session_opens_one_first(staff: Client) -> None:
    page = call(staff, "store_app_state", LEGACY, key="colour", data="1")
    assert [(each.title, each.status) for each in exchanges(page)] == [
        ("Open a session", 200),
        ("Say that it is open", 202),
        ("Call the tool", 200),
    ]
    stored = default_store().peek(page.context["touched"])
    assert stored is not None
    assert stored.protocol_version == LEGACY
    assert stored.state["colour"] == 1


def test_a_call_in_an_existing_session_goes_on_there(staff: Client) -> None:
    session_id = call(staff, "store_app_state", LEGACY, key="colour", data="1").context["touched"]
    page = call(staff, "get_app_state", LEGACY, session_id, key="colour")
    (only,) = exchanges(page)
    assert only.answer["result"]["structuredContent"]["data"] == 1
    assert page.context["touched"] == session_id


def test_an_unknown_session_is_answered_as_a_client_would_be(staff: Client) -> None:
    page = call(staff, "get_app_state", LEGACY, "no-such-session", key="colour")
    assert [each.status for each in exchanges(page)] == [404]
    assert page.context["outcome"] == ("error", "bad")


def test_the_servers_own_validation_is_shown(staff: Client) -> None:
    page = call(staff, "global_state", region="not a region", key="k", data="1")
    assert page.context["outcome"] == ("tool error", "bad")


def test_text_that_is_no_json_is_refused_at_its_field_and_kept(staff: Client) -> None:
    page = call(staff, "store_app_state", key="colour", data="{bad")
    assert page.status_code == 422
    assert "exchanges" not in page.context
    assert "This is not JSON" in page.content.decode()
    assert "{bad" in page.content.decode()
    assert "colour" in page.content.decode()


def test_arguments_may_be_written_as_json(staff: Client) -> None:
    data = {"era": MODERN, "input": "raw", "raw": '{"key": "k", "data": null}'}
    page = staff.post(f"{URL}?tool=store_app_state", data)
    assert json.loads(exchanges(page)[0].request_body)["params"]["arguments"] == {"key": "k", "data": None}


@pytest.mark.parametrize("raw", ["[1]", "{", "", "[" * 10_000, f'{{"data": {"[" * 600}{"]" * 600}}}',
                                 '{"data": "\\ud800"}', '{"data": NaN}'])  # fmt: skip
def test_other_json_than_an_object_is_refused(staff: Client, raw: str) -> None:
    page = staff.post(f"{URL}?tool=store_app_state", {"era": MODERN, "input": "raw", "raw": raw})
    assert page.status_code == 422
    assert "exchanges" not in page.context
    # What the field says that it is described by is there.
    assert 'aria-describedby="id_raw_error"' in page.content.decode()
    assert 'id="id_raw_error"' in page.content.decode()


def test_an_answer_that_is_nested_too_deep_is_shown_as_it_came() -> None:
    deep = "[" * 5_000 + "]" * 5_000
    shown = exchange.Exchange("Call", "POST", {}, deep, 200, "OK", {}, deep, 1.0)
    assert shown.shown_request == shown.shown_response == deep
    assert shown.answer == {}


def test_a_link_fills_the_form_and_calls_nothing(staff: Client) -> None:
    link = call(staff, "store_app_state", key="colour", data="1").context["share"]
    before = LogEntry.objects.count()
    page = staff.get(link)
    assert page.context["is_raw"]
    assert "{&quot;key&quot;: &quot;colour&quot;, &quot;data&quot;: 1}" in page.content.decode()
    assert "exchanges" not in page.context
    assert LogEntry.objects.count() == before


def test_the_admin_log_names_the_tool_and_no_argument(staff: Client) -> None:
    call(staff, "store_app_state", key="colour", data='"secret"')
    entry = LogEntry.objects.latest("action_time")
    assert "store_app_state" in entry.change_message
    assert "secret" not in entry.change_message


def test_without_the_permission_there_is_no_page_and_no_call(staff_client: StaffClient) -> None:
    viewer = staff_client("view_session")
    assert viewer.get(URL).status_code == 403
    assert call(viewer, "store_app_state", key="k", data="1").status_code == 403
    assert "try-it" not in viewer.get("/admin/sessions/").content.decode()


def test_a_post_without_a_token_is_refused(staff: Client) -> None:
    checking = Client(enforce_csrf_checks=True)
    checking.cookies = staff.cookies
    assert call(checking, "store_app_state", key="k", data="1").status_code == 403


def test_where_callers_are_known_staff_reach_their_own_sessions_only(staff: Client, settings: Settings) -> None:
    theirs = default_store().create(principal="somebody")
    settings.MCP_AUTH = "django_mcpz.bearer_tokens.auth.token_auth"
    page = call(staff, "get_app_state", LEGACY, theirs.session_id, key="k")
    assert [each.status for each in exchanges(page)] == [404]
    own = default_store().peek(call(staff, "store_app_state", key="k", data="1").context["touched"])
    assert own is not None
    assert own.principal.startswith("staff:")


@pytest.mark.usefixtures("serve_shouting")
def test_hostile_names_and_texts_do_no_harm(staff: Client) -> None:
    listing = staff.get(URL).content.decode()
    assert "<b>a</b>" not in listing
    href = re.search(r'href="(\?tool=\.\.[^"]+)"', listing)
    assert href
    page = staff.post(URL + href[1], {"era": MODERN, "input": "form", "arg-text": "</pre><script>"}).content.decode()
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert "</pre><script>" not in page


@pytest.mark.usefixtures("serve_shouting")
def test_a_long_answer_is_cut_on_screen_and_whole_in_the_download(staff: Client) -> None:
    page = call(staff, "long", size="400000")
    (only,) = exchanges(page)
    assert len(only.shown_response) < 40_000
    assert only.download.startswith("data:text/plain")
    assert "x" * 400_000 in only.response_body


@pytest.mark.usefixtures("serve_shouting")
def test_an_answer_over_the_bound_is_cut_and_says_so(staff: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "MAX_BYTES", 10_000)
    (only,) = exchanges(call(staff, "long", size="400000"))
    assert len(only.response_body) == 10_000
    assert "the rest was not read" in only.cut


@pytest.mark.usefixtures("serve_shouting")
@pytest.mark.filterwarnings("ignore:The logging capability is deprecated")
@pytest.mark.parametrize("era", [LEGACY, MODERN])
def test_a_streamed_answer_is_shown_event_by_event(staff: Client, era: str) -> None:
    called = exchanges(call(staff, "slow_progress", era))[-1]
    if era == LEGACY:
        logged = [message["params"]["data"] for message in called.messages if "params" in message]
        assert logged == ["step 0", "step 1", "step 2"]
    assert called.answer["result"]["content"][0]["text"] == "done"


def test_a_caller_is_the_public_only_where_anybody_is(settings: Settings) -> None:
    assert Caller(7).principal == ""
    settings.MCP_AUTH = "somebody.known"
    assert Caller(7).principal == "staff:7"


SCHEMA = {
    "type": "object",
    "required": ["text", "count", "mode"],
    "$defs": {"Mode": {"enum": ["fast", 2, None]}},
    "properties": {
        "text": {"type": "string"},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
        "count": {"type": "integer"},
        "ratio": {"type": ["number", "null"]},
        "flag": {"type": "boolean"},
        "mode": {"$ref": "#/$defs/Mode"},
        "items": {"type": "array", "items": {"type": "integer"}},
        "loop": {"$ref": "#/properties/loop"},
        "any": True,
    },
}


def sent(**typed: str) -> dict[str, Any]:
    form = ArgumentsForm(SCHEMA, {f"arg-{name}": text for name, text in typed.items()})
    assert form.is_valid(), form.errors
    return plain(form.arguments)


def test_what_is_left_empty_is_not_sent() -> None:
    assert sent(text="", count="1", mode='"fast"') == {"text": "", "count": 1, "mode": "fast"}


def test_every_type_is_sent_as_itself() -> None:
    typed = sent(
        text=" a ",
        note="n",
        count="12345678901234567890",
        ratio="0.5",
        flag="false",
        mode="null",
        items="[1]",
        any="{}",
    )
    assert typed == {
        "text": " a ",
        "note": "n",
        "count": 12345678901234567890,
        "ratio": 0.5,
        "flag": False,
        "mode": None,
        "items": [1],
        "any": {},
    }


@pytest.mark.parametrize("missing", ["count", "mode"])
def test_a_required_argument_is_asked_for(missing: str) -> None:
    typed = {"text": "", "count": "1", "mode": "2"} | {missing: ""}
    form = ArgumentsForm(SCHEMA, {f"arg-{name}": text for name, text in typed.items()})
    assert list(form.errors) == [missing]


@pytest.mark.parametrize("schema", [{}, {"properties": []}, {"properties": {"a": {"$ref": 7}}}, {"required": None}])
def test_an_odd_schema_makes_a_form_all_the_same(schema: dict[str, Any]) -> None:
    assert ArgumentsForm(schema, {}).is_valid()
