from __future__ import annotations

from typing import Any

import pytest
from botocore.stub import Stubber

from sessions_dynamo.client import aws_client, dynamodb
from sessions_dynamo.errors import StorageUnavailable
from sessions_dynamo.tables import autoscaling as service
from sessions_dynamo.tables import plans, setup
from sessions_dynamo.tables.aspects.change import Change
from sessions_dynamo.tables.desired import ON_DEMAND, Billing, CapacityRange, Desired
from sessions_dynamo.tables.steps import Outcome, Step
from tests.sessions_dynamo.tables.aspects.aws import EVENTS, HOME, INDEX, PROVISIONED, StubbedAws

SCALING = "application-autoscaling"
TABLE = f"table/{EVENTS.name}"
READ, WRITE = "ReadCapacityUnits", "WriteCapacityUnits"
TARGETS = [
    (TABLE, f"dynamodb:table:{READ}", "DynamoDBReadCapacityUtilization"),
    (f"{TABLE}/index/{INDEX}", f"dynamodb:index:{READ}", "DynamoDBReadCapacityUtilization"),
    (TABLE, f"dynamodb:table:{WRITE}", "DynamoDBWriteCapacityUtilization"),
    (f"{TABLE}/index/{INDEX}", f"dynamodb:index:{WRITE}", "DynamoDBWriteCapacityUtilization"),
]
SCALED = Billing("PROVISIONED", 5, 5, CapacityRange(5, 50))


def plan(aws: StubbedAws, billing: Billing | None) -> plans.TablePlan:
    return setup.plan([EVENTS], client=aws.client(), desired=Desired("test", billing=billing))[0]


def autoscaling(planned: plans.TablePlan) -> Change:
    return next(change for change in planned.changes if change.aspect == "autoscaling")


def apply(aws: StubbedAws, planned: plans.TablePlan) -> Step:
    return next(step for step in setup.apply([planned], client=aws.client()) if step.aspect == "autoscaling")


def registered(aws: StubbedAws, *limits: tuple[int, int]) -> None:
    """The service's answer: the table's and the index's targets with these limits."""
    targets = [
        {
            "ServiceNamespace": "dynamodb",
            "ResourceId": resource,
            "ScalableDimension": dimension,
            "MinCapacity": minimum,
            "MaxCapacity": maximum,
            "RoleARN": "arn:aws:iam::111122223333:role/scaling",
            "CreationTime": 0,
        }
        for (resource, dimension, _), (minimum, maximum) in zip(TARGETS, limits, strict=False)
    ]
    aws.answer("describe_scalable_targets", {"ScalableTargets": targets}, service=SCALING)


def policy(aws: StubbedAws, target: tuple[str, str, str], utilization: float | None = 70.0, name: str = "kept") -> None:
    """The service's answer on one target's policies."""
    resource, dimension, metric = target
    found: dict[str, Any] = {
        "PolicyARN": "arn:aws:autoscaling:eu-west-1:111122223333:scalingPolicy:x",
        "PolicyName": name,
        "ServiceNamespace": "dynamodb",
        "ResourceId": resource,
        "ScalableDimension": dimension,
        "PolicyType": "TargetTrackingScaling",
        "CreationTime": 0,
        "TargetTrackingScalingPolicyConfiguration": {
            "TargetValue": utilization,
            "PredefinedMetricSpecification": {"PredefinedMetricType": metric},
        },
    }
    aws.answer(
        "describe_scaling_policies", {"ScalingPolicies": [found] if utilization is not None else []}, service=SCALING
    )


def register_request(target: tuple[str, str, str]) -> dict[str, Any]:
    resource, dimension, _ = target
    return {
        "ServiceNamespace": "dynamodb",
        "ResourceId": resource,
        "ScalableDimension": dimension,
        "MinCapacity": 5,
        "MaxCapacity": 50,
    }


def policy_request(target: tuple[str, str, str], name: str) -> dict[str, Any]:
    resource, dimension, metric = target
    return {
        "PolicyName": name,
        "ServiceNamespace": "dynamodb",
        "ResourceId": resource,
        "ScalableDimension": dimension,
        "PolicyType": "TargetTrackingScaling",
        "TargetTrackingScalingPolicyConfiguration": {
            "TargetValue": 70.0,
            "PredefinedMetricSpecification": {"PredefinedMetricType": metric},
        },
    }


def test_registers_the_table_and_its_index_and_tracks_70_per_cent(aws: StubbedAws) -> None:
    aws.describe(**PROVISIONED)
    registered(aws)
    planned = plan(aws, SCALED)
    assert autoscaling(planned).outcome is Outcome.CREATE
    assert autoscaling(planned).detail == "5 to 50 units at 70 %, for the table and each index"
    aws.look(**PROVISIONED)
    for _ in TARGETS:
        aws.answer("register_scalable_target", {}, service=SCALING)
        aws.answer("put_scaling_policy", {"PolicyARN": "arn"}, service=SCALING)
    aws.look(**PROVISIONED)

    step = apply(aws, planned)

    aws.finish()
    assert step.outcome is Outcome.CREATED
    assert [(operation, params) for _, operation, params in aws.writes] == [
        request
        for target in TARGETS
        for request in (
            ("RegisterScalableTarget", register_request(target)),
            ("PutScalingPolicy", policy_request(target, f"{target[2]}:{target[0]}")),
        )
    ]


def test_completes_what_a_run_before_left_and_keeps_a_policys_name(aws: StubbedAws) -> None:
    aws.describe(**PROVISIONED)
    # Ended after the fourth target was registered with an old range, before its policy; another's aims elsewhere.
    registered(aws, (5, 50), (5, 50), (5, 50), (1, 10))
    policy(aws, TARGETS[0])
    policy(aws, TARGETS[1], 50.0, "console-made")
    policy(aws, TARGETS[2])
    policy(aws, TARGETS[3], None)
    planned = plan(aws, SCALED)
    assert autoscaling(planned).outcome is Outcome.CHANGE
    aws.look(**PROVISIONED)
    aws.answer("put_scaling_policy", {"PolicyARN": "arn"}, service=SCALING)
    aws.answer("register_scalable_target", {}, service=SCALING)
    aws.answer("put_scaling_policy", {"PolicyARN": "arn"}, service=SCALING)
    aws.look(**PROVISIONED)

    apply(aws, planned)

    aws.finish()
    assert [(operation, params) for _, operation, params in aws.writes] == [
        ("PutScalingPolicy", policy_request(TARGETS[1], "console-made")),
        ("RegisterScalableTarget", register_request(TARGETS[3])),
        ("PutScalingPolicy", policy_request(TARGETS[3], f"{TARGETS[3][2]}:{TARGETS[3][0]}")),
    ]


def test_takes_capacity_that_aws_moved_inside_the_range_for_no_drift(aws: StubbedAws) -> None:
    aws.describe(
        BillingModeSummary={"BillingMode": "PROVISIONED"},
        ProvisionedThroughput={"ReadCapacityUnits": 37, "WriteCapacityUnits": 12},
    )
    registered(aws, *[(5, 50)] * 4)
    for target in TARGETS:
        policy(aws, target)

    planned = plan(aws, SCALED)

    aws.finish()
    assert planned.is_converged
    assert autoscaling(planned).detail == "5 to 50 units"


def test_on_demand_ends_autoscaling_before_it_changes_the_billing(aws: StubbedAws) -> None:
    aws.describe(**PROVISIONED)
    registered(aws, (5, 50), (5, 50))
    planned = plan(aws, ON_DEMAND)
    assert autoscaling(planned).detail == "off, was 5 to 50 units"
    aws.look(**PROVISIONED)
    aws.answer("deregister_scalable_target", {}, service=SCALING)
    aws.answer("deregister_scalable_target", {}, service=SCALING)
    aws.look(**PROVISIONED)
    aws.look(**PROVISIONED)
    aws.answer("update_table", {})
    aws.look(TableStatus="UPDATING")
    aws.look()

    apply(aws, planned)

    aws.finish()
    assert [(operation, params) for _, operation, params in aws.writes] == [
        *(
            (
                "DeregisterScalableTarget",
                {"ServiceNamespace": "dynamodb", "ResourceId": resource, "ScalableDimension": dimension},
            )
            for resource, dimension, _ in TARGETS[:2]
        ),
        ("UpdateTable", {"TableName": EVENTS.name, "BillingMode": "PAY_PER_REQUEST"}),
    ]


def test_a_fixed_capacity_ends_autoscaling(aws: StubbedAws) -> None:
    aws.describe(**PROVISIONED)
    registered(aws, *[(5, 50)] * 4)

    planned = plan(aws, Billing("PROVISIONED", 5, 5))

    assert autoscaling(planned).outcome is Outcome.CHANGE
    assert autoscaling(planned).detail == "off, was 5 to 50 units"


def test_leaves_autoscaling_that_nobody_declared(aws: StubbedAws) -> None:
    aws.describe(**PROVISIONED)
    registered(aws, *[(1, 10)] * 4)

    planned = plan(aws, None)

    aws.finish()
    assert planned.is_converged
    assert autoscaling(planned).detail == "1 to 10 units"


def test_asks_nothing_for_a_table_on_demand_whose_billing_nobody_declared(aws: StubbedAws) -> None:
    aws.describe()

    planned = plan(aws, None)

    aws.finish()
    assert "autoscaling" not in {change.aspect for change in planned.changes}


@pytest.mark.parametrize(
    ("billing", "outcome"), [(SCALED, Outcome.DENIED), (None, Outcome.UNCHANGED)], ids=["declared", "undeclared"]
)
def test_names_the_action_that_is_missing_and_complains_only_of_what_is_declared(
    aws: StubbedAws, billing: Billing | None, outcome: Outcome
) -> None:
    aws.describe(**PROVISIONED)
    message = "User: x is not authorized to perform: application-autoscaling:DescribeScalableTargets"
    aws.refuse("describe_scalable_targets", "AccessDeniedException", message, service=SCALING)

    change = autoscaling(plan(aws, billing))

    assert change.outcome is outcome
    assert "application-autoscaling:DescribeScalableTargets" in change.detail


@pytest.mark.parametrize("code", ["InternalServiceException", "AccessDeniedException"])
def test_a_service_that_does_not_answer_stops_nothing_that_does_not_need_it(aws: StubbedAws, code: str) -> None:
    aws.describe(**PROVISIONED)
    aws.refuse("describe_scalable_targets", code, "out of order", service=SCALING)

    planned = plan(aws, None)

    assert planned.is_converged
    assert autoscaling(planned).detail.startswith("not read. ")
    assert "out of order" in autoscaling(planned).detail


def test_a_service_that_does_not_answer_is_told_where_it_is_needed(aws: StubbedAws) -> None:
    aws.describe(**PROVISIONED)
    aws.refuse("describe_scalable_targets", "InternalServiceException", "out of order", service=SCALING)

    with pytest.raises(StorageUnavailable, match="out of order"):
        plan(aws, SCALED)


def test_a_policy_of_a_resource_whose_name_begins_alike_is_not_this_ones(aws: StubbedAws) -> None:
    table, index, *_ = TARGETS
    policy(aws, (index[0], table[1], table[2]))

    assert service.policies(service.target(EVENTS.name, READ), aws.client()) == []


def test_who_asks_dynamodb_once_waits_for_no_second_try_of_autoscaling_either(aws: StubbedAws) -> None:
    quick = aws_client(SCALING, HOME, quick=True)
    with Stubber(quick) as stub:
        stub.add_response("describe_scalable_targets", {"ScalableTargets": []})

        assert service.registered(EVENTS.name, [INDEX], dynamodb(HOME, quick=True)) == {}

        stub.assert_no_pending_responses()


def test_never_asks_aws_to_scale_a_table_of_an_emulator(aws: StubbedAws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:9")
    aws.describe(**PROVISIONED)

    change = autoscaling(plan(aws, SCALED))

    aws.finish()
    assert (change.outcome, change.detail) == (
        Outcome.UNSUPPORTED,
        "This DynamoDB engine has no Application Auto Scaling.",
    )
