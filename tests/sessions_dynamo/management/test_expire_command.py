"""``sessions_expire`` as an operator or a schedule runs it."""

from __future__ import annotations

import io
import json
import re
import shlex
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import botocore.session
import pytest
from botocore.validate import ParamValidator
from django.core.management import CommandError, call_command
from pytest_django import Settings

from sessions_dynamo import schema
from sessions_dynamo.management.commands.sessions_expire import Command
from sessions_dynamo.management.pace import PacedProgress
from sessions_dynamo.reading.session_list import SessionList
from sessions_dynamo.store.events import default_store as default_events
from sessions_dynamo.store.session_items import floor
from sessions_dynamo.store.sessions import SessionStore, default_store
from sessions_dynamo.store.times import seconds, to_ms
from sessions_dynamo.upkeep import expiry
from tests.sessions_dynamo.management.test_progress import Screen
from tests.sessions_dynamo.store.test_events import stream_of
from tests.sessions_dynamo.support import raw_items, state_of
from tests.sessions_dynamo.wire import operations, writes

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


def expire(*arguments: str) -> str:
    """Run the command and return what it prints, runs of spaces made one."""
    out = io.StringIO()
    call_command("sessions_expire", *arguments, stdout=out, no_color=True)
    return re.sub(" +", " ", out.getvalue())


@pytest.fixture
def store(dynamodb: DynamoDBClient) -> SessionStore:
    """The service's store: two sessions past their ttl, one of them with five events; one idle; one in use."""
    store = default_store()
    for name in ("past1", "past2", "idle", "used"):
        store.create(name, state=state_of(report="x" * 5000))
    for name, age in (("past1", timedelta(days=2)), ("past2", timedelta(days=2)), ("idle", timedelta(hours=5))):
        at = floor(datetime.now(UTC) - age)
        store.dynamodb.update_item(
            TableName=store.table,
            Key={"session_id": {"S": name}},
            UpdateExpression="SET last_activity = :at, created_at = :at, #ttl = :ttl",
            ExpressionAttributeNames={"#ttl": schema.TTL_ATTRIBUTE},
            ExpressionAttributeValues={":at": {"N": str(to_ms(at))}, ":ttl": seconds(at + store.session_ttl)},
        )
    default_events().append(stream_of(5, session="past1"))
    return store


def sessions_of(store: SessionStore) -> list[str]:
    return sorted(
        item["session_id"]["S"] for item in raw_items(store.dynamodb, store.table) if "#" not in item["session_id"]["S"]
    )


def test_deletes_what_is_past_its_ttl_and_says_what_it_did(store: SessionStore, settings: Settings) -> None:
    printed = expire()
    assert "Plan: delete sessions past their ttl, events of sessions that are gone, events over 1,000" in printed
    assert "sessions 2 deleted, with 5 items of events" in printed
    assert "surplus events 0 deleted" in printed
    assert "Nothing else is to be done." in printed
    assert sessions_of(store) == ["idle", "used"]
    assert raw_items(store.dynamodb, settings.DYNAMODB_EVENTS_TABLE) == []


def test_deletes_idle_sessions_where_that_is_asked_for(store: SessionStore) -> None:
    printed = expire("--idle", "4.5")
    assert "past their ttl or unused for 4.5 h" in printed
    assert "sessions 3 deleted" in printed
    assert sessions_of(store) == ["used"]


def test_a_dry_run_counts_and_writes_nothing(store: SessionStore) -> None:
    with operations(store.dynamodb) as sent:
        printed = expire("--dry-run", "--orphans")
    assert not [name for name in writes(sent) if name != "BatchGetItem"]
    assert "sessions 2 would be deleted, with 5 items of events" in printed
    assert "large values 0 would be deleted" in printed
    assert "Nothing was deleted." in printed


def test_json_is_one_document_with_the_counts(store: SessionStore) -> None:
    document = json.loads(expire("--json", "--orphans"))
    assert document["outcome"] == "complete"
    assert (document["sessions"], document["session_items"], document["large_values"]) == (2, 5, 0)
    assert document["parts"] == document["of_parts"] == 24


def test_a_limit_ends_a_run_that_is_gone_on_with_by_another(store: SessionStore) -> None:
    assert "sessions 1 deleted" in (printed := expire("--limit", "1"))
    assert "The run reached its limit after" in printed
    assert "Run it again" in printed
    assert "sessions 1 deleted" in expire("--limit", "2")
    assert sessions_of(store) == ["idle", "used"]


@pytest.mark.parametrize(("arguments", "left"), [(["--limit", "1"], 1), (["--seconds", "0.000001"], 2)])
def test_a_run_that_stops_says_how_many_are_left(store: SessionStore, arguments: list[str], left: int) -> None:
    document = json.loads(expire("--json", *arguments, "--dry-run"))
    assert (document["outcome"], document["expired"], document["seen"], document["left"]) == (
        "stopped",
        2,
        2 - left,
        left,
    )
    assert f"About {left} expired sessions are left. Run it again" in expire(*arguments)
    assert len(sessions_of(store)) == 4 - 2 + left
    document = json.loads(expire("--json"))
    assert (document["outcome"], document["sessions"], document["left"]) == ("complete", left, 0)


def test_a_session_whose_client_comes_back_while_the_run_looks_at_it_stays(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = SessionList.expired

    def comes_back(sessions: SessionList, *args: Any) -> Iterator[str]:
        for session_id in found(sessions, *args):
            if session_id == "past1":
                store.dynamodb.update_item(
                    TableName=store.table,
                    Key={"session_id": {"S": session_id}},
                    UpdateExpression="SET #ttl = :ttl",
                    ExpressionAttributeNames={"#ttl": schema.TTL_ATTRIBUTE},
                    ExpressionAttributeValues={":ttl": seconds(datetime.now(UTC) + store.session_ttl)},
                )
            yield session_id

    monkeypatch.setattr(SessionList, "expired", comes_back)
    document = json.loads(expire("--json"))

    assert (document["sessions"], document["seen"], document["session_items"]) == (1, 2, 0)
    assert sessions_of(store) == ["idle", "past1", "used"]
    assert default_events().count("past1") == 5


def test_the_bar_counts_sessions_and_the_time_that_is_left(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PacedProgress, "SECONDS", 0.0)
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)

    expire()

    assert re.search(r"deleted: \[[#.]+\] 1 of about 2 sessions, [\d,]+ a second, \d+ s left", screen.getvalue())


def test_other_tables_than_the_settings_can_be_named(store: SessionStore, settings: Settings) -> None:
    sessions, events = settings.DYNAMODB_SESSIONS_TABLE, settings.DYNAMODB_EVENTS_TABLE
    settings.DYNAMODB_SESSIONS_TABLE, settings.DYNAMODB_EVENTS_TABLE = "none", "none"
    assert "sessions 2 deleted" in expire("--sessions-table", sessions, "--events-table", events)
    settings.DYNAMODB_SESSIONS_TABLE, settings.DYNAMODB_EVENTS_TABLE = sessions, events


def test_a_table_that_is_missing_is_told(bare_dynamodb: DynamoDBClient) -> None:
    with pytest.raises(CommandError, match="dynamodb_setup"):
        expire()


def test_an_interruption_tells_what_was_done(store: SessionStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, tally: expiry.Tally, **__: Any) -> None:
        tally.sessions, tally.parts = 7, 3
        raise KeyboardInterrupt

    monkeypatch.setattr(expiry, "maintain", interrupted)
    out = io.StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("sessions_expire", stdout=out)
    assert ended.value.code == 130
    assert re.search(r"sessions +7 deleted", out.getvalue())
    assert "The run was interrupted after 3 of 8 parts. Run it again" in out.getvalue()


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--idle", "0"), "no number of hours over 0"),
        (("--limit", "0"), "no whole number over 0"),
        (("--limit", "many"), "no whole number over 0"),
        (("--seconds", "inf"), "no number of seconds over 0"),
    ],
)
def test_numbers_that_bound_nothing_are_refused(arguments: tuple[str, ...], why: str) -> None:
    with pytest.raises(CommandError, match=why):
        expire(*arguments)


def test_its_help_holds_a_schedule_that_aws_takes() -> None:
    help_ = Command().create_parser("manage.py", "sessions_expire").format_help()
    assert re.search(r"^ +17 \* \* \* \* .*sessions_expire", help_, re.M)

    command = help_[help_.index("aws scheduler") : help_.index("and once a week")].replace("\\\n", "")
    words = shlex.split(command)
    assert words[:3] == ["aws", "scheduler", "create-schedule"]
    options = dict(zip(words[3::2], words[4::2], strict=True))
    target = json.loads(options["--target"])
    request = {
        "Name": options["--name"],
        "ScheduleExpression": options["--schedule-expression"],
        "FlexibleTimeWindow": dict([options["--flexible-time-window"].split("=")]),
        "Target": target,
    }
    model = botocore.session.get_session().get_service_model("scheduler").operation_model("CreateSchedule")
    assert model.input_shape
    assert not ParamValidator().validate(request, model.input_shape).has_errors()
    [override] = json.loads(target["Input"])["containerOverrides"]
    assert override["command"] == ["python", "manage.py", "sessions_expire"]
