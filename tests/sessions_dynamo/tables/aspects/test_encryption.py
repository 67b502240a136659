from __future__ import annotations

from typing import Any

import pytest

from sessions_dynamo.tables import plans, setup
from sessions_dynamo.tables.aspects.change import Change
from sessions_dynamo.tables.desired import DEFAULT_KEY, MANAGED_KEY, Desired
from sessions_dynamo.tables.steps import Outcome
from tests.sessions_dynamo.tables.aspects.aws import EVENTS, HOME, StubbedAws, described, key_arn, replica

OREGON = "us-west-2"
OLD, NEW = "11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"


def encrypted(key: str, status: str = "ENABLED") -> dict[str, Any]:
    return {"SSEDescription": {"Status": status, "SSEType": "KMS", "KMSMasterKeyArn": key_arn(key)}}


def plan(aws: StubbedAws, key: str | None) -> plans.TablePlan:
    return setup.plan([EVENTS], client=aws.client(), desired=Desired("test", kms_key=key))[0]


def encryption(planned: plans.TablePlan) -> Change:
    return next(change for change in planned.changes if change.aspect == "encryption")


def applied(aws: StubbedAws, planned: plans.TablePlan, **standing: Any) -> dict[str, Any]:
    """The parameters of the one request that the plan makes; it is waited for until AWS has changed the key."""
    aws.look(**standing)
    aws.answer("update_table", {})
    aws.look(**standing | encrypted(NEW, "UPDATING"))
    aws.look(**standing | encrypted(NEW))
    steps = setup.apply([planned], client=aws.client())
    aws.finish()
    assert next(step for step in steps if step.aspect == "encryption").outcome is Outcome.CHANGED
    [(region, operation, params)] = aws.writes
    assert (region, operation, params.pop("TableName")) == (HOME, "UpdateTable", EVENTS.name)
    return params


def test_gives_the_table_a_customers_key(aws: StubbedAws) -> None:
    aws.describe()
    aws.key(key_arn(NEW))
    planned = plan(aws, "alias/sessions")

    assert encryption(planned).detail == f"KMS alias/sessions ({key_arn(NEW)}), was AWS_OWNED_KEY"
    specification = {"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": "alias/sessions"}
    assert applied(aws, planned) == {"SSESpecification": specification}


def test_gives_the_table_the_key_that_aws_manages_without_naming_it(aws: StubbedAws) -> None:
    aws.describe(**encrypted(OLD))
    aws.key(key_arn(NEW), KeyManager="AWS")

    assert applied(aws, plan(aws, MANAGED_KEY)) == {"SSESpecification": {"Enabled": True, "SSEType": "KMS"}}


def test_goes_back_to_the_key_that_aws_owns(aws: StubbedAws) -> None:
    aws.describe(**encrypted(OLD))

    assert applied(aws, plan(aws, DEFAULT_KEY)) == {"SSESpecification": {"Enabled": False}}


def test_creates_a_table_with_its_key(aws: StubbedAws) -> None:
    aws.missing()
    aws.key(key_arn(NEW))
    planned = plan(aws, "alias/sessions")
    aws.answer("create_table", {"TableDescription": described()["Table"]})
    aws.look(TableStatus="CREATING")
    aws.look(**encrypted(NEW))
    aws.describe(**encrypted(NEW))
    aws.key(key_arn(NEW))

    steps = setup.apply([planned], client=aws.client())

    aws.finish()
    [(_, operation, params)] = aws.writes
    assert operation == "CreateTable"
    assert params["SSESpecification"] == {"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": "alias/sessions"}
    assert next(step for step in steps if step.aspect == "encryption").outcome is Outcome.CREATED


@pytest.mark.parametrize("key", [NEW, key_arn(NEW), "alias/sessions"])
def test_writes_nothing_where_the_key_stands(aws: StubbedAws, key: str) -> None:
    aws.describe(**encrypted(NEW))
    aws.key(key_arn(NEW))

    change = encryption(plan(aws, key))

    aws.finish()
    assert (change.outcome, change.detail) == (Outcome.UNCHANGED, f"KMS {key_arn(NEW)}")


def test_leaves_a_key_that_nobody_declared_and_asks_kms_nothing(aws: StubbedAws) -> None:
    aws.describe(**encrypted(OLD))

    change = encryption(plan(aws, None))

    aws.finish()
    assert (change.outcome, change.detail) == (Outcome.UNCHANGED, f"KMS {key_arn(OLD)}")


def test_changes_the_keys_of_all_regions_of_a_global_table_in_one_request(aws: StubbedAws) -> None:
    aws.describe(Replicas=[replica(OREGON, KMSMasterKeyId=key_arn(OLD, OREGON))], **encrypted(OLD))
    aws.describe(OREGON)
    aws.key(key_arn(NEW))
    aws.key(key_arn(NEW, OREGON), OREGON)
    planned = plan(aws, "alias/sessions")

    assert applied(aws, planned, Replicas=[replica(OREGON)]) == {
        "ReplicaUpdates": [
            {"Update": {"RegionName": HOME, "KMSMasterKeyId": key_arn(NEW)}},
            {"Update": {"RegionName": OREGON, "KMSMasterKeyId": key_arn(NEW, OREGON)}},
        ]
    }


def test_cannot_give_a_global_table_a_key_of_one_region(aws: StubbedAws) -> None:
    aws.describe(Replicas=[replica(OREGON)])
    aws.describe(OREGON)
    aws.key(key_arn(NEW))

    change = encryption(plan(aws, NEW))

    assert change.outcome is Outcome.CANNOT_CHANGE
    assert "an alias that exists in all of them, or a multi-Region key" in change.detail


@pytest.mark.parametrize(
    ("code", "metadata", "reason"),
    [
        ("NotFoundException", {}, "There is no KMS key alias/sessions in eu-west-1"),
        ("", {"KeyState": "Disabled"}, "is Disabled: enable it"),
        ("", {"KeySpec": "RSA_2048"}, "needs a symmetric one"),
    ],
)
def test_cannot_use_a_key_that_dynamodb_cannot(
    aws: StubbedAws, code: str, metadata: dict[str, str], reason: str
) -> None:
    aws.describe()
    if code:
        aws.refuse("describe_key", code, "no such key", service="kms")
    else:
        aws.key(key_arn(NEW), **metadata)

    change = encryption(plan(aws, "alias/sessions"))

    assert change.outcome is Outcome.CANNOT_CHANGE
    assert reason in change.detail


def test_names_the_kms_action_that_is_missing_and_plans_the_rest(aws: StubbedAws) -> None:
    aws.describe(tags={})
    denied = "User: x is not authorized to perform: kms:DescribeKey on resource: y"
    aws.refuse("describe_key", "AccessDeniedException", denied, service="kms")

    planned = plan(aws, "alias/sessions")

    assert encryption(planned).outcome is Outcome.DENIED
    assert "kms:DescribeKey" in encryption(planned).detail
    assert [change.aspect for change in planned.to_do] == ["tags"]
