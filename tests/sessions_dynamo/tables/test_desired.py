from __future__ import annotations

import pytest
from django.core.checks import run_checks
from pytest_django import Settings

from sessions_dynamo.checks import DYNAMODB
from sessions_dynamo.tables.desired import (
    MANAGED_KEY,
    ON_DEMAND,
    Billing,
    CapacityRange,
    Desired,
    InvalidDeclaration,
    declared,
    parse_billing,
    parse_key,
    parse_regions,
)

UUID = "12345678-1234-1234-1234-123456789012"


def test_nothing_is_wanted_that_nobody_declares(settings: Settings) -> None:
    assert declared() == Desired(environment=settings.ENVIRONMENT)


def test_reads_every_declaration_of_the_environment(settings: Settings) -> None:
    settings.ENVIRONMENT = "production"
    settings.DYNAMODB_BILLING = "provisioned:10:5:5:100"
    settings.DYNAMODB_PITR = "true"
    settings.DYNAMODB_DELETION_PROTECTION = "off"
    settings.DYNAMODB_KMS_KEY = "alias/sessions"
    settings.DYNAMODB_REPLICA_REGIONS = ["us-west-2", "eu-central-1", "us-west-2"]

    assert declared() == Desired(
        environment="production",
        billing=Billing("PROVISIONED", 10, 5, CapacityRange(5, 100)),
        recovery=True,
        deletion_protection=False,
        kms_key="alias/sessions",
        replica_regions=("us-west-2", "eu-central-1"),
    )


def test_reads_each_form_of_billing() -> None:
    assert parse_billing("on-demand") == ON_DEMAND
    assert parse_billing("provisioned:5:2") == Billing("PROVISIONED", 5, 2)


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("ondemand", "give on-demand, provisioned:READ:WRITE or provisioned:READ:WRITE:MIN:MAX"),
        ("provisioned", "provisioned:READ:WRITE"),
        ("provisioned:5", "provisioned:READ:WRITE"),
        ("provisioned:five:5", "provisioned:READ:WRITE"),
        ("provisioned:-5:5", "provisioned:READ:WRITE"),
        ("on-demand:5:5", "provisioned:READ:WRITE"),
        ("provisioned:0:5", "at least 1 read unit and 1 write unit"),
        ("provisioned:5:5:50:5", "50 to 5 is no range of capacity units"),
        ("provisioned:5:500:1:50", "500 write units lie outside"),
    ],
)
def test_says_how_billing_is_written(text: str, right: str) -> None:
    with pytest.raises(InvalidDeclaration, match=right):
        parse_billing(text)


@pytest.mark.parametrize(
    "key", ["alias/a-b_c/d", UUID, "mrk-" + "0" * 32, f"arn:aws:kms:eu-west-1:111122223333:key/{UUID}", "default"]
)
def test_takes_every_form_of_a_key(key: str) -> None:
    assert parse_key(key) == key


def test_takes_the_managed_key_by_either_name() -> None:
    assert parse_key("aws/dynamodb") == parse_key("alias/aws/dynamodb") == MANAGED_KEY


def test_takes_regions_as_a_text_with_commas() -> None:
    assert parse_regions("us-west-2, us-gov-west-1,,us-west-2") == ("us-west-2", "us-gov-west-1")
    assert parse_regions("") == ()


@pytest.mark.parametrize(
    ("variable", "value", "right"),
    [
        ("DYNAMODB_BILLING", "cheap", "give on-demand, provisioned:READ:WRITE"),
        ("DYNAMODB_PITR", "maybe", "'maybe' is neither true nor false"),
        ("DYNAMODB_DELETION_PROTECTION", "2", "neither true nor false"),
        ("DYNAMODB_KMS_KEY", "my key", "give alias/NAME, a key's id or ARN, aws/dynamodb or default"),
        ("DYNAMODB_REPLICA_REGIONS", ["Oregon"], "give names such as us-west-2,eu-west-1"),
    ],
)
def test_a_system_check_names_the_variable_and_the_right_form(
    settings: Settings, variable: str, value: object, right: str
) -> None:
    setattr(settings, variable, value)

    [found] = run_checks(tags=[DYNAMODB])

    assert found.id == "sessions_dynamo.E008"
    assert found.msg.startswith(f"{variable}: ")
    assert right in found.msg
    with pytest.raises(InvalidDeclaration, match=variable):
        declared()


@pytest.mark.parametrize(("value", "wanted"), [(True, True), (False, False), ("", None), (None, None)])
def test_a_project_may_declare_yes_and_no_as_booleans(settings: Settings, value: object, wanted: bool | None) -> None:
    settings.DYNAMODB_PITR = value
    assert declared().recovery is wanted
