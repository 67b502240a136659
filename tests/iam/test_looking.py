"""What the rest of the suite does not look at, and the policies speak of."""

from __future__ import annotations

import io

from django.core.management import call_command
from mypy_boto3_dynamodb import DynamoDBClient
from pytest_django import Settings

from tests.engines import on_moto


@on_moto
def test_the_status_of_autoscaled_tables_reads_their_policies(
    bare_dynamodb: DynamoDBClient, settings: Settings
) -> None:
    settings.DYNAMODB_BILLING = "provisioned:5:5:5:50"
    call_command("dynamodb_setup", stdout=io.StringIO())
    out = io.StringIO()

    call_command("dynamodb_status", stdout=out)

    assert "PROVISIONED" in out.getvalue()
    assert "autoscaling" not in out.getvalue().partition("attention")[2]
