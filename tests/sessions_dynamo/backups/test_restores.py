from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.stub import Stubber
from pytest_django import Settings

from sessions_dynamo.backups import descriptions, on_demand, restores
from sessions_dynamo.backups.restores import RestoreRefused
from sessions_dynamo.client import aws_client
from sessions_dynamo.errors import TableMissing, Unsupported
from sessions_dynamo.tables import setup, waiting
from sessions_dynamo.tables.describing import describe
from sessions_dynamo.tables.names import NamedTable, named_tables
from sessions_dynamo.tables.steps import Outcome, Step
from tests.engines import on_dynamodb_local, on_moto
from tests.sessions_dynamo.support import raw_items
from tests.sessions_dynamo.wire import answering, error, operations, writes

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

AT = datetime(2025, 1, 31, 13, 45, 7, tzinfo=UTC)
STAMP = "20250131-134507"
ACCOUNT = "arn:aws:dynamodb:eu-west-1:123456789012"


@pytest.fixture
def sessions(settings: Settings, dynamodb: DynamoDBClient) -> str:
    """The sessions table's name; it holds three items."""
    name = str(settings.DYNAMODB_SESSIONS_TABLE)
    for session_id in ("a", "b", "c"):
        dynamodb.put_item(TableName=name, Item={"session_id": {"S": session_id}, "shard": {"S": "1"}})
    return name


@pytest.fixture
def cherished(dynamodb: DynamoDBClient, sessions: str) -> str:
    """The sessions table with every setting that a restore loses."""
    autoscaling = autoscaling_client()
    dynamodb.update_table(
        TableName=sessions,
        BillingMode="PROVISIONED",
        ProvisionedThroughput={"ReadCapacityUnits": 5, "WriteCapacityUnits": 6},
        DeletionProtectionEnabled=True,
    )
    dynamodb.update_continuous_backups(
        TableName=sessions,
        PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True, "RecoveryPeriodInDays": 7},
    )
    arn = describe(sessions, dynamodb).arn or ""
    dynamodb.tag_resource(
        ResourceArn=arn, Tags=[{"Key": "CostCenter", "Value": "7"}, {"Key": "Environment", "Value": "live"}]
    )
    for resource in (f"table/{sessions}", f"table/{sessions}/index/CreatedAtIndex"):
        kind = "index" if "index" in resource else "table"
        of: Any = {
            "ServiceNamespace": "dynamodb",
            "ResourceId": resource,
            "ScalableDimension": f"dynamodb:{kind}:ReadCapacityUnits",
        }
        autoscaling.register_scalable_target(**of, MinCapacity=5, MaxCapacity=50)
        autoscaling.put_scaling_policy(
            **of,
            PolicyName=f"DynamoDBReadCapacityUtilization:{resource}",
            PolicyType="TargetTrackingScaling",
            TargetTrackingScalingPolicyConfiguration={
                "TargetValue": 70.0,
                "PredefinedMetricSpecification": {"PredefinedMetricType": "DynamoDBReadCapacityUtilization"},
            },
        )
    return sessions


def settings_of(name: str, client: DynamoDBClient) -> dict[str, Any]:
    """What a restore loses, as it stands, without names and times."""
    live = describe(name, client)
    recovery = client.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
    autoscaling = autoscaling_client()
    policies = autoscaling.describe_scaling_policies(ServiceNamespace="dynamodb")["ScalingPolicies"]
    targets = autoscaling.describe_scalable_targets(ServiceNamespace="dynamodb")["ScalableTargets"]
    return {
        "keys": live.keys,
        "indexes": sorted(index.name for index in live.indexes),
        "billing": live.billing_mode,
        "stream": live.stream.view_type,
        "ttl": live.time_to_live,
        "tags": live.tags,
        "protected": live.deletion_protection,
        "recovery": recovery["PointInTimeRecoveryDescription"].get("RecoveryPeriodInDays"),
        "targets": sorted(
            (target["ResourceId"].replace(name, ""), target["MinCapacity"], target["MaxCapacity"])
            for target in targets
            if re.match(f"table/{name}(/|$)", target["ResourceId"])
        ),
        "policies": sorted(
            (policy["PolicyName"].replace(name, ""), policy["TargetTrackingScalingPolicyConfiguration"]["TargetValue"])
            for policy in policies
            if re.match(f"table/{name}(/|$)", policy["ResourceId"])
        ),
    }


def restored(source: str) -> restores.Source:
    return restores.from_backup(on_demand.find(source))


def autoscaling_client() -> Any:
    """The client that restores use."""
    return aws_client("application-autoscaling", "eu-west-1")


@contextmanager
def written(*clients: Any) -> Iterator[list[str]]:
    """Collects the names of the write requests that the clients send, in order."""
    sent: list[str] = []

    def hear(model: Any, **_: Any) -> None:
        sent.extend(writes([model.name]))

    for client in clients:
        client.meta.events.register("before-call", hear)
    try:
        yield sent
    finally:
        for client in clients:
            client.meta.events.unregister("before-call", hear)


# --- From a backup --------------------------------------------------------------------------------------------


@on_moto
def test_a_restored_table_holds_the_items_and_has_every_setting_of_its_source(
    dynamodb: DynamoDBClient, cherished: str
) -> None:
    before = raw_items(dynamodb, cherished)
    backup = on_demand.create(named_tables()[:1], at=AT)[0]
    dynamodb.delete_item(TableName=cherished, Key={"session_id": {"S": "a"}})
    wanted = settings_of(cherished, dynamodb)

    steps = restores.restore(restores.from_backup(backup))

    target = f"{cherished}-restored-{STAMP}"
    assert {step.table for step in steps} == {target}
    assert steps[0] == Step(target, "table", Outcome.CREATED, f"from backup {backup.name}")
    assert raw_items(dynamodb, target) == before
    assert settings_of(target, dynamodb) == wanted
    assert wanted["targets"] == [("table/", 5, 50), ("table//index/CreatedAtIndex", 5, 50)]


@on_moto
def test_autoscaling_that_does_not_answer_keeps_no_item_back(dynamodb: DynamoDBClient, cherished: str) -> None:
    source = restores.from_backup(on_demand.create(named_tables()[:1], at=AT)[0])

    broken = error("InternalServiceException", "out of order")
    with answering(autoscaling_client(), "DescribeScalableTargets", broken):
        steps = restores.restore(source)
    [told] = [step for step in steps if step.aspect == "autoscaling" and step.outcome is not Outcome.UNCHANGED]
    assert told.outcome is Outcome.PENDING
    assert "out of order" in told.detail
    assert len(raw_items(dynamodb, source.default_target)) == 3

    planned = restores.plan(source)
    assert planned.carried
    assert list(planned.carried.lines())[-1] == "autoscaling from 5 to 50 units (2 scalable targets)"
    restores.apply([planned])
    assert settings_of(source.default_target, dynamodb) == settings_of(cherished, dynamodb)


@on_moto
def test_a_second_run_finds_all_done_and_writes_nothing(dynamodb: DynamoDBClient, cherished: str) -> None:
    source = restores.from_backup(on_demand.create(named_tables()[:1], at=AT)[0])
    restores.restore(source)
    dynamodb.put_item(TableName=source.default_target, Item={"session_id": {"S": "since"}})

    with written(dynamodb, autoscaling_client()) as sent:
        steps = restores.restore(source)

    assert {step.outcome for step in steps} == {Outcome.UNCHANGED}
    assert sent == []
    assert len(raw_items(dynamodb, source.default_target)) == 4


@on_moto
def test_without_its_source_a_table_is_restored_as_it_is_declared(dynamodb: DynamoDBClient, sessions: str) -> None:
    source = restores.from_backup(on_demand.create(named_tables()[:1], at=AT)[0])
    dynamodb.delete_table(TableName=sessions)

    planned = restores.plan(source, sessions)
    restores.apply([planned])

    assert planned.carried is None
    assert len(raw_items(dynamodb, sessions)) == 3
    assert {change.outcome for change in setup.plan([planned.target])[0].changes} == {Outcome.UNCHANGED}


@on_moto
def test_a_restored_table_restored_again_gets_no_longer_name(dynamodb: DynamoDBClient, sessions: str) -> None:
    first = restores.from_backup(on_demand.create(named_tables()[:1], at=AT)[0])
    restores.restore(first)
    again = on_demand.create([NamedTable(first.default_target, first.table.schema)], at=AT + timedelta(days=1))

    assert restores.from_backup(again[0]).default_target == f"{sessions}-restored-20250201-134507"


@on_moto
def test_only_an_available_backup_of_a_known_table_can_be_restored(dynamodb: DynamoDBClient, sessions: str) -> None:
    made = on_demand.create(named_tables()[:1])[0]
    name = f"foreign-{sessions}"
    dynamodb.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "colour", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "colour", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    foreign = dynamodb.create_backup(TableName=name, BackupName="foreign")["BackupDetails"]["BackupArn"]

    with pytest.raises(RestoreRefused, match="is CREATING"):
        restores.from_backup(descriptions.Backup(sessions, "slow", made.arn, "CREATING", "USER", AT))
    with pytest.raises(RestoreRefused, match="neither a sessions nor an events table"):
        restores.from_backup(on_demand.find(foreign))


# --- Targets --------------------------------------------------------------------------------------------------


@on_moto
def test_a_target_that_exists_is_refused_unless_it_is_this_restore(dynamodb: DynamoDBClient, sessions: str) -> None:
    first = restores.from_backup(on_demand.create(named_tables()[:1], at=AT)[0])
    other = restores.from_backup(on_demand.create(named_tables()[:1], at=AT + timedelta(hours=1))[0])
    restores.restore(first, "taken-" + sessions)

    with operations(dynamodb) as sent:
        with pytest.raises(RestoreRefused, match="is no restored table"):
            restores.restore(first, sessions)
        with pytest.raises(RestoreRefused, match=f"was restored from {first.backup.arn if first.backup else ''}"):
            restores.restore(other, "taken-" + sessions)

    assert writes(sent) == []


@on_moto
@pytest.mark.parametrize("name", ["ab", "with space", "x" * 256, "schön"])
def test_what_is_no_table_name_is_refused(dynamodb: DynamoDBClient, sessions: str, name: str) -> None:
    source = restores.from_backup(on_demand.create(named_tables()[:1])[0])

    with pytest.raises(RestoreRefused, match="is no table name"):
        restores.plan(source, name)


@on_moto
def test_a_table_that_is_being_deleted_is_no_target(dynamodb: DynamoDBClient, sessions: str) -> None:
    source = restores.from_backup(on_demand.create(named_tables()[:1], at=AT)[0])
    restores.restore(source)
    table = dynamodb.describe_table(TableName=source.default_target)["Table"] | {"TableStatus": "DELETING"}

    with answering(dynamodb, "DescribeTable", {"Table": table}), pytest.raises(RestoreRefused, match="being deleted"):
        restores.plan(source)


# --- Interruptions --------------------------------------------------------------------------------------------


class Killed(BaseException):
    """Stands for the end of the process: nothing in between catches it."""


@contextmanager
def killed_after(write: int, *clients: Any) -> Iterator[None]:
    """End what runs once AWS has carried out its ``write``-th write request, before the answer is read."""
    done = 0

    def end(model: Any, **_: Any) -> None:
        nonlocal done
        done += len(writes([model.name]))
        if done == write and writes([model.name]):
            raise Killed

    for client in clients:
        client.meta.events.register("after-call", end)
    try:
        yield
    finally:
        for client in clients:
            client.meta.events.unregister("after-call", end)


@on_moto
def test_a_kill_after_any_write_leaves_what_the_next_run_completes(dynamodb: DynamoDBClient, cherished: str) -> None:
    autoscaling = autoscaling_client()
    source = restores.from_backup(on_demand.create(named_tables()[:1])[0])
    wanted, items = settings_of(cherished, dynamodb), raw_items(dynamodb, cherished)
    kills = 0

    for write in range(1, 30):
        target = f"{cherished}-restored-{write}"
        try:
            with killed_after(write, dynamodb, autoscaling):
                restores.restore(source, target)
        except Killed:
            kills += 1
        else:
            break
        restores.restore(source, target)
        assert settings_of(target, dynamodb) == wanted
        assert raw_items(dynamodb, target) == items
        with written(dynamodb, autoscaling) as sent:
            restores.restore(source, target)
        assert sent == []

    # The restore, protection, stream, TTL, tags twice, recovery, and two requests for either capacity.
    assert kills == 11


@on_moto
def test_a_kill_between_both_tables_leaves_what_the_next_run_completes(dynamodb: DynamoDBClient, sessions: str) -> None:
    def both() -> list[restores.RestorePlan]:
        return [restores.plan(restores.from_backup(backup)) for backup in made]

    made = on_demand.create(at=AT)
    with killed_after(1, dynamodb), pytest.raises(Killed):
        restores.apply(both())
    first, second = (planned.target.name for planned in both())
    assert [planned.standing for planned in both()] == ["ACTIVE", None]

    steps = restores.apply(both())

    assert [step.outcome for step in steps[:2]] == [Outcome.UNCHANGED, Outcome.CREATED]
    for name in (first, second):
        assert settings_of(name, dynamodb)["ttl"].status == "ENABLED"


@on_moto
def test_a_restore_whose_answer_was_lost_is_not_begun_twice(dynamodb: DynamoDBClient, sessions: str) -> None:
    source = restores.from_backup(on_demand.create(named_tables()[:1], at=AT)[0])
    planned = restores.plan(source)
    dynamodb.restore_table_from_backup(
        TargetTableName=planned.target.name, BackupArn=source.backup.arn if source.backup else ""
    )

    steps = restores.apply([planned])

    assert steps[0].outcome is Outcome.UNCHANGED
    assert Step(planned.target.name, "ttl", Outcome.CREATED, "on attribute ttl") in steps


@on_moto
@pytest.mark.parametrize("code", ["BackupInUseException", "LimitExceededException"])
def test_a_refusal_that_passes_is_waited_out(dynamodb: DynamoDBClient, sessions: str, code: str) -> None:
    source = restores.from_backup(on_demand.create(named_tables()[:1], at=AT)[0])

    with answering(dynamodb, "RestoreTableFromBackup", error(code), times=1):
        assert restores.restore(source)[0].outcome is Outcome.CREATED
    with answering(dynamodb, "RestoreTableFromBackup", error(code, "AWS is busy")):
        [step] = restores.restore(source, f"{sessions}-restored-later", patience=0)
    assert step.outcome is Outcome.PENDING
    assert "AWS is busy" in step.detail


# --- To a point in time ---------------------------------------------------------------------------------------


@on_moto
def test_the_latest_restorable_time_is_restored_with_every_setting(dynamodb: DynamoDBClient, cherished: str) -> None:
    source = restores.point_in_time(cherished, None)

    restores.restore(source)

    assert raw_items(dynamodb, source.default_target) == raw_items(dynamodb, cherished)
    assert settings_of(source.default_target, dynamodb) == settings_of(cherished, dynamodb)
    assert {step.outcome for step in restores.restore(source)} == {Outcome.UNCHANGED}


@on_moto
def test_what_has_no_point_in_time_recovery_is_refused_with_the_way_out(
    dynamodb: DynamoDBClient, sessions: str
) -> None:
    with pytest.raises(RestoreRefused, match=r"is off, .*dynamodb_setup --pitr"):
        restores.point_in_time(sessions, None)
    with pytest.raises(TableMissing, match=r"SYSTEM backup .*dynamodb_backup list --table absent"):
        restores.point_in_time("absent", None)


@on_dynamodb_local
def test_an_engine_without_recovery_is_told_of_the_export(dynamodb: DynamoDBClient, sessions: str) -> None:
    with pytest.raises(Unsupported, match="sessions_export"):
        restores.point_in_time(sessions, None)


Stubbed = tuple["DynamoDBClient", Stubber]


@pytest.fixture
def stubbed() -> Iterator[Stubbed]:
    """A client whose every request must be the next that the test expects."""
    client: DynamoDBClient = boto3.client("dynamodb", region_name="eu-west-1")
    with Stubber(client) as stubber:
        yield client, stubber
        stubber.assert_no_pending_responses()


def table(name: str, status: str, **more: Any) -> dict[str, Any]:
    """A DescribeTable answer."""
    return {
        "Table": {
            "TableName": name,
            "TableStatus": status,
            "TableArn": f"{ACCOUNT}:table/{name}",
            "KeySchema": [
                {"AttributeName": "event_id", "KeyType": "RANGE"},
                {"AttributeName": "session_id", "KeyType": "HASH"},
            ],
            "AttributeDefinitions": [
                {"AttributeName": "event_id", "AttributeType": "S"},
                {"AttributeName": "session_id", "AttributeType": "S"},
            ],
            **more,
        }
    }


def expect_window(stubber: Stubber) -> None:
    """The requests that learn which times the table ``live`` can be restored to: a day before ``AT``."""
    stubber.add_response("describe_table", table("live", "ACTIVE"), {"TableName": "live"})
    recovery = {
        "PointInTimeRecoveryStatus": "ENABLED",
        "EarliestRestorableDateTime": AT - timedelta(days=1),
        "LatestRestorableDateTime": AT,
    }
    answer = {"ContinuousBackupsStatus": "ENABLED", "PointInTimeRecoveryDescription": recovery}
    stubber.add_response("describe_continuous_backups", {"ContinuousBackupsDescription": answer}, {"TableName": "live"})


@pytest.mark.parametrize("offset", [timedelta(seconds=1), timedelta(days=-1, seconds=-1)])
def test_a_time_outside_the_window_is_refused_with_the_window(stubbed: Stubbed, offset: timedelta) -> None:
    client, stubber = stubbed
    expect_window(stubber)

    with pytest.raises(RestoreRefused, match=r"from 2025-01-30 13:45:07\+00:00 to 2025-01-31 13:45:07\+00:00"):
        restores.point_in_time("live", AT + offset, client=client)


def restoring(at: datetime) -> dict[str, Any]:
    return {
        "RestoreSummary": {
            "SourceTableArn": f"{ACCOUNT}:table/live",
            "RestoreDateTime": at,
            "RestoreInProgress": True,
        }
    }


@pytest.mark.parametrize(
    ("at", "asked"),
    [
        (AT - timedelta(hours=1), {"RestoreDateTime": AT - timedelta(hours=1)}),
        (None, {"UseLatestRestorableTime": True}),
    ],
)
def test_the_time_goes_to_aws_and_the_table_is_waited_for(
    stubbed: Stubbed, at: datetime | None, asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, stubber = stubbed
    target = "target"
    # What follows the wait is the convergence, which runs on moto above.
    monkeypatch.setattr(restores, "_complete", wait_only)
    expect_window(stubber)
    absent: Callable[[str], None] = lambda name: stubber.add_client_error(  # noqa: E731
        "describe_table", "ResourceNotFoundException", expected_params={"TableName": name}
    )
    absent(target)
    absent("live")
    absent(target)
    stubber.add_response(
        "restore_table_to_point_in_time",
        {},
        {"SourceTableName": "live", "TargetTableName": target, **asked},
    )
    absent(target)
    for status in ("CREATING", "CREATING", "ACTIVE"):
        stubber.add_response("describe_table", table(target, status, **restoring(at or AT)), {"TableName": target})
    heard: list[str] = []

    source = restores.point_in_time("live", at, client=client)
    steps = restores.restore(source, target, client=client, progress=lambda what, _: heard.append(what))

    assert [step.outcome for step in steps] == [Outcome.CREATED]
    assert heard == [f"{target}: table CREATING"] * 3


def wait_only(planned: restores.RestorePlan, client: DynamoDBClient, patience: float, progress: Any) -> Iterator[Step]:
    assert waiting.wait_until_active(planned.target.name, client=client, patience=patience, progress=progress)
    yield from ()


@pytest.mark.parametrize(("restored_to", "accepted"), [(AT, True), (AT - timedelta(minutes=1), False)])
def test_a_restore_to_the_same_time_is_continued_and_to_another_refused(
    stubbed: Stubbed, restored_to: datetime, accepted: bool
) -> None:
    client, stubber = stubbed
    expect_window(stubber)
    source = restores.point_in_time("live", AT, client=client)
    stubber.add_response(
        "describe_table", table("target", "CREATING", **restoring(restored_to)), {"TableName": "target"}
    )
    if accepted:
        stubber.add_client_error("describe_table", "ResourceNotFoundException", expected_params={"TableName": "live"})
        assert restores.plan(source, "target", client=client).standing == "CREATING"
    else:
        with pytest.raises(RestoreRefused, match=r"was restored from live as of 2025-01-31 13:44:07\+00:00"):
            restores.plan(source, "target", client=client)


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("2025-01-31T13:45:07Z", AT),
        ("2025-01-31 13:45:07", AT),
        ("2025-01-31T14:45:07+01:00", AT),
        (" 2025-01-31 ", datetime(2025, 1, 31, tzinfo=UTC)),
    ],
)
def test_times_are_iso_8601_and_utc_where_they_name_no_zone(text: str, means: datetime) -> None:
    assert restores.parse_time(text) == means
    assert restores.parse_time(text).utcoffset() == timedelta(0)


@pytest.mark.parametrize("text", ["", "yesterday", "13:45", "31.1.2025", "2025-02-30"])
def test_what_is_no_time_is_refused_with_the_form(text: str) -> None:
    with pytest.raises(RestoreRefused, match="is no time: write it as 2025-01-31T13:45:00Z"):
        restores.parse_time(text)
