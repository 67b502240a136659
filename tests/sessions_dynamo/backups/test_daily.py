from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from pytest_django import Settings

from sessions_dynamo.backups import daily, on_demand
from sessions_dynamo.backups.descriptions import Backup, backup_name
from sessions_dynamo.backups.on_demand import BackupFailed
from sessions_dynamo.errors import StorageUnavailable, TableMissing
from sessions_dynamo.tables.names import NamedTable, named_tables
from sessions_dynamo.tables.steps import Outcome
from tests.engines import on_moto
from tests.sessions_dynamo.support import recreate
from tests.sessions_dynamo.wire import answering, error, operations, writes

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

AT = datetime(2025, 1, 31, 3, 15, 7, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def both(settings: Settings, dynamodb: DynamoDBClient) -> Sequence[NamedTable]:
    return named_tables()


def make(client: DynamoDBClient, both: Sequence[NamedTable], *days_ago: int) -> None:
    """The sets of these days, as the schedule's runs made them."""
    for days in sorted(days_ago, reverse=True):
        daily.make(both, AT - days * DAY, client=client)


def standing(client: DynamoDBClient, both: Sequence[NamedTable]) -> list[str]:
    return sorted(backup.name for table in both for backup in on_demand.list_backups(table.name, client=client))


def names(both: Sequence[NamedTable], *days_ago: int) -> list[str]:
    return sorted(backup_name(table.name, AT - days * DAY, daily=True) for days in days_ago for table in both)


def take_away(client: DynamoDBClient, both: Sequence[NamedTable], keep: int) -> list[Outcome]:
    surplus = daily.surplus(both, keep, client=client)
    return [step.outcome for _, step in daily.take_away(surplus, client=client)]


@pytest.mark.parametrize("table", ["mcp-sessions", "mcp-sessions-daily", "t" * 255])
def test_a_daily_backup_is_told_by_its_name(table: str) -> None:
    def is_daily(name: str) -> bool:
        return Backup(table, name, "arn", "AVAILABLE", "USER", AT).is_daily

    assert is_daily(backup_name(table, AT, daily=True))
    assert not is_daily(backup_name(table, AT))
    assert not is_daily("by-hand-daily-backup-20250131-031507")
    assert not is_daily(f"{table[:200]}-daily-backup-today")


@on_moto
def test_the_days_set_is_made_once(dynamodb: DynamoDBClient, both: Sequence[NamedTable]) -> None:
    made = daily.make(both, AT, client=dynamodb)

    with operations(dynamodb) as sent:
        again = daily.make(both, AT + timedelta(hours=20), client=dynamodb)

    assert writes(sent) == []
    assert again == made
    assert [backup.status for backup in made] == ["AVAILABLE"] * 2
    assert {step.outcome for step in (daily.step(backup, made) for backup in again)} == {Outcome.UNCHANGED}
    assert on_demand.newest_set(both, client=dynamodb) is not None


@on_moto
def test_half_a_set_does_not_stand_for_the_day(dynamodb: DynamoDBClient, both: Sequence[NamedTable]) -> None:
    on_demand.ask(both[:1], AT, client=dynamodb, daily=True)

    made = daily.make(both, AT + timedelta(minutes=2), client=dynamodb)

    assert [backup.stamp for backup in made] == ["20250131-031707"] * 2
    assert len(standing(dynamodb, both)) == 3


@on_moto
def test_a_former_tables_set_does_not_stand_for_the_day(dynamodb: DynamoDBClient, both: Sequence[NamedTable]) -> None:
    daily.make(both, AT, client=dynamodb)
    recreate(dynamodb, both[0].name)

    assert daily.of_day(both, AT, client=dynamodb) == []


@on_moto
def test_runs_that_race_leave_one_day_behind(dynamodb: DynamoDBClient, both: Sequence[NamedTable]) -> None:
    make(dynamodb, both, 1)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda second: daily.make(both, AT + timedelta(seconds=second), client=dynamodb), range(4)))

    assert daily.surplus(both, 2, client=dynamodb) == []
    assert [backup.name for backup in daily.surplus(both, 1, client=dynamodb)] == names(both, 1)[::-1]


@on_moto
def test_a_backup_that_takes_longer_is_pending(dynamodb: DynamoDBClient, both: Sequence[NamedTable]) -> None:
    arn = f"arn:aws:dynamodb:us-east-1:123456789012:table/{both[0].name}/backup/01"
    creating = {"BackupArn": arn, "BackupName": "name", "BackupStatus": "CREATING", "BackupType": "USER"}
    creating["BackupCreationDateTime"] = "2025-01-31T03:15:07Z"
    with (
        answering(dynamodb, "CreateBackup", {"BackupDetails": creating}),
        answering(dynamodb, "DescribeBackup", error("BackupNotFoundException")),
    ):
        made = daily.make(both, AT, client=dynamodb, patience=0.05)

    assert [daily.step(backup, ()).outcome for backup in made] == [Outcome.PENDING] * 2


@on_moto
def test_all_waiting_is_within_its_time(
    dynamodb: DynamoDBClient, both: Sequence[NamedTable], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A function that waits longer than it lives is killed in the middle."""
    creating = replace(daily.make(both, AT, client=dynamodb)[0], status="CREATING")
    now, given = 0.0, []

    def wait(*arguments: Any, **options: Any) -> Backup:
        nonlocal now
        patience = options.get("patience", arguments[3] if len(arguments) > 3 else None)
        given.append(patience)
        now += 10
        return creating

    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(on_demand, "_create", wait)
    monkeypatch.setattr(on_demand, "settled", wait)

    daily.make(both, AT + DAY, client=dynamodb, patience=25)

    assert given == [25, 15, 5, 0]


@on_moto
def test_a_failure_of_the_second_names_the_first(dynamodb: DynamoDBClient, both: Sequence[NamedTable]) -> None:
    made: list[object] = []

    def refuse(**_: object) -> None:
        made.append(None)
        if len(made) == 2:
            raise dynamodb.exceptions.InternalServerError({"Error": {"Code": "InternalServerError"}}, "CreateBackup")

    dynamodb.meta.events.register("before-call.dynamodb.CreateBackup", refuse)
    try:
        with pytest.raises(BackupFailed, match=f"{both[0].name}-daily-backup-20250131-031507"):
            daily.make(both, AT, client=dynamodb)
    finally:
        dynamodb.meta.events.unregister("before-call.dynamodb.CreateBackup", refuse)


@on_moto
def test_the_newest_days_are_kept(dynamodb: DynamoDBClient, both: Sequence[NamedTable]) -> None:
    make(dynamodb, both, 0, 1, 2, 9)

    assert take_away(dynamodb, both, 2) == [Outcome.DELETED] * 4
    assert standing(dynamodb, both) == names(both, 0, 1)
    assert take_away(dynamodb, both, 2) == []


@on_moto
def test_the_oldest_goes_first(dynamodb: DynamoDBClient, both: Sequence[NamedTable]) -> None:
    make(dynamodb, both, 0, 1, 2, 3)

    stamps = [backup.stamp for backup in daily.surplus(both, 1, client=dynamodb)]

    assert stamps == sorted(stamps, key=str)


@on_moto
def test_days_that_failed_take_nothing_away(dynamodb: DynamoDBClient, both: Sequence[NamedTable]) -> None:
    """Half a set restores nothing whole: it neither counts nor pushes out the last that does."""
    make(dynamodb, both, 5)
    for days in (3, 2, 1, 0):
        on_demand.ask(both[:1], AT - days * DAY, client=dynamodb, daily=True)

    assert daily.surplus(both, 1, client=dynamodb) == []


@on_moto
def test_half_a_set_goes_with_its_day(dynamodb: DynamoDBClient, both: Sequence[NamedTable]) -> None:
    make(dynamodb, both, 0, 1)
    on_demand.ask(both[:1], AT - 3 * DAY, client=dynamodb, daily=True)

    assert [backup.name for backup in daily.surplus(both, 2, client=dynamodb)] == names(both[:1], 3)


@on_moto
def test_fewer_days_than_are_kept_lose_nothing(dynamodb: DynamoDBClient, both: Sequence[NamedTable]) -> None:
    make(dynamodb, both, 0, 1)

    assert daily.surplus(both, 3, client=dynamodb) == []


@on_moto
def test_a_set_that_is_coming_counts(dynamodb: DynamoDBClient, both: Sequence[NamedTable]) -> None:
    make(dynamodb, both, 1, 2)

    assert [backup.stamp for backup in daily.surplus(both, 2, client=dynamodb, coming=AT)] == ["20250129-031507"] * 2
    assert daily.surplus(both, 2, client=dynamodb, coming=AT - DAY) == []


@on_moto
def test_what_others_made_is_left_alone(dynamodb: DynamoDBClient, both: Sequence[NamedTable]) -> None:
    on_demand.create(both, client=dynamodb, at=AT - 30 * DAY)
    dynamodb.create_backup(TableName=both[0].name, BackupName="before-the-release")
    others = standing(dynamodb, both)
    make(dynamodb, both, 0, 1, 2)

    take_away(dynamodb, both, 1)

    assert standing(dynamodb, both) == sorted([*others, *names(both, 0)])


@on_moto
def test_a_set_that_was_made_by_hand_in_the_same_second_is_another(
    dynamodb: DynamoDBClient, both: Sequence[NamedTable]
) -> None:
    by_schedule = daily.make(both, AT, client=dynamodb)
    by_hand = on_demand.create(both, client=dynamodb, at=AT)

    assert [one.backups for one in on_demand.sets(both, client=dynamodb)] == [tuple(by_schedule), tuple(by_hand)]


@on_moto
@pytest.mark.parametrize("lost", [[0], [1], [0, 1]], ids=["sessions", "events", "both"])
def test_a_former_tables_sets_are_left_alone(
    dynamodb: DynamoDBClient, both: Sequence[NamedTable], lost: list[int]
) -> None:
    """They may be all that is left of it: a table that was lost is made anew before anybody looks."""
    make(dynamodb, both, 4, 5, 6)
    former = standing(dynamodb, both)
    for which in lost:
        recreate(dynamodb, both[which].name)
    make(dynamodb, both, 0, 1)

    take_away(dynamodb, both, 1)

    assert standing(dynamodb, both) == sorted([*former, *names(both, 0)])


@on_moto
def test_what_another_run_deleted_is_gone_as_well(dynamodb: DynamoDBClient, both: Sequence[NamedTable]) -> None:
    make(dynamodb, both, 0, 1)
    surplus = daily.surplus(both, 1, client=dynamodb)
    take_away(dynamodb, both, 1)

    assert [step.outcome for _, step in daily.take_away(surplus, client=dynamodb)] == [Outcome.UNCHANGED] * 2


@on_moto
def test_what_is_being_restored_waits_for_the_next_run(dynamodb: DynamoDBClient, both: Sequence[NamedTable]) -> None:
    make(dynamodb, both, 0, 1)

    with answering(dynamodb, "DeleteBackup", error("BackupInUseException"), times=1):
        assert take_away(dynamodb, both, 1) == [Outcome.PENDING, Outcome.DELETED]

    assert take_away(dynamodb, both, 1) == [Outcome.DELETED]


@on_moto
def test_another_refusal_is_a_failure(dynamodb: DynamoDBClient, both: Sequence[NamedTable]) -> None:
    make(dynamodb, both, 0, 1)

    with answering(dynamodb, "DeleteBackup", error("InternalServerError")), pytest.raises(StorageUnavailable):
        take_away(dynamodb, both, 1)


@on_moto
def test_nothing_is_made_when_a_table_is_missing(
    dynamodb: DynamoDBClient, both: Sequence[NamedTable], settings: Settings
) -> None:
    settings.DYNAMODB_EVENTS_TABLE = "absent"

    with pytest.raises(TableMissing, match="absent"):
        daily.make(named_tables(), AT, client=dynamodb)

    assert standing(dynamodb, both) == []
