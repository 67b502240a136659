from __future__ import annotations

import io
import json
import re
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from sessions_dynamo.backups import daily, on_demand
from sessions_dynamo.tables.names import named_tables
from tests.engines import on_dynamodb_local, on_moto
from tests.sessions_dynamo.support import recreate
from tests.sessions_dynamo.wire import answering, error, operations, writes

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

AT = datetime(2025, 1, 31, 3, 15, 7, tzinfo=UTC)


def backup(*arguments: str) -> str:
    """Run the command and return what it prints, runs of spaces made one."""
    out = io.StringIO()
    call_command("dynamodb_backup", *arguments, stdout=out, stderr=io.StringIO(), no_color=True)
    return re.sub(" +", " ", out.getvalue())


def backup_json(*arguments: str) -> Any:
    return json.loads(backup(*arguments, "--json"))


@pytest.fixture
def sessions(settings: Settings, dynamodb: DynamoDBClient) -> str:
    return str(settings.DYNAMODB_SESSIONS_TABLE)


@pytest.fixture
def events(settings: Settings, dynamodb: DynamoDBClient) -> str:
    return str(settings.DYNAMODB_EVENTS_TABLE)


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)


@on_moto
def test_backs_up_both_tables_and_says_how_to_restore_them(
    dynamodb: DynamoDBClient, sessions: str, events: str
) -> None:
    printed = backup()

    [(stamp, *_)] = re.findall(rf"^{sessions} backup created {sessions}-backup-(\S+), (AVAILABLE)$", printed, re.M)
    assert f"Plan: back up {events} as {events}-backup-{stamp}" in printed
    assert f"{events} backup created {events}-backup-{stamp}, AVAILABLE" in printed
    assert printed.endswith(f"python manage.py dynamodb_restore --set {stamp}\n")


@on_moto
def test_backs_up_one_table(dynamodb: DynamoDBClient, sessions: str, events: str) -> None:
    printed = backup("create", "--table", events)

    assert re.search(rf"dynamodb_restore {events}-backup-\S+$", printed)
    assert sessions not in printed


@on_moto
def test_prints_json_and_nothing_else(dynamodb: DynamoDBClient, sessions: str, events: str) -> None:
    made = backup_json()["backups"]

    assert [one["table"] for one in made] == [sessions, events]
    assert backup_json("list")["backups"] == sorted(made, key=lambda one: str(one["created_at"]), reverse=True)
    [described] = backup_json("describe", made[0]["arn"])["backups"]
    assert described["backup"] == made[0]
    assert described["keys"] == ["session_id"]
    assert "expires_at" not in described["backup"], "moto tells no expiry"
    assert backup_json("delete", made[0]["arn"], made[1]["name"], "--yes")["deleted"][1]["name"] == made[1]["name"]
    assert backup_json("list") == {"backups": []}


@on_moto
def test_without_waiting_says_that_they_are_being_made(dynamodb: DynamoDBClient, sessions: str) -> None:
    creating = {
        "BackupArn": "arn",
        "BackupName": "name",
        "BackupStatus": "CREATING",
        "BackupType": "USER",
        "BackupCreationDateTime": "2025-01-31T13:45:07Z",
    }
    with answering(dynamodb, "CreateBackup", {"BackupDetails": creating}):
        printed = backup("--no-wait")

    assert f"{sessions} backup pending name, CREATING" in printed
    assert "until they are AVAILABLE" in printed


@on_moto
def test_lists_both_tables_backups_and_the_newest_that_restores_both(
    dynamodb: DynamoDBClient, sessions: str, events: str
) -> None:
    assert "No backups of" in backup("list")

    both = on_demand.create()
    dynamodb.create_backup(TableName=events, BackupName="by-hand")
    printed = backup("list")

    assert re.search(r"^\S+ \S+ UTC AVAILABLE USER \d+ bytes by-hand$", printed, re.M)
    assert all(one.name in printed for one in both)
    assert f"dynamodb_restore --set {both[0].stamp}" in printed


@on_moto
def test_lists_the_newest_set_of_a_former_table(dynamodb: DynamoDBClient, sessions: str, events: str) -> None:
    on_demand.create(at=AT)
    recreate(dynamodb, events)
    assert "made anew" not in backup("list")

    on_demand.create()

    assert f"What the former had: python manage.py dynamodb_restore --set {AT:%Y%m%d-%H%M%S}\n" in backup("list")


@on_moto
def test_lists_the_backups_of_a_table_that_is_gone(dynamodb: DynamoDBClient, sessions: str, events: str) -> None:
    [made, _] = on_demand.create()
    dynamodb.delete_table(TableName=sessions)

    assert made.name in backup("list", "--table", sessions)
    assert made.name in backup("list", "--all-tables")
    assert made.name not in backup("list", "--table", events)


@on_moto
def test_describes_a_backup_line_by_line(dynamodb: DynamoDBClient, sessions: str) -> None:
    dynamodb.put_item(TableName=sessions, Item={"session_id": {"S": "a"}})
    made = on_demand.create()[0]

    printed = backup("describe", made.name)

    for line in (f"name {made.name}", f"ARN {made.arn}", "status AVAILABLE", "key session_id", "items 1"):
        assert f"\n{line}\n" in printed


@on_moto
def test_deleting_needs_the_name_or_yes(
    dynamodb: DynamoDBClient, sessions: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = on_demand.create()[0]
    with operations(dynamodb) as sent:
        with pytest.raises(CommandError, match="add --yes"):
            backup("delete", made.name)
        monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
        monkeypatch.setattr("builtins.input", lambda _: "yes")
        with pytest.raises(CommandError, match="Nothing was deleted"):
            backup("delete", made.name)
    assert writes(sent) == []

    monkeypatch.setattr("builtins.input", lambda _: made.name)
    assert f"{made.name} deleted" in backup("delete", made.name)
    assert list(on_demand.list_backups(sessions)) == []


@on_moto
def test_none_is_deleted_when_one_of_them_is_not_there(dynamodb: DynamoDBClient, sessions: str) -> None:
    made = on_demand.create()[0]

    with pytest.raises(CommandError, match="There is no backup absent"):
        backup("delete", made.name, "absent", "--yes")

    assert list(on_demand.list_backups(sessions)) == [made]


@on_moto
def test_the_days_set_is_made_once_and_older_ones_are_taken_away(
    dynamodb: DynamoDBClient, sessions: str, events: str
) -> None:
    by_hand = on_demand.create()
    older = [on_demand.ask(named_tables(), AT - timedelta(days=days), client=dynamodb, daily=True) for days in (2, 1)]

    printed = backup("daily", "--keep", "2")

    [stamp] = re.findall(rf"^{sessions} backup created {sessions}-daily-backup-(\S+), AVAILABLE$", printed, re.M)
    assert f"Plan: back up {events} as {events}-daily-backup-{stamp}" in printed
    assert printed.count(" backup deleted ") == 2
    assert f"{events} backup deleted {older[0][1].name}" in printed
    assert "dynamodb_restore --set" in printed

    again = backup("daily", "--keep", "2")

    assert f"{events} backup unchanged {events}-daily-backup-{stamp}, AVAILABLE" in again
    assert "Plan" not in again
    assert " deleted " not in again
    kept = {backup.name for table in (sessions, events) for backup in on_demand.list_backups(table)}
    assert kept == {one.name for one in (*by_hand, *older[1])} | {
        f"{t}-daily-backup-{stamp}" for t in (sessions, events)
    }


@on_moto
def test_without_a_number_of_days_nothing_is_taken_away(dynamodb: DynamoDBClient, sessions: str) -> None:
    [older, _] = on_demand.ask(named_tables(), AT, client=dynamodb, daily=True)

    assert backup_json("daily")["deleted"] == []
    assert older in on_demand.list_backups(sessions)


@on_moto
def test_a_dry_run_says_what_would_be_made_and_deleted(dynamodb: DynamoDBClient, sessions: str, events: str) -> None:
    older = on_demand.ask(named_tables(), AT, client=dynamodb, daily=True)

    with operations(dynamodb) as sent:
        printed = backup("daily", "--keep", "1", "--dry-run")
        document = backup_json("daily", "--keep", "1", "--dry-run")

    assert writes(sent) == []
    assert f"Plan: back up {sessions} as {sessions}-daily-backup-" in printed
    assert all(f"Plan: delete {one.name}\n" in printed for one in older)
    assert printed.endswith("Dry run: nothing was made or deleted.\n")
    assert document["backups"] == []
    assert {one["name"] for one in document["to_delete"]} == {one.name for one in older}

    [made, _] = daily.make(named_tables(), datetime.now(UTC), client=dynamodb)
    printed = backup("daily", "--keep", "1", "--dry-run")

    assert f"{sessions} backup unchanged {made.name}, AVAILABLE" in printed
    assert "Plan: back up" not in printed


@on_moto
def test_the_days_set_in_json(dynamodb: DynamoDBClient, sessions: str, events: str) -> None:
    older = on_demand.ask(named_tables(), AT, client=dynamodb, daily=True)

    document = backup_json("daily", "--keep", "1", "--no-wait")

    assert [one["table"] for one in document["backups"]] == [sessions, events]
    assert {one["arn"] for one in document["deleted"]} == {one.arn for one in older}


@on_moto
def test_a_daily_backup_that_takes_longer_is_pending_and_no_failure(
    dynamodb: DynamoDBClient, sessions: str, events: str
) -> None:
    """AWS goes on with it, and the alarm on the age of backups tells if nothing comes of it."""
    creating = {
        "BackupArn": f"arn:aws:dynamodb:us-east-1:123456789012:table/{sessions}/backup/01",
        "BackupName": "name",
        "BackupStatus": "CREATING",
        "BackupType": "USER",
        "BackupCreationDateTime": "2025-01-31T03:15:07Z",
    }
    older = on_demand.ask(named_tables(), AT, client=dynamodb, daily=True)
    with answering(dynamodb, "CreateBackup", {"BackupDetails": creating}):
        printed = backup("daily", "--keep", "1", "--seconds", "0.1")

    assert printed.count("backup pending name, CREATING") == 2
    assert "deleted" not in printed
    assert f"dynamodb_restore --set {older[0].stamp}" in printed


@on_moto
def test_a_failure_to_delete_says_first_that_the_set_is_made(dynamodb: DynamoDBClient, sessions: str) -> None:
    on_demand.ask(named_tables(), AT, client=dynamodb, daily=True)
    denied = error("AccessDeniedException", "User is not authorized to perform: dynamodb:DeleteBackup on resource")

    with (
        answering(dynamodb, "DeleteBackup", denied),
        pytest.raises(CommandError, match=r"^The day's set is made\. .*dynamodb:DeleteBackup"),
    ):
        backup("daily", "--keep", "1")

    assert on_demand.newest_set() != on_demand.sets()[-1]


@on_moto
def test_a_daily_run_that_is_interrupted_says_that_the_next_goes_on(dynamodb: DynamoDBClient, sessions: str) -> None:
    def interrupt(**_: object) -> None:
        raise KeyboardInterrupt

    dynamodb.meta.events.register("before-call.dynamodb.CreateBackup", interrupt)
    try:
        with pytest.raises(CommandError, match="run the command again, and it goes on") as ended:
            backup("daily")
    finally:
        dynamodb.meta.events.unregister("before-call.dynamodb.CreateBackup", interrupt)

    assert ended.value.returncode == 130


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["daily", "name"], "'daily' takes no backup's name: name"),
        (["daily", "--table", "a"], "--table belongs to create and list, not to daily"),
        (["daily", "--keep", "0"], "'0' is no whole number over 0"),
        (["daily", "--no-wait", "--seconds", "9"], "--no-wait and --seconds contradict each other"),
        (["create", "--keep", "7"], "--keep belongs to daily, not to create"),
        (["list", "--dry-run"], "--dry-run belongs to daily, not to list"),
        (["describe"], "Name the backup to describe"),
        (["delete"], "Name the backup to delete"),
        (["list", "name"], "'list' takes no backup's name: name"),
        (["list", "--yes"], "--yes belongs to delete, not to list"),
        (["create", "--all-tables"], "--all-tables belongs to list, not to create"),
        (["list", "--table", "a", "--all-tables"], "contradict"),
        (["--table", "other"], "other is neither the sessions table"),
        (["erase"], "invalid choice: 'erase'"),
    ],
)
@on_moto
def test_what_cannot_be_meant_is_refused_before_anything_is_sent(
    bare_dynamodb: DynamoDBClient, arguments: list[str], says: str
) -> None:
    with operations(bare_dynamodb) as sent, pytest.raises(CommandError, match=re.escape(says)):
        backup(*arguments)

    assert sent == []


@on_moto
def test_a_missing_permission_is_named(dynamodb: DynamoDBClient, sessions: str) -> None:
    denied = error("AccessDeniedException", "User is not authorized to perform: dynamodb:CreateBackup on resource")

    with answering(dynamodb, "CreateBackup", denied), pytest.raises(CommandError, match="dynamodb:CreateBackup"):
        backup()


@on_dynamodb_local
@pytest.mark.parametrize("arguments", [[], ["daily"], ["list"], ["describe", "name"]])
def test_an_engine_without_backups_is_an_error_that_names_the_export(
    dynamodb: DynamoDBClient, arguments: list[str]
) -> None:
    with pytest.raises(CommandError, match=r"does not support .*sessions_export"):
        backup(*arguments)


@on_moto
def test_an_interruption_is_a_sentence_and_exit_code_130(
    dynamodb: DynamoDBClient, sessions: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(on_demand, "describe", interrupt)

    with pytest.raises(CommandError, match="dynamodb_backup list") as interrupted:
        backup()

    assert interrupted.value.returncode == 130
