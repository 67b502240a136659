"""What can be done to a session: with the permission, by POST, after a question, and on record."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest
from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from sessions_dynamo.errors import SessionNotFound, StorageError, StorageUnavailable
from sessions_dynamo.store import sessions
from sessions_dynamo.store.events import default_store as events
from sessions_dynamo.store.session_items import MAX_VALUE_BYTES, Session
from sessions_dynamo.workers import streams
from tests.engines import on_moto
from tests.sessions_dynamo.support import state_of

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

pytestmark = pytest.mark.django_db

ODD_KEY = "../..//<b>\u202e?#%"


def make(**state: Any) -> Session:
    return sessions.default_store().create(state=state_of(**state))


def stored(session: Session, key: str) -> Any:
    found = sessions.default_store().peek(session.session_id)
    assert found is not None
    return found.state.get(key, "absent")


def url_of(name: str, session: Session, *more: str) -> str:
    return reverse(f"mcp_staff:{name}", args=[session.session_id, *more])


def seen_in(answer: Any) -> str:
    return str(re.findall(r'name="seen"(?: value="([^"]*)")?', answer.content.decode())[0])


def text_in(answer: Any) -> str:
    return html.unescape(re.findall(r"<textarea[^>]*>\s*(.*?)</textarea>", answer.content.decode(), re.DOTALL)[0])


def edit(client: Client, session: Session, key: str, text: str, seen: str | None = None) -> Any:
    """Open the form, unless ``seen`` was read before, and save a text."""
    url = url_of("session-value-edit", session, key)
    return client.post(url, {"text": text, "seen": seen_in(client.get(url)) if seen is None else seen})


@pytest.fixture
def changer(staff_client: Callable[..., Client]) -> Client:
    return staff_client("view_session", "change_session")


@pytest.fixture
def deleter(staff_client: Callable[..., Client]) -> Client:
    return staff_client("view_session", "delete_session")


class TestEdit:
    @pytest.mark.parametrize("key", ["colour", ODD_KEY])
    def test_a_key_is_changed_and_the_change_is_on_record(
        self, dynamodb: DynamoDBClient, changer: Client, key: str
    ) -> None:
        session = make(**{key: {"a": 1}})

        answer = edit(changer, session, key, '{"a": [2.5, null]}')

        assert answer.status_code == 302
        assert stored(session, key) == {"a": [2.5, None]}
        entry = LogEntry.objects.get()
        assert (entry.object_id, entry.action_flag) == (session.session_id, CHANGE)
        assert repr(key) in entry.change_message
        assert "2.5" not in entry.change_message

    def test_a_key_that_changed_meanwhile_is_not_overwritten(self, dynamodb: DynamoDBClient, changer: Client) -> None:
        session = make(colour="blue")
        seen = seen_in(changer.get(url_of("session-value-edit", session, "colour")))
        theirs = sessions.default_store().load(session.session_id)
        theirs.state["colour"] = "their green"
        sessions.default_store().save(theirs)

        answer = edit(changer, session, "colour", '"my red"', seen)

        assert answer.status_code == 409
        assert "their green" in answer.content.decode()
        assert text_in(answer) == '"my red"'
        assert stored(session, "colour") == "their green"
        assert not LogEntry.objects.exists()
        # The page of the conflict saves over what it shows.
        assert edit(changer, session, "colour", '"my red"', seen_in(answer)).status_code == 302
        assert stored(session, "colour") == "my red"

    def test_a_key_that_was_deleted_meanwhile_keeps_what_was_written(
        self, dynamodb: DynamoDBClient, changer: Client
    ) -> None:
        session = make(colour="blue")
        seen = seen_in(changer.get(url_of("session-value-edit", session, "colour")))
        theirs = sessions.default_store().load(session.session_id)
        del theirs.state["colour"]
        sessions.default_store().save(theirs)

        answer = edit(changer, session, "colour", '"my red"', seen)

        assert answer.status_code == 409
        assert text_in(answer) == '"my red"'
        assert edit(changer, session, "colour", '"my red"', seen_in(answer)).status_code == 302
        assert stored(session, "colour") == "my red"

    def test_a_spilled_value_is_replaced_if_it_is_still_the_same(
        self, dynamodb: DynamoDBClient, changer: Client
    ) -> None:
        session = make(large="x" * 5000)
        form = changer.get(url_of("session-value-edit", session, "large"))
        assert json.loads(text_in(form)) == "x" * 5000
        assert edit(changer, session, "large", '"small"', seen_in(form)).status_code == 302
        assert stored(session, "large") == "small"
        assert edit(changer, session, "large", '"late"', seen_in(form)).status_code == 409
        assert stored(session, "large") == "small"

    @on_moto
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("{a: 1}", "line 1, column 2"),
            ("NaN", "not JSON"),
            ('"\\ud800"', "lone surrogate"),
            ('{"a": 1, "a": 2}', "stands twice"),
            ("[" * 600 + "]" * 600, "nested"),
            ("[" * 100_000, "nested"),
            ("1" * 5000, "4300"),
            ("", "required"),
            ('"' + "x" * MAX_VALUE_BYTES + '"', "the limit is"),
        ],
    )
    def test_what_cannot_be_stored_is_explained_and_kept(
        self, dynamodb: DynamoDBClient, changer: Client, text: str, expected: str
    ) -> None:
        session = make(colour="blue")
        answer = edit(changer, session, "colour", text)
        assert answer.status_code == 400
        assert expected in html.unescape(answer.content.decode())
        assert text_in(answer) == text
        assert stored(session, "colour") == "blue"

    @on_moto
    @pytest.mark.parametrize("text", ["null", "false", "0", '""', "[]", "123456789012345678901234567890"])
    def test_every_json_value_can_be_stored(self, dynamodb: DynamoDBClient, changer: Client, text: str) -> None:
        session = make(colour="blue")
        assert edit(changer, session, "colour", text).status_code == 302
        assert stored(session, "colour") == json.loads(text)

    @on_moto
    def test_a_value_too_large_for_the_form_can_be_replaced(self, dynamodb: DynamoDBClient, changer: Client) -> None:
        session = make(large="x" * 100_000)
        answer = changer.get(url_of("session-value-edit", session, "large"))
        assert "too large to edit" in answer.content.decode()
        assert len(answer.content) < 60_000
        assert edit(changer, session, "large", "1").status_code == 302
        assert stored(session, "large") == 1

    @on_moto
    def test_a_value_that_is_long_only_when_indented_is_edited_whole(
        self, dynamodb: DynamoDBClient, changer: Client
    ) -> None:
        value: Any = [1] * 30_000
        for _ in range(10):
            value = [value]
        session = make(flat=value)
        assert json.loads(text_in(changer.get(url_of("session-value-edit", session, "flat")))) == value

    @on_moto
    @pytest.mark.parametrize(
        ("error", "status"), [(StorageUnavailable("throttled"), 503), (SessionNotFound("it has ended"), 400)]
    )
    def test_what_was_typed_is_kept_when_it_cannot_be_saved(
        self,
        dynamodb: DynamoDBClient,
        changer: Client,
        monkeypatch: pytest.MonkeyPatch,
        error: StorageError,
        status: int,
    ) -> None:
        session = make(colour="blue")
        monkeypatch.setattr(sessions.default_store(), "save", Mock(side_effect=error))
        answers = [
            edit(changer, session, "colour", '"my red"'),
            changer.post(url_of("session-key-add", session), {"key": "new", "text": '"my red"'}),
        ]
        for answer in answers:
            assert answer.status_code == status
            assert str(error) in answer.content.decode()
            assert text_in(answer) == '"my red"'
        assert not LogEntry.objects.exists()

    @on_moto
    def test_an_ended_session_is_not_changed(self, dynamodb: DynamoDBClient, changer: Client) -> None:
        session = make(colour="blue")
        seen = seen_in(changer.get(url_of("session-value-edit", session, "colour")))
        sessions.default_store().terminate(session.session_id)
        assert edit(changer, session, "colour", "1", seen).status_code == 409
        assert changer.post(url_of("session-key-add", session), {"key": "a", "text": "1"}).status_code == 409
        assert stored(session, "colour") == "blue"


class TestAdd:
    @on_moto
    def test_a_key_is_added(self, dynamodb: DynamoDBClient, changer: Client) -> None:
        session = make()
        answer = changer.post(url_of("session-key-add", session), {"key": ODD_KEY, "text": "null"})
        assert answer.status_code == 302
        assert stored(session, ODD_KEY) is None
        assert LogEntry.objects.get().change_message.startswith("Added the key")

    def test_a_key_that_is_there_is_a_conflict(self, dynamodb: DynamoDBClient, changer: Client) -> None:
        session = make(colour="blue")
        answer = changer.post(url_of("session-key-add", session), {"key": "colour", "text": '"red"'})
        assert answer.status_code == 409
        assert "blue" in answer.content.decode()
        assert stored(session, "colour") == "blue"

    @on_moto
    @pytest.mark.parametrize("key", ["", "x" * 257])
    def test_a_key_that_is_none_is_refused(self, dynamodb: DynamoDBClient, changer: Client, key: str) -> None:
        session = make()
        answer = changer.post(url_of("session-key-add", session), {"key": key, "text": "1"})
        assert answer.status_code == 400


class TestDeleteKey:
    def test_a_key_is_deleted_after_a_question_that_names_it(self, dynamodb: DynamoDBClient, changer: Client) -> None:
        session = make(colour="blue", shape="round", large="x" * 5000)
        for key in ("colour", "large"):
            url = url_of("session-value-delete", session, key)
            question = changer.get(url)
            assert f"Delete the key '{key}' from the state of session {session.session_id}?" in html.unescape(
                question.content.decode()
            )
            assert stored(session, key) != "absent"
            assert changer.post(url, {"confirmed": "yes", "seen": seen_in(question)}).status_code == 302
            assert stored(session, key) == "absent"
        assert stored(session, "shape") == "round"
        assert LogEntry.objects.count() == 2

    @on_moto
    def test_a_key_that_changed_since_the_question_stays(self, dynamodb: DynamoDBClient, changer: Client) -> None:
        session = make(colour="blue")
        url = url_of("session-value-delete", session, "colour")
        seen = seen_in(changer.get(url))
        edit(changer, session, "colour", '"green"')
        assert changer.post(url, {"confirmed": "yes", "seen": seen}).status_code == 409
        assert stored(session, "colour") == "green"


class TestValue:
    @on_moto
    def test_a_value_is_shown_and_downloaded_exactly(self, dynamodb: DynamoDBClient, changer: Client) -> None:
        value = {"n": [1.0, 10**30], "html": "<script>", "rtl": "\u202e", "long": "x" * 5000}
        session = make(**{ODD_KEY: value})
        shown = changer.get(url_of("session-value", session, ODD_KEY))
        assert "object, 4 keys" in shown.content.decode()
        assert "1000000000000000000000000000000" in shown.content.decode()
        assert '<script>"' not in shown.content.decode()
        part = changer.get(url_of("session-value", session, ODD_KEY), headers={"HX-Request": "true"})
        assert "<html" not in part.content.decode()
        answer = changer.get(url_of("session-value-download", session, ODD_KEY))
        assert json.loads(answer.content) == value
        assert answer["Content-Disposition"].startswith("attachment")
        assert answer["X-Content-Type-Options"] == "nosniff"

    @on_moto
    def test_an_unknown_key_is_a_page_that_says_so(self, dynamodb: DynamoDBClient, changer: Client) -> None:
        session = make()
        for name in ("session-value", "session-value-download", "session-value-edit", "session-value-delete"):
            answer = changer.get(url_of(name, session, "none"))
            assert answer.status_code == 404
            assert "has no key" in answer.content.decode()


class TestEnd:
    def test_a_session_is_terminated_after_a_question_that_names_it(
        self, dynamodb: DynamoDBClient, changer: Client
    ) -> None:
        session = make()
        url = url_of("session-terminate", session)
        assert f"Terminate session {session.session_id}?" in changer.get(url).content.decode()
        assert sessions.default_store().exists(session.session_id)
        changer.post(url)
        assert sessions.default_store().exists(session.session_id)

        answer = changer.post(url, {"confirmed": "yes"}, follow=True)

        assert "was terminated" in answer.content.decode()
        assert not sessions.default_store().exists(session.session_id)
        assert LogEntry.objects.get().object_id == session.session_id
        again = changer.post(url, {"confirmed": "yes"}, follow=True)
        assert "had ended before" in again.content.decode()
        assert LogEntry.objects.count() == 1

    @on_moto
    def test_what_failed_halfway_is_on_record(
        self, dynamodb: DynamoDBClient, staff_client: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        client = staff_client("view_session", "change_session", "delete_session")
        monkeypatch.setattr(streams.default_store(), "end_session", Mock(side_effect=StorageUnavailable("throttled")))
        for name, flag in (("session-terminate", CHANGE), ("session-delete", DELETION)):
            session = make()
            assert client.post(url_of(name, session), {"confirmed": "yes"}).status_code == 503
            assert not sessions.default_store().exists(session.session_id)
            entry = LogEntry.objects.get(object_id=session.session_id)
            assert entry.action_flag == flag
            assert entry.change_message.startswith("Tried to")

    def test_a_session_is_deleted_with_its_events(self, dynamodb: DynamoDBClient, deleter: Client) -> None:
        session = make(large="x" * 5000)
        events().store(session.session_id, "ping", "{}")
        url = url_of("session-delete", session)
        assert session.session_id in deleter.get(url).content.decode()

        assert deleter.post(url, {"confirmed": "yes"}).status_code == 302

        assert sessions.default_store().peek(session.session_id) is None
        assert events().count(session.session_id) == 0
        assert LogEntry.objects.get().action_flag == DELETION
        assert deleter.post(url, {"confirmed": "yes"}).status_code == 404


ACTIONS = {
    "session-terminate": "change_session",
    "session-delete": "delete_session",
    "session-key-add": "change_session",
    "session-value-edit": "change_session",
    "session-value-delete": "change_session",
}


@on_moto
@pytest.mark.parametrize("name", ACTIONS)
def test_no_action_without_its_permission_its_post_or_its_token(
    dynamodb: DynamoDBClient, staff_client: Callable[..., Client], name: str
) -> None:
    session = make(colour="blue")
    url = url_of(name, session, *(["colour"] if "value" in name else []))
    form = {"confirmed": "yes", "text": "1", "key": "new", "seen": ""}

    def refused(answer: HttpResponse | Any) -> bool:
        return bool(answer.status_code == 403)

    others = {"view_session", *ACTIONS.values()} - {ACTIONS[name]}
    assert refused(staff_client(*others).post(url, form))
    assert refused(staff_client(*others).get(url))
    assert refused(staff_client(ACTIONS[name], enforce_csrf_checks=True).post(url, form))
    assert staff_client(ACTIONS[name]).get(url, form).status_code == 200
    assert stored(session, "colour") == "blue"
    assert stored(session, "new") == "absent"
    assert sessions.default_store().exists(session.session_id)
    assert not LogEntry.objects.exists()
