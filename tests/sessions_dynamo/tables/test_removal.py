from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from pytest_django import Settings

from sessions_dynamo import schema
from sessions_dynamo.client import aws_client
from sessions_dynamo.errors import AccessDenied, StorageUnavailable, TableMissing
from sessions_dynamo.tables import removal
from sessions_dynamo.tables.describing import describe
from sessions_dynamo.tables.names import NamedTable
from sessions_dynamo.tables.steps import Outcome, Step
from tests.engines import on_moto
from tests.sessions_dynamo.tables.aspects.aws import EVENTS, HOME, INDEX, StubbedAws, replica
from tests.sessions_dynamo.wire import answering, error, operations, writes

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

OREGON, OHIO = "us-west-2", "us-east-2"
SOURCE = (
    "Replica cannot be deleted because it has acted as a source region for new replica(s) being added to the table in"
    " the last 24 hours."
)
SCALING = "application-autoscaling"


@pytest.fixture
def sessions(bare_dynamodb: DynamoDBClient, settings: Settings) -> str:
    """The sessions table's name."""
    return str(settings.DYNAMODB_SESSIONS_TABLE)


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[StubbedAws]:
    """Clients that believe to talk to AWS, and a Stubber in front of each: no request leaves this process."""
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    aws_client.cache_clear()
    yield StubbedAws()
    aws_client.cache_clear()


class TestDisableStream:
    def test_turns_the_stream_off_once(self, dynamodb: DynamoDBClient, sessions: str) -> None:
        assert removal.disable_stream(sessions).outcome is Outcome.CHANGED
        assert removal.disable_stream(sessions).outcome is Outcome.UNCHANGED
        assert not describe(sessions).stream.enabled

    def test_tries_again_while_the_table_is_busy(self, dynamodb: DynamoDBClient, sessions: str) -> None:
        with answering(dynamodb, "UpdateTable", error("ResourceInUseException", "being updated"), times=2):
            assert removal.disable_stream(sessions).outcome is Outcome.CHANGED

        assert not describe(sessions).stream.enabled

    def test_is_pending_when_the_table_stays_busy(self, dynamodb: DynamoDBClient, sessions: str) -> None:
        with answering(dynamodb, "UpdateTable", error("ResourceInUseException", "It is being updated.")):
            step = removal.disable_stream(sessions, patience=0)

        assert step.outcome is Outcome.PENDING
        assert step.detail.startswith("It is being updated. Run 'manage.py dynamodb_teardown --disable-streams' again")

    def test_raises_what_does_not_pass(self, dynamodb: DynamoDBClient, sessions: str) -> None:
        denied = error("AccessDeniedException", "not authorized to perform: dynamodb:UpdateTable on it")

        with answering(dynamodb, "UpdateTable", denied), pytest.raises(AccessDenied, match="dynamodb:UpdateTable"):
            removal.disable_stream(sessions)

    def test_refuses_while_replicas_live_on_it(self, aws: StubbedAws) -> None:
        aws.look(Replicas=[replica(OREGON)])

        with pytest.raises(removal.StreamNeeded, match=f"replicas in {OREGON}"):
            removal.disable_stream(EVENTS.name, client=aws.client())

        assert aws.writes == []


class TestDeleteTable:
    def test_deletes_and_waits_until_the_table_is_gone(self, dynamodb: DynamoDBClient, sessions: str) -> None:
        assert removal.delete_table(sessions).outcome is Outcome.DELETED

        with pytest.raises(TableMissing):
            describe(sessions)

    def test_a_table_that_is_not_there_is_an_error(self, bare_dynamodb: DynamoDBClient) -> None:
        with pytest.raises(TableMissing, match="no-such-table"):
            removal.delete_table("no-such-table")

    def test_says_how_to_lift_deletion_protection(self, dynamodb: DynamoDBClient, sessions: str) -> None:
        dynamodb.update_table(TableName=sessions, DeletionProtectionEnabled=True)

        with operations(dynamodb) as sent, pytest.raises(removal.DeletionProtected) as refused:
            removal.delete_table(sessions)

        assert f"dynamodb_setup --no-deletion-protection --region {HOME}" in str(refused.value)
        command = f"aws dynamodb update-table --region {HOME} --table-name {sessions} --no-deletion-protection-enabled"
        assert str(refused.value).endswith(command)
        assert writes(sent) == []

    def test_is_pending_for_a_day_after_the_table_was_a_replicas_source(
        self, dynamodb: DynamoDBClient, sessions: str
    ) -> None:
        with answering(dynamodb, "DeleteTable", error("ValidationException", SOURCE)):
            step = removal.delete_table(sessions)

        assert step.outcome is Outcome.PENDING
        assert "24 hours" in step.detail
        assert "dynamodb_teardown --delete" in step.detail
        assert describe(sessions).status == "ACTIVE"

    def test_tries_again_while_the_table_is_busy(self, dynamodb: DynamoDBClient, sessions: str) -> None:
        with answering(dynamodb, "DeleteTable", error("ResourceInUseException", "being updated"), times=2):
            assert removal.delete_table(sessions).outcome is Outcome.DELETED

    def test_is_pending_when_the_patience_ends_before_the_table(self, aws: StubbedAws) -> None:
        aws.describe()
        aws.look()
        aws.answer("delete_table", {})

        step = removal.delete_table(EVENTS.name, client=aws.client(), patience=0)

        assert step.outcome is Outcome.PENDING
        assert step.detail.startswith("AWS is still deleting it.")
        aws.finish()

    def test_waits_for_a_deletion_that_is_under_way_and_tells_how_long(self, aws: StubbedAws) -> None:
        aws.look(TableStatus="DELETING")
        aws.look(TableStatus="DELETING")
        aws.look(TableStatus="DELETING")
        aws.missing()
        aws.answer("describe_scalable_targets", {"ScalableTargets": []}, service=SCALING)
        heard: list[str] = []

        step = removal.delete_table(EVENTS.name, client=aws.client(), progress=lambda what, _: heard.append(what))

        assert step == Step(EVENTS.name, "table", Outcome.DELETED)
        assert heard == [f"{EVENTS.name} to be deleted"] * 2
        assert aws.writes == []
        aws.finish()


class TestReplicas:
    """No emulator has replicas: AWS's answers are given here, and the requests checked against the service model."""

    def test_go_first_one_after_the_other_and_each_is_waited_for(self, aws: StubbedAws) -> None:
        both = [replica(OREGON), replica(OHIO)]
        aws.describe(Replicas=both)
        aws.look(OREGON)
        aws.look(OHIO)
        aws.look(Replicas=both)
        aws.answer("update_table", {})
        aws.look(TableStatus="UPDATING", Replicas=[replica(OREGON, "DELETING"), replica(OHIO)])
        aws.look(Replicas=[replica(OHIO)])
        aws.answer("describe_scalable_targets", {"ScalableTargets": []}, service=SCALING, region=OREGON)
        aws.look(Replicas=[replica(OHIO)])
        # Another change of the table runs.
        aws.refuse("update_table", "ResourceInUseException", "busy")
        aws.look(Replicas=[replica(OHIO)])
        aws.answer("update_table", {})
        # DescribeTable does not show at once what was asked for; it is not asked for again.
        aws.look(Replicas=[replica(OHIO)])
        aws.look()
        aws.answer("describe_scalable_targets", {"ScalableTargets": []}, service=SCALING, region=OHIO)
        aws.look()
        aws.answer("delete_table", {})
        aws.look(TableStatus="DELETING")
        aws.missing()
        aws.answer("describe_scalable_targets", {"ScalableTargets": []}, service=SCALING)
        steps: list[Step] = []

        last = removal.delete_table(EVENTS.name, client=aws.client(), report=steps.append)

        assert [(step.aspect, step.outcome) for step in (*steps, last)] == [
            (f"replica {OREGON}", Outcome.DELETED),
            (f"replica {OHIO}", Outcome.DELETED),
            ("table", Outcome.DELETED),
        ]
        update = (
            [{"Delete": {"RegionName": OREGON}}],
            [{"Delete": {"RegionName": OHIO}}],
            [{"Delete": {"RegionName": OHIO}}],
        )
        assert aws.writes == [
            *((HOME, "UpdateTable", {"TableName": EVENTS.name, "ReplicaUpdates": one}) for one in update),
            (HOME, "DeleteTable", {"TableName": EVENTS.name}),
        ]
        aws.finish()

    def test_one_that_was_a_source_today_is_pending_and_the_table_stays(self, aws: StubbedAws) -> None:
        aws.describe(Replicas=[replica(OREGON)])
        aws.look(OREGON)
        aws.look(Replicas=[replica(OREGON)])
        aws.refuse("update_table", "ValidationException", SOURCE)
        steps: list[Step] = []

        last = removal.delete_table(EVENTS.name, client=aws.client(), report=steps.append)

        assert [step.outcome for step in (*steps, last)] == [Outcome.PENDING, Outcome.PENDING]
        assert "24 hours" in steps[0].detail
        assert f"its replica in {OREGON} must go first" in last.detail
        assert "dynamodb_teardown --delete" in last.detail
        assert [operation for _, operation, _ in aws.writes] == ["UpdateTable"]
        aws.finish()

    def test_one_that_is_on_its_way_out_is_only_waited_for(self, aws: StubbedAws) -> None:
        aws.describe(Replicas=[replica(OREGON, "DELETING")])
        aws.missing(OREGON)
        aws.look(Replicas=[replica(OREGON, "DELETING")])

        last = removal.delete_table(EVENTS.name, client=aws.client(), patience=0)

        assert last.outcome is Outcome.PENDING
        assert aws.writes == []
        aws.finish()

    def test_one_that_is_protected_is_refused_before_anything_is_touched(self, aws: StubbedAws) -> None:
        aws.describe(Replicas=[replica(OREGON)])
        aws.look(OREGON, DeletionProtectionEnabled=True)

        with pytest.raises(removal.DeletionProtected, match=f"in {OREGON}.*update-table --region {OREGON}"):
            removal.delete_table(EVENTS.name, client=aws.client())

        assert aws.writes == []
        aws.finish()

    def test_a_refusal_for_good_is_raised(self, aws: StubbedAws) -> None:
        aws.describe(Replicas=[replica(OREGON)])
        aws.look(OREGON)
        aws.look(Replicas=[replica(OREGON)])
        message = "User is not authorized to perform: dynamodb:DeleteTableReplica on resource: table"
        aws.refuse("update_table", "AccessDeniedException", message)

        with pytest.raises(StorageUnavailable, match="dynamodb:DeleteTableReplica"):
            removal.delete_table(EVENTS.name, client=aws.client())


class TestAutoscaling:
    @on_moto
    def test_goes_with_the_table_and_its_indexes(self, dynamodb: DynamoDBClient, sessions: str) -> None:
        scaling = registered(sessions)
        steps: list[Step] = []

        removal.delete_table(sessions, report=steps.append)

        assert steps == [Step(sessions, "autoscaling", Outcome.DELETED, f"scalable targets in {HOME}: 2")]
        left = targets(scaling)
        assert "table/another-table" in left
        assert not [resource for resource in left if resource.startswith(f"table/{sessions}")]

    @on_moto
    def test_of_a_table_that_is_gone_already_is_removed_too(
        self, dynamodb: DynamoDBClient, sessions: str, engine: tuple[str, str]
    ) -> None:
        scaling = registered(sessions)
        dynamodb.delete_table(TableName=sessions)
        table = NamedTable(sessions, schema.SESSIONS)

        step = removal.forget_deleted(table)

        assert step
        assert step.outcome is Outcome.DELETED
        left = targets(scaling)
        assert "table/another-table" in left
        assert not [resource for resource in left if resource.startswith(f"table/{sessions}")]
        assert removal.forget_deleted(table) is None

    def test_where_there_is_none_nothing_is_said(self, dynamodb: DynamoDBClient, sessions: str) -> None:
        steps: list[Step] = []

        removal.delete_table(sessions, report=steps.append)

        assert steps == []

    def test_a_refusal_is_told_and_no_failure(self, aws: StubbedAws) -> None:
        aws.describe()
        aws.look()
        aws.answer("delete_table", {})
        aws.missing()
        message = "User is not authorized to perform: application-autoscaling:DescribeScalableTargets"
        aws.refuse("describe_scalable_targets", "AccessDeniedException", message, service=SCALING)
        steps: list[Step] = []

        assert removal.delete_table(EVENTS.name, client=aws.client(), report=steps.append).outcome is Outcome.DELETED

        assert [step.outcome for step in steps] == [Outcome.DENIED]
        assert "application-autoscaling:DescribeScalableTargets" in steps[0].detail

    def test_asks_for_the_table_and_its_indexes_by_name_and_a_target_that_went_meanwhile_is_no_failure(
        self, aws: StubbedAws
    ) -> None:
        aws.describe()
        aws.look()
        aws.answer("delete_table", {})
        aws.missing()
        target = {
            "ServiceNamespace": "dynamodb",
            "ResourceId": f"table/{EVENTS.name}",
            "ScalableDimension": "dynamodb:table:ReadCapacityUnits",
        }
        found = {**target, "MinCapacity": 1, "MaxCapacity": 5, "RoleARN": "arn:aws:iam::1:role/r", "CreationTime": 0}
        aws.answer("describe_scalable_targets", {"ScalableTargets": [found]}, service=SCALING)
        aws.refuse("deregister_scalable_target", "ObjectNotFoundException", service=SCALING)

        assert removal.delete_table(EVENTS.name, client=aws.client()).outcome is Outcome.DELETED

        asked = next(params for _, operation, params in aws.requests if operation == "DescribeScalableTargets")
        resources = [f"table/{EVENTS.name}", f"table/{EVENTS.name}/index/{INDEX}"]
        assert asked == {"ServiceNamespace": "dynamodb", "ResourceIds": resources}
        assert aws.writes[-1] == (HOME, "DeregisterScalableTarget", target)
        aws.finish()

    def test_aws_is_not_asked_about_an_emulators_table(
        self, engine: tuple[str, str], settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("AWS_ENDPOINT_URL")
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", engine[1])
        aws_client.cache_clear()

        assert removal.forget_deleted(EVENTS) is None

        aws_client.cache_clear()


def registered(name: str) -> Any:
    """The autoscaling service, with a target of the table, one of an index of it, and one of another table."""
    scaling = aws_client(SCALING)
    for resource, dimension in (
        (f"table/{name}", "table"),
        (f"table/{name}/index/CreatedAtIndex", "index"),
        ("table/another-table", "table"),
    ):
        scaling.register_scalable_target(
            ServiceNamespace="dynamodb",
            ResourceId=resource,
            ScalableDimension=f"dynamodb:{dimension}:WriteCapacityUnits",
            MinCapacity=1,
            MaxCapacity=5,
        )
    return scaling


def targets(scaling: Any) -> list[str]:
    found = scaling.describe_scalable_targets(ServiceNamespace="dynamodb")["ScalableTargets"]
    return [target["ResourceId"] for target in found]
