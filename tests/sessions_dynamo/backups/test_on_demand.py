from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.stub import Stubber
from pytest_django import Settings

from sessions_dynamo.backups import descriptions, on_demand
from sessions_dynamo.backups.descriptions import BackupNotFound
from sessions_dynamo.backups.on_demand import BackupFailed
from sessions_dynamo.errors import TableMissing, Unsupported
from sessions_dynamo.tables.names import named_tables
from sessions_dynamo.tables.steps import Outcome, Step
from tests.engines import on_dynamodb_local, on_moto
from tests.sessions_dynamo.wire import answering, error

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

AT = datetime(2025, 1, 31, 13, 45, 7, tzinfo=UTC)
STAMP = "20250131-134507"


@pytest.fixture
def sessions(settings: Settings, dynamodb: DynamoDBClient) -> str:
    return str(settings.DYNAMODB_SESSIONS_TABLE)


@pytest.fixture
def events(settings: Settings, dynamodb: DynamoDBClient) -> str:
    return str(settings.DYNAMODB_EVENTS_TABLE)


def being_made(name: str, status: str = "CREATING") -> dict[str, object]:
    """An answer to DescribeBackup."""
    return {
        "BackupDescription": {
            "BackupDetails": {
                "BackupArn": f"arn:{name}",
                "BackupName": name,
                "BackupStatus": status,
                "BackupType": "USER",
                "BackupCreationDateTime": AT,
            },
            "SourceTableDetails": {
                "TableName": "table",
                "KeySchema": [{"AttributeName": "session_id", "KeyType": "HASH"}],
                "TableCreationDateTime": AT,
            },
        }
    }


def test_a_backup_is_named_for_its_table_and_time_in_utc() -> None:
    elsewhere = AT.astimezone(timezone(timedelta(hours=9)))

    assert descriptions.backup_name("mcp-sessions", elsewhere) == f"mcp-sessions-backup-{STAMP}"


def test_a_name_that_would_be_too_long_is_cut_before_its_stamp() -> None:
    name = descriptions.backup_name("t" * 255, AT)

    assert len(name) == 255
    assert name.endswith(f"t-backup-{STAMP}")


@pytest.mark.parametrize("name", ["by-hand", "t-backup-2025", "t-backup-20251331-134507", "t$DeletedTableBackup"])
def test_a_name_of_another_form_has_no_stamp(name: str) -> None:
    assert descriptions.Backup("t", name, "arn", "AVAILABLE", "USER", AT).stamp is None


@on_moto
def test_both_tables_are_backed_up_under_one_stamp(dynamodb: DynamoDBClient, sessions: str, events: str) -> None:
    steps: list[Step] = []

    made = on_demand.create(at=AT, report=steps.append)

    assert [backup.name for backup in made] == [f"{sessions}-backup-{STAMP}", f"{events}-backup-{STAMP}"]
    assert {(backup.status, backup.type, backup.stamp) for backup in made} == {("AVAILABLE", "USER", STAMP)}
    assert [(step.table, step.aspect, step.outcome) for step in steps] == [
        (sessions, "backup", Outcome.CREATED),
        (events, "backup", Outcome.CREATED),
    ]
    assert [backup.arn for backup in made] == [next(on_demand.list_backups(name)).arn for name in (sessions, events)]


@on_moto
def test_one_table_can_be_backed_up(dynamodb: DynamoDBClient, sessions: str, events: str) -> None:
    [made] = on_demand.create([named_tables()[1]])

    assert made.table == events
    assert list(on_demand.list_backups(sessions)) == []


@on_moto
def test_nothing_is_made_when_a_table_is_missing(dynamodb: DynamoDBClient, sessions: str, settings: Settings) -> None:
    settings.DYNAMODB_EVENTS_TABLE = "absent"

    with pytest.raises(TableMissing, match="absent"):
        on_demand.create()

    assert list(on_demand.list_backups(sessions)) == []


@on_dynamodb_local
def test_an_engine_without_backups_is_told_of_the_export(dynamodb: DynamoDBClient) -> None:
    for ask in (on_demand.create, on_demand.list_backups, on_demand.sets):
        with pytest.raises(Unsupported, match="sessions_export"):
            ask()


@on_moto
def test_waits_until_a_backup_is_available(dynamodb: DynamoDBClient, sessions: str) -> None:
    heard: list[str] = []

    with answering(dynamodb, "DescribeBackup", being_made("slow"), times=2):
        made = on_demand.create(progress=lambda what, _: heard.append(what))

    assert {backup.status for backup in made} == {"AVAILABLE"}
    assert heard == [f"backup {made[0].name}"] * 2


@on_moto
def test_a_backup_that_describe_does_not_see_yet_is_waited_for(dynamodb: DynamoDBClient, sessions: str) -> None:
    with answering(dynamodb, "DescribeBackup", error("BackupNotFoundException"), times=1):
        assert len(on_demand.create()) == 2


@on_moto
@pytest.mark.parametrize(
    ("status", "says"), [("CREATING", "is still CREATING after 0 s"), ("DELETED", "was deleted while it was being")]
)
def test_a_backup_that_does_not_become_available_is_a_failure_that_names_what_was_made(
    dynamodb: DynamoDBClient, sessions: str, events: str, status: str, says: str
) -> None:
    with (
        answering(dynamodb, "DescribeBackup", being_made("slow", status)),
        pytest.raises(BackupFailed, match=says) as failed,
    ):
        on_demand.create(patience=0.05, at=AT)

    assert f"{sessions}-backup-{STAMP}, {events}-backup-{STAMP}" in str(failed.value)


@on_moto
def test_without_patience_a_backup_that_is_being_made_is_pending(dynamodb: DynamoDBClient, sessions: str) -> None:
    steps: list[Step] = []
    creating = being_made("slow")["BackupDescription"]

    with answering(dynamodb, "CreateBackup", creating):  # type: ignore[arg-type]
        made = on_demand.create(patience=0, report=steps.append)

    assert [backup.status for backup in made] == ["CREATING"] * 2
    assert [step.outcome for step in steps] == [Outcome.PENDING] * 2


@on_moto
@pytest.mark.parametrize(
    "code", ["BackupInUseException", "ContinuousBackupsUnavailableException", "TableInUseException"]
)
def test_a_refusal_that_passes_is_waited_out(dynamodb: DynamoDBClient, sessions: str, code: str) -> None:
    with answering(dynamodb, "CreateBackup", error(code), times=1):
        assert len(on_demand.create()) == 2


@on_moto
def test_a_request_whose_answer_was_lost_makes_no_second_backup(dynamodb: DynamoDBClient, sessions: str) -> None:
    name = descriptions.backup_name(sessions, AT)
    taken = dynamodb.create_backup(TableName=sessions, BackupName=name)["BackupDetails"]["BackupArn"]

    with answering(dynamodb, "CreateBackup", error("BackupInUseException")):
        [made] = on_demand.create(named_tables()[:1], at=AT)

    assert made.arn == taken
    assert len(list(on_demand.list_backups(sessions))) == 1


@on_moto
def test_a_failure_of_the_second_names_the_first(dynamodb: DynamoDBClient, sessions: str) -> None:
    refused = 0

    def refuse_the_second(**_: object) -> None:
        nonlocal refused
        refused += 1
        if refused == 2:
            raise dynamodb.exceptions.InternalServerError({"Error": {"Code": "InternalServerError"}}, "CreateBackup")

    dynamodb.meta.events.register("before-call.dynamodb.CreateBackup", refuse_the_second)
    try:
        with pytest.raises(BackupFailed, match=f"{sessions}-backup-{STAMP}"):
            on_demand.create(at=AT)
    finally:
        dynamodb.meta.events.unregister("before-call.dynamodb.CreateBackup", refuse_the_second)


@pytest.fixture
def stubbed() -> Iterator[tuple[DynamoDBClient, Stubber]]:
    """A client whose every request must be the next that the test expects."""
    client: DynamoDBClient = boto3.client("dynamodb", region_name="eu-west-1")
    with Stubber(client) as stubber:
        yield client, stubber
        stubber.assert_no_pending_responses()


def listed(name: str, at: datetime) -> dict[str, object]:
    return {
        "TableName": "table",
        "BackupArn": "arn:aws:dynamodb:eu-west-1:123456789012:table/table/backup/" + name,
        "BackupName": name,
        "BackupStatus": "AVAILABLE",
        "BackupType": "SYSTEM",
        "BackupCreationDateTime": at,
        "BackupExpiryDateTime": at + timedelta(days=35),
        "BackupSizeBytes": 7,
    }


def test_lists_every_page_and_type_newest_first(stubbed: tuple[DynamoDBClient, Stubber]) -> None:
    client, stubber = stubbed
    old, new = listed("old", AT), listed("new", AT + timedelta(days=1))
    first = {"BackupType": "ALL", "TableName": "table"}
    stubber.add_response("list_backups", {"BackupSummaries": [old], "LastEvaluatedBackupArn": old["BackupArn"]}, first)
    stubber.add_response(
        "list_backups", {"BackupSummaries": [new]}, first | {"ExclusiveStartBackupArn": old["BackupArn"]}
    )

    found = list(on_demand.list_backups("table", client=client))

    assert [backup.name for backup in found] == ["new", "old"]
    assert (found[1].type, found[1].expires_at, found[1].size_bytes) == ("SYSTEM", AT + timedelta(days=35), 7)


def test_a_description_tells_what_the_table_was_like(stubbed: tuple[DynamoDBClient, Stubber]) -> None:
    client, stubber = stubbed
    answer = being_made("table-backup", "AVAILABLE")["BackupDescription"] | {  # type: ignore[operator]
        "SourceTableFeatureDetails": {
            "GlobalSecondaryIndexes": [{"IndexName": "CreatedAtIndex"}],
            "StreamDescription": {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
            "TimeToLiveDescription": {"TimeToLiveStatus": "ENABLED", "AttributeName": "ttl"},
            "SSEDescription": {"Status": "ENABLED", "SSEType": "KMS", "KMSMasterKeyArn": "arn:aws:kms:key"},
        }
    }
    answer["SourceTableDetails"] |= {
        "TableId": "id",
        "BillingMode": "PROVISIONED",
        "ItemCount": 12,
        "ProvisionedThroughput": {"ReadCapacityUnits": 5, "WriteCapacityUnits": 6},
    }
    arn = "arn:aws:dynamodb:eu-west-1:123456789012:table/table/backup/1"
    answer["BackupDetails"]["BackupArn"] = arn
    stubber.add_response("describe_backup", {"BackupDescription": answer}, {"BackupArn": arn})

    found = on_demand.describe(arn, client=client)

    assert (found.keys, found.billing_mode, found.item_count) == (("session_id",), "PROVISIONED", 12)
    assert (found.read_capacity, found.write_capacity, found.indexes) == (5, 6, ("CreatedAtIndex",))
    assert found.time_to_live is not None
    assert (found.time_to_live.attribute, found.stream_view_type) == ("ttl", "NEW_AND_OLD_IMAGES")
    assert found.encryption_key_arn == "arn:aws:kms:key"


@on_moto
def test_a_backup_is_found_by_name_and_by_arn(dynamodb: DynamoDBClient, sessions: str) -> None:
    made = on_demand.create(at=AT)[0]

    assert on_demand.find(made.name) == on_demand.find(made.arn) == on_demand.find(made.name, table=sessions) == made


@on_moto
def test_one_of_several_with_a_name_must_be_named_by_its_arn(dynamodb: DynamoDBClient, sessions: str) -> None:
    first, second = (on_demand.create(at=AT)[0] for _ in range(2))

    with pytest.raises(BackupNotFound, match="2 backups are named") as refused:
        on_demand.find(first.name)

    assert first.arn in str(refused.value)
    assert second.arn in str(refused.value)


@on_moto
def test_a_backup_that_is_not_there_is_an_error_that_says_where_to_look(dynamodb: DynamoDBClient) -> None:
    absent = "arn:aws:dynamodb:eu-west-1:123456789012:table/absent/backup/01"
    with pytest.raises(BackupNotFound, match="dynamodb_backup list"):
        on_demand.find("absent")
    with pytest.raises(BackupNotFound, match="dynamodb_backup list"):
        on_demand.find(absent)
    with pytest.raises(BackupNotFound, match="dynamodb_backup list"):
        on_demand.delete(absent)


@on_moto
def test_a_deleted_backup_is_gone(dynamodb: DynamoDBClient, sessions: str, events: str) -> None:
    made = on_demand.create(at=AT)

    assert on_demand.delete(made[0].arn).name == made[0].name
    assert list(on_demand.list_backups(sessions)) == []
    assert list(on_demand.list_backups(events)) == [made[1]]


@on_moto
def test_backups_made_together_are_a_set_and_the_newest_whole_one_is_known(
    dynamodb: DynamoDBClient, sessions: str, events: str
) -> None:
    both = on_demand.create(at=AT)
    half = on_demand.create(named_tables()[:1], at=AT + timedelta(hours=1))
    dynamodb.create_backup(TableName=sessions, BackupName="by-hand")

    found = on_demand.sets()

    assert [(one.stamp, one.backups, one.complete) for one in found] == [
        ("20250131-144507", tuple(half), False),
        (STAMP, tuple(both), True),
    ]
    assert found[1].taken_at == AT
    assert on_demand.newest_set() == found[1]
