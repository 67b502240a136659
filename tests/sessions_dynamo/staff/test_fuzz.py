"""Whatever a URL or a form holds, a staff page answers with a page: never with a traceback, nor DynamoDB's refusal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sessions_dynamo.store.events import default_store as events
from sessions_dynamo.store.sessions import default_store as sessions
from tests.engines import on_dynamodb_local, on_moto
from tests.sessions_dynamo.staff import urls
from tests.sessions_dynamo.support import state_of

pytestmark = pytest.mark.django_db

PERMISSIONS: Final = ("view_session", "change_session", "delete_session", "manage_tables", "manage_backups")
PARAMETERS: Final = (
    "after", "arg-data", "arg-key", "before", "body", "client", "cursor", "era", "find", "input", "key", "keys", "name",
    "order", "plan", "principal", "query", "range", "raw", "revision", "seen", "session", "show", "since", "status",
    "table", "text", "tool", "type", "until",
)  # fmt: skip
TIMES: Final = ("2026-13-45T99:99", "0001-01-01T00:00+14:00", "9999-12-31T23:59-14:00", "1969-12-31")
GARBAGE: Final = (
    "", "\0", "-1", "0", "9" * 5000, "1e400", "NaN", "..", "//elsewhere.example", "#bus", "~", "a:b:c", "\u202e<b>",
    "x" * 5000, "é" * 1500, *TIMES,
    '{"a": "\\ud800"}', "[" * 700 + "]" * 700, "[" * 100_000, "2025-11-25", "store_app_state", "failed", "raw", "all",
)  # fmt: skip
ANY: Final = st.sampled_from(GARBAGE) | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
FORMS: Final = st.dictionaries(st.sampled_from(PARAMETERS), ANY, max_size=5)

Ids = dict[str, str]


@pytest.fixture
def known(dynamodb: object) -> Ids:
    """A value for each argument of a staff URL, of things that exist."""
    session = sessions().create(principal="alice", state=state_of(colour="blue"))
    stored = events().store(session.session_id, "notifications/message", '{"params": {"level": "info"}}')
    return {
        "session_id": session.session_id,
        "key": "colour",
        "event_id": stored.event_id,
        "stream_id": stored.stream_id,
    }


def check(answer: Any, what: object) -> None:
    """Fail for an answer that is no page of ours."""
    text = b"".join(answer.streaming_content) if answer.streaming else answer.content
    assert answer.status_code != 500, what
    assert b"ValidationException" not in text, what
    assert "elsewhere.example" not in answer.get("Location", "").partition("?")[0], what


@on_moto
def test_no_query_and_no_form_breaks_a_page(known: Ids, staff_client: Callable[..., Client]) -> None:
    client, names = staff_client(*PERMISSIONS), urls.names()

    @given(name=st.sampled_from(names), query=FORMS, form=st.none() | FORMS, htmx=st.booleans())
    @settings(
        max_examples=60,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    def answered(name: str, query: Ids, form: Ids | None, htmx: bool) -> None:
        url, headers = urls.url(name, known), {"HX-Request": "true"} if htmx else {}
        if form is None:
            answer = client.get(url, query, headers=headers)
        else:
            answer = client.post(url, form, query_params=query, headers=headers)
        check(answer, (name, query, form))

    answered()


@on_dynamodb_local
def test_no_id_breaks_a_page(known: Ids, staff_client: Callable[..., Client]) -> None:
    client = staff_client(*PERMISSIONS)
    for garbage in ("\0", "x" * 1500, "é" * 1200, "../\u202e<b>", "#bus"):
        for name in urls.names():
            for argument in known:
                url = urls.url(name, known | {argument: garbage})
                if url != urls.url(name, known):
                    check(client.get(url), url[:200])


@on_dynamodb_local
def test_no_filter_breaks_a_list(known: Ids, staff_client: Callable[..., Client]) -> None:
    client = staff_client("view_session")
    for name in ("mcp_staff:events", "mcp_staff:session"):
        for garbage in ("\0", "x" * 5000, "é" * 1500, "#bus", *TIMES):
            for query in ({"before": garbage}, {"session": garbage, "type": garbage, "cursor": garbage}):
                answer = client.get(urls.url(name, known), query)
                check(answer, (name, query))
                assert answer.status_code == 200
