from __future__ import annotations

from typing import Any, Final

import pytest

from sessions_dynamo.tables import plans, setup
from sessions_dynamo.tables.aspects.change import Change
from sessions_dynamo.tables.desired import Billing, CapacityRange, Desired
from sessions_dynamo.tables.steps import Outcome
from tests.sessions_dynamo.tables.aspects.aws import (
    EVENTS,
    HOME,
    PROVISIONED,
    TAGS,
    StubbedAws,
    key_arn,
    replica,
    table_arn,
)

OREGON, OHIO = "us-west-2", "us-east-2"
TAG_LIST = [{"Key": name, "Value": value} for name, value in TAGS.items()]


def plan(aws: StubbedAws, *regions: str, **wishes: Any) -> plans.TablePlan:
    desired = Desired("test", replica_regions=regions, **wishes)
    return setup.plan([EVENTS], client=aws.client(), desired=desired)[0]


def found(planned: plans.TablePlan, aspect: str) -> Change:
    return next(change for change in planned.changes if change.aspect == aspect)


def test_adds_one_replica_after_the_other_and_waits_for_each(aws: StubbedAws) -> None:
    aws.describe()
    aws.missing(OREGON)
    aws.missing(OHIO)
    planned = plan(aws, OREGON, OHIO, recovery=True)
    assert [(change.aspect, change.outcome) for change in planned.to_do] == [
        ("pitr", Outcome.CREATE),
        (f"replica {OREGON}", Outcome.CREATE),
        (f"replica {OHIO}", Outcome.CREATE),
        (f"tags {OREGON}", Outcome.CREATE),
        (f"pitr {OREGON}", Outcome.CREATE),
        (f"tags {OHIO}", Outcome.CREATE),
        (f"pitr {OHIO}", Outcome.CREATE),
    ]
    aws.look()
    aws.answer("update_continuous_backups", {})
    aws.look()
    aws.look()
    aws.answer("update_table", {})
    aws.look(TableStatus="UPDATING", Replicas=[replica(OREGON, "CREATING", ReplicaStatusPercentProgress="40")])
    aws.look(Replicas=[replica(OREGON)])
    aws.look(Replicas=[replica(OREGON)])
    aws.answer("update_table", {})
    # The table is ACTIVE again before its replica is.
    aws.look(Replicas=[replica(OREGON), replica(OHIO, "CREATING")])
    both = [replica(OREGON), replica(OHIO)]
    aws.look(Replicas=both)
    # What each replica has by itself is read there, once there is one.
    aws.describe(Replicas=both, pitr="ENABLED")
    for region in (OREGON, OHIO):
        aws.describe(region, tags={})
        for operation in ("tag_resource", "update_continuous_backups"):
            aws.look(Replicas=both)
            aws.answer(operation, {}, region=region)
            aws.look(Replicas=both)
    waited: list[str] = []

    steps = setup.apply([planned], client=aws.client(), progress=lambda what, _: waited.append(what))

    aws.finish()
    assert aws.writes == [
        (
            HOME,
            "UpdateContinuousBackups",
            {
                "TableName": EVENTS.name,
                "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True},
            },
        ),
        (
            HOME,
            "UpdateTable",
            {"TableName": EVENTS.name, "ReplicaUpdates": [{"Create": {"RegionName": OREGON}}]},
        ),
        (HOME, "UpdateTable", {"TableName": EVENTS.name, "ReplicaUpdates": [{"Create": {"RegionName": OHIO}}]}),
        *(
            write
            for region in (OREGON, OHIO)
            for write in (
                (region, "TagResource", {"ResourceArn": table_arn(region), "Tags": TAG_LIST}),
                (
                    region,
                    "UpdateContinuousBackups",
                    {
                        "TableName": EVENTS.name,
                        "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True},
                    },
                ),
            )
        ),
    ]
    assert waited == [
        f"{EVENTS.name}: table UPDATING, replica {OREGON} CREATING 40 %",
        f"{EVENTS.name}: replica {OHIO} CREATING",
    ]
    made = {step.aspect: step.outcome for step in steps}
    assert made[f"replica {OREGON}"] is made[f"replica {OHIO}"] is Outcome.CREATED
    assert made[f"tags {OREGON}"] is made[f"pitr {OHIO}"] is Outcome.CREATED


def test_writes_nothing_where_every_replica_stands(aws: StubbedAws) -> None:
    # AWS may list the table's own region too.
    aws.describe(Replicas=[replica(HOME), replica(OREGON)])
    aws.describe(OREGON)
    planned = plan(aws, HOME, OREGON)

    assert planned.is_converged
    setup.apply([planned], client=aws.client())

    aws.finish()
    assert aws.writes == []


def test_gives_a_replica_its_own_deletion_protection_and_tags(aws: StubbedAws) -> None:
    aws.describe(Replicas=[replica(OREGON)], DeletionProtectionEnabled=True)
    aws.describe(OREGON, tags={**TAGS, "Environment": "old", "Team": "search"})
    planned = plan(aws, deletion_protection=True)

    assert [(change.aspect, change.outcome) for change in planned.to_do] == [
        (f"deletion protection {OREGON}", Outcome.CHANGE),
        (f"tags {OREGON}", Outcome.CHANGE),
    ]
    for operation in ("update_table", "tag_resource"):
        aws.look(Replicas=[replica(OREGON)])
        aws.answer(operation, {}, region=OREGON)
        aws.look(Replicas=[replica(OREGON)])
    setup.apply([planned], client=aws.client())

    aws.finish()
    assert aws.writes == [
        (OREGON, "UpdateTable", {"TableName": EVENTS.name, "DeletionProtectionEnabled": True}),
        (
            OREGON,
            "TagResource",
            {"ResourceArn": table_arn(OREGON), "Tags": [{"Key": "Environment", "Value": "test"}]},
        ),
    ]


def test_waits_for_a_replica_that_a_run_before_had_begun(aws: StubbedAws) -> None:
    begun = [replica(OREGON, "CREATING")]
    aws.describe(TableStatus="UPDATING", Replicas=begun)
    planned = plan(aws, OREGON)
    assert found(planned, f"replica {OREGON}").outcome is Outcome.PENDING
    aws.look(Replicas=begun)
    aws.look(Replicas=[replica(OREGON)])
    aws.describe(Replicas=[replica(OREGON)])
    aws.describe(OREGON)

    steps = setup.apply([planned], client=aws.client())

    aws.finish()
    assert aws.writes == []
    assert {step.outcome for step in steps} == {Outcome.UNCHANGED}


def test_is_pending_when_a_replica_takes_longer_than_one_waits(aws: StubbedAws) -> None:
    aws.describe()
    aws.missing(OREGON)
    planned = plan(aws, OREGON)
    begun = [replica(OREGON, "CREATING")]
    aws.look()
    aws.answer("update_table", {})
    aws.look(Replicas=begun)
    aws.describe(Replicas=begun)

    steps = setup.apply([planned], client=aws.client(), patience=0)

    aws.finish()
    pending = {step.aspect: step.detail for step in steps if step.outcome is Outcome.PENDING}
    assert pending.keys() == {f"replica {OREGON}", f"tags {OREGON}"}
    assert all("run 'manage.py dynamodb_setup' again" in detail for detail in pending.values())


def test_cannot_change_a_region_that_holds_a_plain_table_of_the_name(aws: StubbedAws) -> None:
    aws.describe()
    aws.look(OREGON)
    planned = plan(aws, OREGON, recovery=True)

    change = found(planned, f"replica {OREGON}")
    assert change.outcome is Outcome.CANNOT_CHANGE
    assert f"{OREGON} already has a table {EVENTS.name}" in change.detail
    assert "delete it there" in change.detail

    steps = setup.apply([planned], client=aws.client())

    aws.finish()
    assert aws.writes == []
    assert [(step.aspect, step.outcome) for step in steps] == [(f"replica {OREGON}", Outcome.CANNOT_CHANGE)]


@pytest.mark.parametrize("wishes", [{}, {"billing": Billing("PROVISIONED", 5, 5)}])
def test_cannot_replicate_a_provisioned_table_whose_writes_are_not_autoscaled(
    aws: StubbedAws, wishes: dict[str, Any]
) -> None:
    aws.describe(**PROVISIONED)
    # Twice: for autoscaling itself, and where nothing is declared for the replica.
    for _ in range(1 if wishes else 2):
        aws.answer("describe_scalable_targets", {"ScalableTargets": []}, service="application-autoscaling")

    change = found(plan(aws, OREGON, **wishes), f"replica {OREGON}")

    aws.finish()
    assert change.outcome is Outcome.CANNOT_CHANGE
    assert "--autoscale MIN:MAX, or --billing on-demand" in change.detail


def test_replicates_a_provisioned_table_once_its_writes_are_autoscaled(aws: StubbedAws) -> None:
    aws.describe(**PROVISIONED)
    aws.answer("describe_scalable_targets", {"ScalableTargets": []}, service="application-autoscaling")
    aws.missing(OREGON)

    planned = plan(aws, OREGON, billing=Billing("PROVISIONED", 5, 5, CapacityRange(5, 50)))

    assert [change.aspect for change in planned.to_do] == ["autoscaling", f"replica {OREGON}", f"tags {OREGON}"]


def test_cannot_add_a_replica_to_a_global_table_of_the_old_version(aws: StubbedAws) -> None:
    aws.describe(GlobalTableVersion="2017.11.29")

    change = found(plan(aws, OREGON), f"replica {OREGON}")

    assert change.outcome is Outcome.CANNOT_CHANGE
    assert "Convert it to 2019.11.21" in change.detail


def test_cannot_go_on_with_a_wanted_replica_that_failed(aws: StubbedAws) -> None:
    aws.describe(Replicas=[replica(OREGON, "CREATION_FAILED", ReplicaStatusDescription="no permission")])

    change = found(plan(aws, OREGON), f"replica {OREGON}")

    assert change.outcome is Outcome.CANNOT_CHANGE
    assert change.detail.startswith("CREATION_FAILED: no permission.")


def test_names_the_action_that_another_region_denies_and_goes_on(aws: StubbedAws) -> None:
    message = "User: x is not authorized to perform: dynamodb:DescribeTable on resource: y"
    aws.describe()
    aws.refuse("describe_table", "AccessDeniedException", message, region=OREGON)
    aws.missing(OHIO)

    planned = plan(aws, OREGON, OHIO)

    assert found(planned, f"replica {OREGON}").outcome is Outcome.DENIED
    assert "dynamodb:DescribeTable" in found(planned, f"replica {OREGON}").detail
    assert found(planned, f"replica {OHIO}").outcome is Outcome.CREATE


def test_cannot_use_a_region_that_the_account_has_not_enabled(aws: StubbedAws) -> None:
    aws.describe()
    aws.refuse("describe_table", "UnrecognizedClientException", "The security token is invalid", region="me-south-1")

    change = found(plan(aws, "me-south-1"), "replica me-south-1")

    assert change.outcome is Outcome.CANNOT_CHANGE
    assert "me-south-1" in change.detail
    assert "enabled" in change.detail


class TestKeys:
    """A replica is encrypted as the table is, with a key of its own region."""

    KMS: Final[dict[str, Any]] = {
        "SSEDescription": {"Status": "ENABLED", "SSEType": "KMS", "KMSMasterKeyArn": key_arn("mrk-" + "a" * 32)}
    }

    def test_takes_the_multi_region_key_of_the_region(self, aws: StubbedAws) -> None:
        key = "mrk-" + "a" * 32
        aws.describe(**self.KMS)
        aws.missing(OREGON)
        aws.key(key_arn(key))
        aws.key(key_arn(key, OREGON), OREGON)
        planned = plan(aws, OREGON)
        aws.look()
        aws.answer("update_table", {})
        aws.look(Replicas=[replica(OREGON)])
        aws.describe(Replicas=[replica(OREGON)], **self.KMS)
        aws.describe(OREGON)

        setup.apply([planned], client=aws.client())

        aws.finish()
        create = {"Create": {"RegionName": OREGON, "KMSMasterKeyId": key_arn(key, OREGON)}}
        assert aws.writes == [(HOME, "UpdateTable", {"TableName": EVENTS.name, "ReplicaUpdates": [create]})]

    def test_cannot_replicate_under_a_key_of_one_region(self, aws: StubbedAws) -> None:
        key = "12345678-1234-1234-1234-123456789012"
        aws.describe(SSEDescription={"Status": "ENABLED", "SSEType": "KMS", "KMSMasterKeyArn": key_arn(key)})
        aws.missing(OREGON)
        aws.key(key_arn(key))

        change = found(plan(aws, OREGON), f"replica {OREGON}")

        assert change.outcome is Outcome.CANNOT_CHANGE
        assert "a multi-Region key" in change.detail

    def test_needs_no_key_where_aws_manages_it(self, aws: StubbedAws) -> None:
        aws.describe(**self.KMS)
        aws.missing(OREGON)
        aws.key(key_arn("managed"), KeyManager="AWS")

        change = found(plan(aws, OREGON), f"replica {OREGON}")

        assert (change.outcome, change.detail) == (Outcome.CREATE, "")
