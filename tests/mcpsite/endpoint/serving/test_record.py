"""Served calls in the record: what happened, best effort, and never at the expense of an answer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_django import Settings

from mcpsite.endpoint.loop import current_loop
from sessions_dynamo.store.calls import Call, recent_calls
from sessions_dynamo.store.events import default_store
from tests.mcpsite import site
from tests.mcpsite.peers import LegacyPeer, ModernPeer


@pytest.fixture(autouse=True)
def recording(settings: Settings, _no_record_of_calls: None) -> Iterator[None]:
    settings.RECORD_CALLS = True
    yield
    site.on_the_loop(_written())


async def _written() -> None:
    await (await current_loop()).recorder.flush(10)


def _recorded(session_id: str) -> list[Call]:
    """The calls of a session, oldest first, once all that waited are written."""
    site.on_the_loop(_written())
    store = default_store()
    return store.drive(recent_calls(store.table, session_id))[::-1]


def test_each_call_is_recorded_with_its_outcome(legacy: LegacyPeer) -> None:
    legacy.request("tools/list")
    legacy.request("nope")
    legacy.call("store_app_state", key="a", data=1)
    legacy.call("store_app_state")
    calls = _recorded(legacy.session_id)

    assert [(call.method, call.tool, call.outcome) for call in calls] == [
        ("initialize", None, "ok"),
        ("tools/list", None, "ok"),
        ("nope", None, "-32601"),
        ("tools/call", "store_app_state", "ok"),
        ("tools/call", "store_app_state", "tool_error"),
    ]
    assert all(call.duration_ms > 0 and call.request_bytes > 0 and call.response_bytes > 0 for call in calls)
    assert all(call.request_body is None and call.response_body is None for call in calls)


def test_a_call_without_session_is_recorded_under_its_handle(modern: ModernPeer) -> None:
    modern.request("tools/list")
    modern.call("store_app_state", key="a", data=1)
    modern.call("get_app_state", key="a")
    assert modern.session_id is not None
    assert [call.tool for call in _recorded(modern.session_id)] == ["store_app_state", "get_app_state"]


def test_bodies_are_recorded_where_that_was_asked_for(legacy: LegacyPeer, settings: Settings) -> None:
    settings.RECORD_BODIES = True
    legacy.call("store_app_state", key="a", data="blue")
    call = _recorded(legacy.session_id)[-1]
    assert call.request_body is not None
    assert call.response_body is not None
    assert '"data":"blue"' in call.request_body
    assert "blue" in call.response_body


@pytest.mark.parametrize("bodies", [False, True])
def test_text_that_no_record_can_hold_costs_neither_the_answer_nor_the_records_beside_it(
    legacy: LegacyPeer, settings: Settings, bodies: bool
) -> None:
    settings.RECORD_BODIES = bodies
    legacy.request("tools/list")
    assert legacy.request("\ud800").error["code"] == -32601
    assert legacy.call("\ud800").failed
    assert legacy.call("store_app_state", key="a", data="\ud800").failed

    assert len(_recorded(legacy.session_id)) == 5
