from __future__ import annotations

import io
import json
import re
import shlex
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from sessions_dynamo.backups import daily, on_demand, restores
from sessions_dynamo.tables import setup
from sessions_dynamo.tables.describing import describe
from sessions_dynamo.tables.names import named_tables
from tests.engines import on_dynamodb_local, on_moto
from tests.sessions_dynamo.support import raw_items, recreate
from tests.sessions_dynamo.wire import answering, error, operations, writes

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

AT = datetime(2025, 1, 31, 13, 45, 7, tzinfo=UTC)
STAMP = "20250131-134507"


def restore(*arguments: str) -> str:
    """Run the command and return what it prints, runs of spaces made one."""
    out = io.StringIO()
    call_command("dynamodb_restore", *arguments, stdout=out, stderr=io.StringIO(), no_color=True)
    return re.sub(" +", " ", out.getvalue())


def next_command(printed: str) -> list[str]:
    """The arguments of the command that the output or the error names as the next."""
    [command] = re.findall(r"python manage\.py dynamodb_restore (.*)", printed)
    return shlex.split(command)


@pytest.fixture
def sessions(settings: Settings, dynamodb: DynamoDBClient) -> str:
    """The sessions table's name; it holds three items."""
    name = str(settings.DYNAMODB_SESSIONS_TABLE)
    for session_id in ("a", "b", "c"):
        dynamodb.put_item(TableName=name, Item={"session_id": {"S": session_id}})
    return name


@pytest.fixture
def events(settings: Settings, dynamodb: DynamoDBClient) -> str:
    """The events table's name; it holds one item."""
    name = str(settings.DYNAMODB_EVENTS_TABLE)
    dynamodb.put_item(TableName=name, Item={"session_id": {"S": "a"}, "event_id": {"S": "1"}})
    return name


@on_moto
def test_the_newest_set_restores_both_tables_beside_the_former(
    dynamodb: DynamoDBClient, sessions: str, events: str
) -> None:
    on_demand.create(at=AT - timedelta(days=1))
    before = {name: raw_items(dynamodb, name) for name in (sessions, events)}
    on_demand.create(at=AT)
    dynamodb.put_item(TableName=sessions, Item={"session_id": {"S": "since"}})

    printed = restore("--latest")

    for name, items in before.items():
        target = f"{name}-restored-{STAMP}"
        assert f"Plan: restore backup {name}-backup-{STAMP} to {target}" in printed
        assert f"{target} table created from backup {name}-backup-{STAMP}" in printed
        assert f"{target} ttl created on attribute ttl" in printed
        assert f"\n{target}: ACTIVE, {len(items)} items, stream on, TTL ENABLED" in printed
        assert raw_items(dynamodb, target) == items
    assert len(raw_items(dynamodb, sessions)) == 4
    assert next_command(printed)[-1] == "--swap"


@on_moto
def test_the_newest_set_is_not_taken_for_a_lost_tables_in_silence(
    dynamodb: DynamoDBClient, sessions: str, events: str
) -> None:
    """A schedule backs up the empty table that was made in the place of a lost one."""
    on_demand.create(at=AT - timedelta(days=1))
    assert "made anew" not in restore("--latest", "--plan")

    recreate(dynamodb, sessions)
    assert "made anew" not in restore("--latest", "--plan"), "the newest is what was lost"

    daily.make(named_tables(), AT, client=dynamodb)
    printed = restore("--latest", "--plan")

    lost = f"{AT - timedelta(days=1):%Y%m%d-%H%M%S}"
    assert f"made anew, or restored, since set {lost}: newer sets" in printed
    assert printed.index(f"dynamodb_restore --set {lost}\n") < printed.index("Plan: ")
    assert f"Plan: restore backup {sessions}-daily-backup-{STAMP} to {sessions}-restored-{STAMP}: made " in printed
    assert "made anew" not in restore("--set", lost, "--plan")


@on_moto
def test_the_next_command_prints_the_environment_that_switches_the_service(
    dynamodb: DynamoDBClient, sessions: str, events: str, settings: Settings
) -> None:
    on_demand.create(at=AT)

    printed = restore(*next_command(restore("--set", STAMP, "--sessions-to", "s-" + sessions)))

    settings.DYNAMODB_SESSIONS_TABLE, settings.DYNAMODB_EVENTS_TABLE = "s-" + sessions, f"{events}-restored-{STAMP}"
    assert printed.endswith(f"DYNAMODB_SESSIONS_TABLE=s-{sessions}\nDYNAMODB_EVENTS_TABLE={events}-restored-{STAMP}\n")
    assert "An earlier run restored this already." in printed
    setup.reachable()


@on_moto
def test_one_backup_restores_its_table_and_the_other_keeps_its_name(
    dynamodb: DynamoDBClient, sessions: str, events: str
) -> None:
    made = on_demand.create(at=AT)[1]

    printed = restore(made.arn, "--to", "new-" + events, "--swap")

    assert printed.endswith(f"DYNAMODB_SESSIONS_TABLE={sessions}\nDYNAMODB_EVENTS_TABLE=new-{events}\n")
    assert raw_items(dynamodb, "new-" + events) == raw_items(dynamodb, events)


@on_moto
def test_a_deleted_table_comes_back_under_its_own_name(dynamodb: DynamoDBClient, sessions: str, events: str) -> None:
    on_demand.create(at=AT)
    for name in (sessions, events):
        dynamodb.delete_table(TableName=name)

    printed = restore("--set", STAMP, "--sessions-to", sessions, "--events-to", events)

    assert f"{sessions} no longer stands to tell what else it had" in printed
    assert len(raw_items(dynamodb, sessions)) == 3
    setup.reachable()


@on_moto
def test_both_tables_are_restored_to_the_latest_time(dynamodb: DynamoDBClient, sessions: str, events: str) -> None:
    for name in (sessions, events):
        dynamodb.update_continuous_backups(
            TableName=name, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
        )

    document = json.loads(
        restore("--point-in-time", "latest", "--sessions-to", "s-" + sessions, "--events-to", "e-" + events, "--json")
    )

    assert document["environment"] == {
        "DYNAMODB_SESSIONS_TABLE": "s-" + sessions,
        "DYNAMODB_EVENTS_TABLE": "e-" + events,
    }
    assert not document["pending"]
    assert [table["point_in_time_recovery"]["status"] for table in document["tables"]] == ["ENABLED", "ENABLED"]
    assert {step["table"] for step in document["steps"]} == {"s-" + sessions, "e-" + events}
    assert raw_items(dynamodb, "s-" + sessions) == raw_items(dynamodb, sessions)


@on_moto
def test_a_time_without_a_zone_is_said_in_utc_and_outside_the_window_refused(
    dynamodb: DynamoDBClient, sessions: str
) -> None:
    dynamodb.update_continuous_backups(
        TableName=sessions, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
    )
    out = io.StringIO()

    with operations(dynamodb) as sent, pytest.raises(CommandError, match="only to a time from"):
        call_command("dynamodb_restore", "--point-in-time", "2025-01-31T13:45", "--table", sessions, stdout=out)

    assert "Time: 2025-01-31 13:45:00+00:00\n" in out.getvalue()
    assert writes(sent) == []


@on_moto
def test_a_plan_changes_nothing(dynamodb: DynamoDBClient, sessions: str, events: str) -> None:
    on_demand.create(at=AT)
    dynamodb.update_table(TableName=sessions, DeletionProtectionEnabled=True)

    with operations(dynamodb) as sent:
        printed = restore("--latest", "--plan")

    target = f"{sessions}-restored-{STAMP}"
    assert f"Plan: then make again on {target}: stream, TTL, our tags, deletion protection\n" in printed
    assert writes(sent) == []


@on_moto
def test_without_waiting_says_how_to_complete_it(
    dynamodb: DynamoDBClient, sessions: str, events: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_demand.create(at=AT)
    with monkeypatch.context() as patch:
        # moto's tables are ACTIVE at once; AWS's are not.
        patch.setattr(restores, "wait_until_active", lambda *_, **__: False)
        printed = restore("--latest", "--no-wait")

    assert f"{sessions}-restored-{STAMP} table pending" in printed
    assert f"{sessions}-restored-{STAMP} ttl" not in printed
    assert f"{sessions}-restored-{STAMP} ttl created" in restore(*next_command(printed))


@on_moto
def test_says_which_sets_there_are_when_told_none_or_a_wrong_one(
    dynamodb: DynamoDBClient, sessions: str, events: str
) -> None:
    with pytest.raises(CommandError, match="dynamodb_backup"):
        restore("--latest")
    on_demand.create(at=AT)
    on_demand.create(named_tables()[:1], at=AT + timedelta(days=1))

    with pytest.raises(CommandError, match=f"Say what to restore: .* Complete sets of .*: {STAMP}"):
        restore()
    with pytest.raises(CommandError, match=f"No complete set of backups 20250201-134507. .*: {STAMP}"):
        restore("--set", "20250201-134507")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["name", "--latest"], "BACKUP and --latest contradict each other"),
        (["--latest", "--point-in-time", "latest"], "contradict"),
        (["--latest", "--table", "name"], "--table belongs to --point-in-time"),
        (["--latest", "--to", "name"], "give --sessions-to and --events-to"),
        (["name", "--events-to", "name"], "takes --to"),
        (["--point-in-time", "noon"], "'noon' is no time"),
    ],
)
@on_moto
def test_what_cannot_be_meant_is_refused_before_anything_is_sent(
    bare_dynamodb: DynamoDBClient, arguments: list[str], says: str
) -> None:
    with operations(bare_dynamodb) as sent, pytest.raises(CommandError, match=re.escape(says)):
        restore(*arguments)

    assert sent == []


@on_moto
def test_neither_table_is_restored_when_one_cannot_be(dynamodb: DynamoDBClient, sessions: str, events: str) -> None:
    on_demand.create(at=AT)

    for names in (["--events-to", sessions], ["--sessions-to", "same", "--events-to", "same"]):
        with operations(dynamodb) as sent, pytest.raises(CommandError):
            restore("--latest", *names)
        assert writes(sent) == []


@on_moto
def test_a_missing_permission_is_named_and_the_rest_is_done(
    dynamodb: DynamoDBClient, sessions: str, events: str
) -> None:
    on_demand.create(at=AT)
    denied = error("AccessDeniedException", "User is not authorized to perform: dynamodb:UpdateTimeToLive on resource")

    with answering(dynamodb, "UpdateTimeToLive", denied), pytest.raises(CommandError) as refused:
        restore("--latest")

    assert "dynamodb:UpdateTimeToLive" in str(refused.value)
    assert describe(f"{events}-restored-{STAMP}", dynamodb).stream.enabled
    assert f"{sessions}-restored-{STAMP} ttl created" in restore(*next_command(str(refused.value)))


@on_moto
def test_a_failure_on_the_way_names_the_command_that_goes_on(
    dynamodb: DynamoDBClient, sessions: str, events: str
) -> None:
    on_demand.create(at=AT)
    failure = error("InternalServerError", "Sorry.")

    with answering(dynamodb, "UpdateTimeToLive", failure), pytest.raises(CommandError, match="Sorry") as failed:
        restore("--latest")

    restore(*next_command(str(failed.value)))
    assert len(raw_items(dynamodb, f"{sessions}-restored-{STAMP}")) == 3


@on_moto
def test_an_interruption_is_a_sentence_that_names_the_command_and_exit_code_130(
    dynamodb: DynamoDBClient, sessions: str, events: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_demand.create(at=AT)

    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(restores, "wait_until_active", interrupt)
        with pytest.raises(CommandError, match=r"^Interrupted. AWS goes on") as interrupted:
            restore("--latest")
        patch.setattr(on_demand, "sets", interrupt)
        with pytest.raises(CommandError, match=r"^Interrupted. Nothing was changed"):
            restore("--latest")

    assert interrupted.value.returncode == 130
    restore(*next_command(str(interrupted.value)))
    assert len(raw_items(dynamodb, f"{sessions}-restored-{STAMP}")) == 3


@on_dynamodb_local
@pytest.mark.parametrize("arguments", [["--latest"], ["name"], ["--point-in-time", "latest"]])
def test_an_engine_without_backups_is_an_error_that_names_the_export(
    dynamodb: DynamoDBClient, arguments: list[str]
) -> None:
    with pytest.raises(CommandError, match=r"does not support .*sessions_export"):
        restore(*arguments)
