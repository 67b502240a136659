from __future__ import annotations

from typing import Any

import pytest

from sessions_dynamo.tables import plans, setup
from sessions_dynamo.tables.desired import Desired
from sessions_dynamo.tables.steps import Outcome, Step
from tests.sessions_dynamo.tables.aspects.aws import EVENTS, StubbedAws

KEYS_ONLY: dict[str, Any] = {"StreamSpecification": {"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"}}
OFF: dict[str, Any] = {"StreamSpecification": {"StreamEnabled": False}}
OTHER_VIEW_OFF = {"TableName": EVENTS.name, "StreamSpecification": {"StreamEnabled": False}}
ON = {
    "TableName": EVENTS.name,
    "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
}


@pytest.fixture
def planned(aws: StubbedAws) -> plans.TablePlan:
    """The plan for a table whose stream has another view type; AWS still turns it off when the new one is asked for."""
    aws.describe(**KEYS_ONLY)
    [planned] = setup.plan([EVENTS], client=aws.client(), desired=Desired("test"))
    aws.look(**KEYS_ONLY)
    aws.look(**KEYS_ONLY)
    aws.answer("update_table", {})
    aws.refuse("update_table", "ResourceInUseException", "Table is being updated")
    return planned


def apply(aws: StubbedAws, planned: plans.TablePlan, patience: float = 60) -> Step:
    return next(
        step for step in setup.apply([planned], client=aws.client(), patience=patience) if step.aspect == "stream"
    )


def test_a_stream_is_replaced_once_aws_has_turned_the_former_off(aws: StubbedAws, planned: plans.TablePlan) -> None:
    aws.look(**OFF)
    aws.answer("update_table", {})
    aws.look()

    step = apply(aws, planned)

    aws.finish()
    assert step.outcome is Outcome.CHANGED
    assert [params for _, _, params in aws.writes] == [OTHER_VIEW_OFF, ON, ON]


def test_without_patience_nobody_waits_until_it_is_off(aws: StubbedAws, planned: plans.TablePlan) -> None:
    step = apply(aws, planned, patience=0)

    aws.finish()
    assert step.outcome is Outcome.PENDING
    assert step.detail == "Table is being updated: run 'manage.py dynamodb_setup' again"
    assert [params for _, _, params in aws.writes] == [OTHER_VIEW_OFF, ON]
