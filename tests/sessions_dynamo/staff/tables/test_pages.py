"""The tables page: what stands, how it differs from what is declared, and the button that brings it there."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.admin.models import ADDITION, CHANGE, LogEntry
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from sessions_dynamo.client import aws_client
from sessions_dynamo.client import dynamodb as client_of
from sessions_dynamo.tables import describing, setup
from sessions_dynamo.tables.names import named_tables
from tests.engines import on_dynamodb_local, on_moto
from tests.sessions_dynamo.wire import answering, error, operations, writes

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

pytestmark = pytest.mark.django_db

MAX_REQUESTS = 14
"""What a staff page may ask of DynamoDB: one Query a shard, and six more."""


@pytest.fixture
def manager(staff_client: Callable[..., Client]) -> Client:
    return staff_client("view_session", "manage_tables")


@pytest.fixture
def quick(bare_dynamodb: DynamoDBClient) -> DynamoDBClient:
    """The client that pages read through."""
    return client_of(quick=True)


def page(client: Client) -> str:
    answer = client.get(reverse("mcp_staff:tables"))
    assert answer.status_code == 200
    return answer.content.decode()


def plan_of(client: Client) -> str:
    return client.get(reverse("mcp_staff:tables-converge")).content.decode()


def confirm(client: Client, plan: str) -> Any:
    digest = re.findall(r'name="plan" value="([^"]+)"', plan)[0]
    return client.post(reverse("mcp_staff:tables-converge"), {"confirmed": "yes", "plan": digest})


def stop_stream(client: DynamoDBClient, settings: Settings) -> str:
    name = str(settings.DYNAMODB_SESSIONS_TABLE)
    client.update_table(TableName=name, StreamSpecification={"StreamEnabled": False})
    return name


class TestWhatStands:
    def test_both_tables_are_shown_with_what_they_are(self, dynamodb: DynamoDBClient, viewer: Client) -> None:
        shown = page(viewer)
        for live in (describing.describe(table.name) for table in named_tables()):
            assert live.name in shown
            assert str(live.arn) in shown
            assert str(live.stream.arn) in shown
        for name in ("LastActivityIndex", "CreatedAtIndex", "PrincipalIndex", "TimestampIndex", "KEYS_ONLY"):
            assert name in shown
        assert "As declared" in shown
        assert "data-refresh" not in shown

    @on_moto
    def test_tags_are_text(self, dynamodb: DynamoDBClient, viewer: Client) -> None:
        arn = str(describing.describe(named_tables()[0].name).arn)
        dynamodb.tag_resource(ResourceArn=arn, Tags=[{"Key": "Team", "Value": "<script>alert(1)</script>"}])
        shown = page(viewer)
        assert "Purpose" in shown
        assert "<bdi>&lt;script&gt;alert(1)&lt;/script&gt;</bdi>" in shown
        assert "<script>alert(1)" not in shown

    @on_dynamodb_local
    def test_what_the_engine_does_not_know_says_so(self, dynamodb: DynamoDBClient, viewer: Client) -> None:
        assert "does not support ListTagsOfResource" in page(viewer)

    @on_moto
    def test_what_may_not_be_read_names_the_permission(
        self, dynamodb: DynamoDBClient, quick: DynamoDBClient, viewer: Client
    ) -> None:
        with answering(quick, "DescribeTimeToLive", error("AccessDeniedException", "no")):
            assert "dynamodb:DescribeTimeToLive is needed" in page(viewer)

    @on_moto
    def test_autoscaling_that_is_declared_and_stands_is_no_drift(
        self, dynamodb: DynamoDBClient, viewer: Client, settings: Settings
    ) -> None:
        settings.DYNAMODB_BILLING = "provisioned:5:6:1:50"
        setup.ensure_tables()
        assert "As declared" in page(viewer)

    @on_moto
    def test_a_service_that_does_not_answer_leaves_what_dynamodb_says(
        self, dynamodb: DynamoDBClient, viewer: Client, settings: Settings
    ) -> None:
        name = settings.DYNAMODB_SESSIONS_TABLE
        dynamodb.update_table(
            TableName=name,
            BillingMode="PROVISIONED",
            ProvisionedThroughput={"ReadCapacityUnits": 5, "WriteCapacityUnits": 6},
        )
        settings.DYNAMODB_BILLING = "provisioned:5:6:1:50"
        scaling = aws_client("application-autoscaling", dynamodb.meta.region_name, quick=True)
        with answering(scaling, "DescribeScalableTargets", error("InternalServiceException", "out of order")):
            shown = page(viewer)
        assert "Not compared with what is declared" in shown
        assert "out of order" in shown
        assert "5 read and 6 write units" in shown

    @on_moto
    def test_what_aws_is_busy_with_is_looked_at_again(
        self, dynamodb: DynamoDBClient, quick: DynamoDBClient, viewer: Client, settings: Settings
    ) -> None:
        busy = dynamodb.describe_table(TableName=settings.DYNAMODB_SESSIONS_TABLE)
        busy["Table"]["TableStatus"] = "UPDATING"
        with answering(quick, "DescribeTable", dict(busy)):
            shown = page(viewer)
        assert 'hx-trigger="every 4s"' in shown
        assert "AWS is at work" in shown

    def test_the_page_costs_the_same_few_requests(
        self, dynamodb: DynamoDBClient, quick: DynamoDBClient, viewer: Client
    ) -> None:
        page(viewer)
        with operations(quick) as sent, operations(dynamodb) as others:
            page(viewer)
        assert len(sent) + len(others) <= MAX_REQUESTS
        assert writes(sent + others) == []


class TestDrift:
    def test_drift_is_named_and_converged_after_its_plan(
        self, dynamodb: DynamoDBClient, manager: Client, settings: Settings
    ) -> None:
        name = stop_stream(dynamodb, settings)
        assert "Drift from what is declared" in page(manager)
        plan = plan_of(manager)
        assert name in plan
        assert not describing.describe(name).stream.enabled

        answer = confirm(manager, plan)

        assert answer.status_code == 200
        assert "What was done" in answer.content.decode()
        assert describing.describe(name).stream.enabled
        entry = LogEntry.objects.get()
        assert (entry.object_id, entry.action_flag) == (name, CHANGE)
        assert "stream" in entry.change_message
        assert "As declared" in page(manager)
        assert "Nothing is to be done" in plan_of(manager)

    @on_moto
    def test_a_plan_that_was_not_read_is_not_carried_out(
        self, dynamodb: DynamoDBClient, manager: Client, settings: Settings
    ) -> None:
        name = stop_stream(dynamodb, settings)
        plan = plan_of(manager)
        settings.DYNAMODB_DELETION_PROTECTION = "true"
        answer = confirm(manager, plan)
        assert "have changed since you read the plan" in answer.content.decode()
        unread = manager.post(reverse("mcp_staff:tables-converge"), {"confirmed": "yes"})
        assert "have changed since you read the plan" in unread.content.decode()
        assert not describing.describe(name).stream.enabled
        assert not describing.describe(name).deletion_protection
        assert not LogEntry.objects.exists()

    @on_moto
    def test_the_button_is_for_those_who_may(
        self, dynamodb: DynamoDBClient, viewer: Client, manager: Client, settings: Settings
    ) -> None:
        stop_stream(dynamodb, settings)
        link = reverse("mcp_staff:tables-converge")
        assert f'href="{link}"' in page(manager)
        assert f'href="{link}"' not in page(viewer)
        assert "sessions_dynamo.manage_tables" in page(viewer)
        assert viewer.get(link).status_code == 403
        assert viewer.post(link, {"confirmed": "yes"}).status_code == 403

    @on_moto
    def test_what_fails_leaves_what_was_done_on_record(
        self, dynamodb: DynamoDBClient, manager: Client, settings: Settings
    ) -> None:
        name = stop_stream(dynamodb, settings)
        dynamodb.update_time_to_live(TableName=name, TimeToLiveSpecification={"Enabled": False, "AttributeName": "ttl"})
        plan = plan_of(manager)
        with answering(dynamodb, "UpdateTimeToLive", error("InternalServerError", "not today")):
            shown = confirm(manager, plan).content.decode()
        assert "not today" in shown
        assert "What was done until then stands" in shown
        assert describing.describe(name).stream.enabled
        assert LogEntry.objects.get().object_id == name

    @on_moto
    def test_what_aws_locks_for_a_while_is_pending(
        self, dynamodb: DynamoDBClient, manager: Client, settings: Settings
    ) -> None:
        dynamodb.update_time_to_live(
            TableName=settings.DYNAMODB_SESSIONS_TABLE,
            TimeToLiveSpecification={"Enabled": False, "AttributeName": "ttl"},
        )
        plan = plan_of(manager)
        locked = error("ValidationException", "Time to live has been modified multiple times within a fixed interval")
        with answering(dynamodb, "UpdateTimeToLive", locked):
            shown = confirm(manager, plan).content.decode()
        assert "pending" in shown
        assert "locks Time to Live for up to an hour" in shown
        assert not LogEntry.objects.exists()

    def test_a_table_with_another_key_is_left_alone(
        self, bare_dynamodb: DynamoDBClient, manager: Client, settings: Settings
    ) -> None:
        bare_dynamodb.create_table(
            TableName=settings.DYNAMODB_SESSIONS_TABLE,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        shown = page(manager)
        assert "cannot change" in shown
        assert "choose another name" in shown

    @on_moto
    def test_a_declaration_that_cannot_be_meant_is_named(
        self, dynamodb: DynamoDBClient, manager: Client, settings: Settings
    ) -> None:
        stop_stream(dynamodb, settings)
        settings.DYNAMODB_BILLING = "cheap"
        shown = page(manager)
        assert "DYNAMODB_BILLING" in shown
        assert reverse("mcp_staff:tables-converge") not in shown
        assert manager.get(reverse("mcp_staff:tables-converge")).status_code == 400


class TestMissing:
    def test_tables_that_are_missing_are_created_from_the_page(
        self, bare_dynamodb: DynamoDBClient, manager: Client, viewer: Client
    ) -> None:
        shown = page(manager)
        assert "2 tables missing" in shown
        assert "dynamodb_setup" in shown
        assert reverse("mcp_staff:tables-converge") not in page(viewer)

        # Nothing waits for a table: what is pending is done by pressing again.
        for _ in range(10):
            confirm(manager, plan_of(manager))
            if "As declared" in page(manager):
                break

        assert all(planned.is_converged for planned in setup.plan())
        created = LogEntry.objects.filter(action_flag=ADDITION)
        assert {entry.object_id for entry in created} == {table.name for table in named_tables()}
