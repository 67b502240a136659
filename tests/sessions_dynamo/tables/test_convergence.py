"""What two runs do that neither does alone: a run that is ended anywhere is completed by the next."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from pytest_django import Settings

from sessions_dynamo.client import aws_client
from sessions_dynamo.tables import convergence, describing, setup
from sessions_dynamo.tables.desired import ON_DEMAND, Billing, CapacityRange, Desired
from sessions_dynamo.tables.names import NamedTable, named_tables
from sessions_dynamo.tables.steps import Outcome
from tests.engines import DYNAMODB_LOCAL, MOTO, on_moto
from tests.sessions_dynamo.tables.test_setup import create_by_hand
from tests.sessions_dynamo.wire import answering, error, writes

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

EVERYTHING = Desired(
    "production",
    billing=Billing("PROVISIONED", 6, 4, CapacityRange(2, 20)),
    recovery=True,
    deletion_protection=True,
)


class Killed(BaseException):
    """What no code catches, as a process that is killed catches nothing."""


@contextmanager
def sent(client: DynamoDBClient, *, killed_after: int = 0) -> Iterator[list[str]]:
    """The operations that DynamoDB and Auto Scaling carried out; ends the run behind a write's back, before its answer.

    ``killed_after`` counts writes; 0 lets the run go on.
    """
    operations: list[str] = []

    def hear(model: Any, **_: Any) -> None:
        operations.append(model.name)
        if writes([model.name]) and len(writes(operations)) == killed_after:
            raise Killed

    clients = (client, aws_client("application-autoscaling", client.meta.region_name))
    for each in clients:
        each.meta.events.register("after-call", hear)
    try:
        yield operations
    finally:
        for each in clients:
            each.meta.events.unregister("after-call", hear)


def one_table(settings: Settings) -> list[NamedTable]:
    """The events table, which has one index: half the time of both."""
    return [NamedTable(settings.DYNAMODB_EVENTS_TABLE, named_tables()[1].schema)]


def nothing(client: DynamoDBClient, name: str) -> None:
    """No table at all."""


def drifted(client: DynamoDBClient, name: str) -> None:
    """A table with the right key, and everything else otherwise."""
    keys = ("session_id", "HASH"), ("event_id", "RANGE")
    create_by_hand(
        client,
        name,
        KeySchema=[{"AttributeName": key, "KeyType": type_} for key, type_ in keys],
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key, _ in keys],
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"},
    )
    client.update_time_to_live(TableName=name, TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires"})


def remove(client: DynamoDBClient, name: str) -> None:
    scaling = aws_client("application-autoscaling", client.meta.region_name)
    try:
        client.update_table(TableName=name, DeletionProtectionEnabled=False)
    except client.exceptions.ResourceNotFoundException:
        return
    client.delete_table(TableName=name)
    if client.meta.endpoint_url != scaling.meta.endpoint_url:
        return
    try:
        found = scaling.describe_scalable_targets(ServiceNamespace="dynamodb")["ScalableTargets"]
    except scaling.exceptions.ClientError:
        return
    for target in found:
        names = ("ServiceNamespace", "ResourceId", "ScalableDimension")
        scaling.deregister_scalable_target(**{key: target[key] for key in names})


@pytest.mark.parametrize("before", [nothing, drifted])
def test_a_run_that_is_killed_after_any_write_is_completed_by_the_next(
    engine: tuple[str, str],
    bare_dynamodb: DynamoDBClient,
    settings: Settings,
    before: Callable[[DynamoDBClient, str], None],
) -> None:
    both = one_table(settings)
    name = both[0].name
    before(bare_dynamodb, name)
    with sent(bare_dynamodb) as whole:
        setup.ensure_tables(both, desired=EVERYTHING)
    # moto has four scaling targets and their policies; DynamoDB Local neither tags, recovery nor autoscaling.
    nothing_stood = before is nothing
    expected = {MOTO: 11 if nothing_stood else 17, DYNAMODB_LOCAL: 2 if nothing_stood else 7}
    assert len(writes(whole)) == expected[engine[0]]

    for count in range(1, len(writes(whole)) + 1):
        remove(bare_dynamodb, name)
        before(bare_dynamodb, name)
        with sent(bare_dynamodb, killed_after=count), pytest.raises(Killed):
            setup.ensure_tables(both, desired=EVERYTHING)

        setup.ensure_tables(both, desired=EVERYTHING)

        with sent(bare_dynamodb) as again:
            steps = setup.ensure_tables(both, desired=EVERYTHING)
        assert writes(again) == [], f"after a kill behind write {count}"
        assert {step.outcome for step in steps} <= {Outcome.UNCHANGED, Outcome.UNSUPPORTED}
        assert setup.plan(both, desired=EVERYTHING)[0].is_converged


def test_back_to_on_demand_writes_nothing_twice(
    engine: tuple[str, str], bare_dynamodb: DynamoDBClient, settings: Settings
) -> None:
    both = one_table(settings)
    setup.ensure_tables(both, desired=EVERYTHING)
    live = describing.describe(both[0].name)
    assert (live.billing_mode, live.read_capacity, live.write_capacity) == ("PROVISIONED", 6, 4)
    assert [(index.read_capacity, index.write_capacity) for index in live.indexes] == [(6, 4)]

    with sent(bare_dynamodb) as first:
        setup.ensure_tables(both, desired=Desired("production", billing=ON_DEMAND))
    with sent(bare_dynamodb) as second:
        setup.ensure_tables(both, desired=Desired("production", billing=ON_DEMAND))

    assert describing.describe(both[0].name).billing_mode == "PAY_PER_REQUEST"
    targets = 4 if engine[0] == MOTO else 0
    assert writes(first) == ["DeregisterScalableTarget"] * targets + ["UpdateTable"]
    assert writes(second) == []


def test_changes_only_the_capacity_that_differs(bare_dynamodb: DynamoDBClient, settings: Settings) -> None:
    both = one_table(settings)
    setup.ensure_tables(both, desired=Desired("test", billing=Billing("PROVISIONED", 5, 5)))
    capacity = {"ReadCapacityUnits": 9, "WriteCapacityUnits": 9}
    index = {"IndexName": "TimestampIndex", "ProvisionedThroughput": capacity}
    bare_dynamodb.update_table(TableName=both[0].name, GlobalSecondaryIndexUpdates=[{"Update": index}])  # type: ignore[typeddict-item]

    [planned] = setup.plan(both, desired=Desired("test", billing=Billing("PROVISIONED", 5, 5)))
    [change] = planned.to_do
    assert change.detail == "PROVISIONED, 5 read, 5 write; TimestampIndex was 9 read, 9 write"
    setup.apply([planned])

    [live] = describing.describe(both[0].name).indexes
    assert (live.read_capacity, live.write_capacity) == (5, 5)


def test_leaves_what_somebody_chose_by_hand_and_nobody_declared(
    engine: tuple[str, str], bare_dynamodb: DynamoDBClient, settings: Settings
) -> None:
    both = one_table(settings)
    setup.ensure_tables(both, desired=EVERYTHING)

    with sent(bare_dynamodb) as again:
        steps = setup.ensure_tables(both, desired=Desired("production"))

    assert writes(again) == []
    details = {step.aspect: step.detail for step in steps if step.outcome is Outcome.UNCHANGED}
    assert details["billing"] == "PROVISIONED, 6 read, 4 write"
    assert details["deletion protection"] == "on"
    if engine[0] == MOTO:
        assert details["pitr"] == "on"
        assert details["autoscaling"] == "2 to 20 units"


@on_moto
def test_a_missing_permission_costs_its_aspect_alone(bare_dynamodb: DynamoDBClient, settings: Settings) -> None:
    both = one_table(settings)
    message = "User: x is not authorized to perform: dynamodb:UpdateContinuousBackups on resource: y"

    with answering(bare_dynamodb, "UpdateContinuousBackups", error("AccessDeniedException", message)):
        steps = setup.apply(setup.plan(both, desired=EVERYTHING))

    [denied] = convergence.refusals(steps)
    assert (denied.aspect, denied.outcome) == ("pitr", Outcome.DENIED)
    assert "dynamodb:UpdateContinuousBackups" in denied.detail
    assert [change.aspect for change in setup.plan(both, desired=EVERYTHING)[0].to_do] == ["pitr"]


@on_moto
def test_a_table_that_may_not_be_looked_at_keeps_nothing_from_the_other(
    dynamodb: DynamoDBClient, settings: Settings
) -> None:
    denied = error("AccessDeniedException", "User: x is not authorized to perform: dynamodb:DescribeTable")

    with answering(dynamodb, "DescribeTable", denied, times=1):
        first, second = setup.plan()

    assert [(change.aspect, change.outcome) for change in first.changes] == [("table", Outcome.DENIED)]
    assert second.is_converged


@on_moto
def test_a_table_that_is_being_deleted_is_pending(dynamodb: DynamoDBClient, settings: Settings) -> None:
    answer = dict(dynamodb.describe_table(TableName=settings.DYNAMODB_EVENTS_TABLE))
    answer["Table"] = {**answer["Table"], "TableStatus": "DELETING"}  # type: ignore[dict-item]

    with answering(dynamodb, "DescribeTable", answer):
        steps = setup.apply(setup.plan(one_table(settings)))

    assert [(step.aspect, step.outcome) for step in steps] == [("table", Outcome.PENDING)]
    assert steps[0].detail == "it is being deleted: run 'manage.py dynamodb_setup' again when it is gone"


@on_moto
def test_waits_while_aws_still_sets_up_the_backups_of_a_new_table(
    bare_dynamodb: DynamoDBClient, settings: Settings
) -> None:
    both = one_table(settings)
    busy = error("ContinuousBackupsUnavailableException", "Backups are being enabled for the table: events")

    with answering(bare_dynamodb, "UpdateContinuousBackups", busy, times=2):
        steps = setup.apply(setup.plan(both, desired=EVERYTHING))

    assert next(step for step in steps if step.aspect == "pitr").outcome is Outcome.CREATED


@on_moto
def test_what_aws_limits_a_day_is_pending_and_not_waited_for(bare_dynamodb: DynamoDBClient, settings: Settings) -> None:
    both = one_table(settings)
    setup.ensure_tables(both)
    limited = error("LimitExceededException", "Update to PayPerRequest mode are limited to once in 1 day(s).")

    with answering(bare_dynamodb, "UpdateTable", limited, times=1):
        steps = setup.apply(setup.plan(both, desired=Desired("test", billing=Billing("PROVISIONED", 5, 5))))

    step = next(step for step in steps if step.aspect == "billing")
    assert step.outcome is Outcome.PENDING
    assert step.detail.endswith("once in 1 day(s): run 'manage.py dynamodb_setup' again")


def test_nothing_of_a_table_is_changed_when_one_thing_of_it_cannot_be(
    bare_dynamodb: DynamoDBClient, settings: Settings
) -> None:
    sessions, events = named_tables()
    create_by_hand(
        bare_dynamodb,
        sessions.name,
        AttributeDefinitions=[
            {"AttributeName": "session_id", "AttributeType": "S"},
            {"AttributeName": "shard", "AttributeType": "S"},
            {"AttributeName": "created_at", "AttributeType": "N"},
        ],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "CreatedAtIndex",
                "KeySchema": [
                    {"AttributeName": "shard", "KeyType": "HASH"},
                    {"AttributeName": "created_at", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
    )

    plans = setup.plan()
    assert [change.aspect for change in plans[0].blocked] == ["index CreatedAtIndex"]
    assert not plans[0].is_converged
    steps = setup.apply(plans)

    assert [(step.aspect, step.outcome) for step in steps if step.table == sessions.name] == [
        ("index CreatedAtIndex", Outcome.CANNOT_CHANGE)
    ]
    assert not describing.describe(sessions.name).stream.enabled
    assert describing.describe(events.name).stream.enabled
