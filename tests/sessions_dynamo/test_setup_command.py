from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.config import Config
from django.core.management import CommandError, call_command
from pytest_django import Settings

from sessions_dynamo import descriptions
from sessions_dynamo.management import console
from tests.engines import MOTO, on_dynamodb_local, on_moto
from tests.sessions_dynamo.test_tables import create_by_hand
from tests.sessions_dynamo.wire import answering, error, operations, writes

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_sts import STSClient


def setup(*arguments: str) -> str:
    """Run the command and return what it prints, runs of spaces made one."""
    out = io.StringIO()
    call_command("dynamodb_setup", *arguments, stdout=out, no_color=True)
    return re.sub(" +", " ", out.getvalue())


def test_prints_where_it_works_the_plan_every_step_and_the_next_command(
    engine: tuple[str, str], bare_dynamodb: DynamoDBClient, settings: Settings
) -> None:
    settings.DEBUG = True
    sessions, events = settings.DYNAMODB_SESSIONS_TABLE, settings.DYNAMODB_EVENTS_TABLE

    lines = setup().splitlines()

    assert lines[0] == f"DynamoDB: region eu-west-1, endpoint {engine[1]}"
    assert lines[1:3] == [f"Plan: create table {sessions}", f"Plan: create table {events}"]
    assert f"{sessions} table created key session_id (S), PAY_PER_REQUEST" in lines
    assert f"{sessions} index LastActivityIndex created key shard (S), last_activity (N)" in lines
    assert f"{sessions} stream created NEW_AND_OLD_IMAGES" in lines
    assert f"{sessions} ttl created on attribute ttl" in lines
    if engine[0] == MOTO:
        tags = "Environment=test, Application=mcp-sessions, Purpose=MCP session events"
        assert f"{events} tags created {tags}" in lines
    else:
        unsupported = "unsupported This DynamoDB engine does not support ListTagsOfResource."
        assert f"{events} tags {unsupported}" in lines
    assert lines[-2:] == [f"{sessions} and {events} are ready.", "Next: python manage.py runserver"]


def test_a_second_run_writes_nothing_and_says_unchanged(dynamodb: DynamoDBClient, settings: Settings) -> None:
    with operations(dynamodb) as sent:
        printed = setup()

    assert writes(sent) == []
    assert f"Plan: table {settings.DYNAMODB_SESSIONS_TABLE} exists, nothing to change" in printed
    assert " created " not in printed
    assert " changed " not in printed


def test_plans_only_what_a_hand_made_table_lacks(bare_dynamodb: DynamoDBClient, settings: Settings) -> None:
    create_by_hand(bare_dynamodb, settings.DYNAMODB_SESSIONS_TABLE)

    printed = setup()

    plan = next(line for line in printed.splitlines() if line.startswith("Plan: table"))
    indexes = "index LastActivityIndex, index CreatedAtIndex, index PrincipalIndex"
    assert plan.startswith(f"Plan: table {settings.DYNAMODB_SESSIONS_TABLE} exists, change {indexes}, stream, ttl")


def test_takes_names_region_and_environment_and_says_what_the_service_must_be_told(
    engine: tuple[str, str], bare_dynamodb: DynamoDBClient, settings: Settings
) -> None:
    # The fixture removes the tables by their names in the settings; these options then differ from the settings.
    sessions, events = settings.DYNAMODB_SESSIONS_TABLE, settings.DYNAMODB_EVENTS_TABLE
    settings.DYNAMODB_SESSIONS_TABLE, settings.DYNAMODB_EVENTS_TABLE = "other-sessions", "other-events"
    options = ["--sessions-table", sessions, "--events-table", events, "--region", "us-west-2"]

    printed = setup(*options, "--environment", "staging")

    assert printed.startswith("DynamoDB: region us-west-2")
    variables = f"AWS_REGION=us-west-2 DYNAMODB_SESSIONS_TABLE={sessions} DYNAMODB_EVENTS_TABLE={events}"
    assert printed.splitlines()[-1] == f"Next: {variables} gunicorn mcpsite.wsgi"
    if engine[0] == MOTO:
        assert "Environment=staging" in printed


def test_without_debug_the_next_command_is_gunicorn(dynamodb: DynamoDBClient) -> None:
    assert setup().splitlines()[-1] == "Next: gunicorn mcpsite.wsgi"


@on_dynamodb_local
def test_no_wait_says_what_is_pending_and_to_run_again(bare_dynamodb: DynamoDBClient, settings: Settings) -> None:
    create_by_hand(bare_dynamodb, settings.DYNAMODB_SESSIONS_TABLE)

    printed = setup("--no-wait")

    assert "index CreatedAtIndex pending" in printed
    assert printed.splitlines()[-1].startswith("Next: python manage.py dynamodb_setup, again")
    assert setup().splitlines()[-1] == "Next: gunicorn mcpsite.wsgi"


@on_moto
def test_refuses_a_table_with_another_key(bare_dynamodb: DynamoDBClient, settings: Settings) -> None:
    create_by_hand(bare_dynamodb, settings.DYNAMODB_EVENTS_TABLE)

    with pytest.raises(CommandError, match=r"needs the key session_id \(S\), event_id \(S\).*choose another name"):
        setup()


@on_moto
def test_names_the_iam_action_that_is_missing(bare_dynamodb: DynamoDBClient) -> None:
    denied = error("AccessDeniedException", "User is not authorized to perform: dynamodb:CreateTable")

    with answering(bare_dynamodb, "CreateTable", denied), pytest.raises(CommandError, match="dynamodb:CreateTable"):
        setup()


class TestAccount:
    """Only AWS has accounts, and no test reaches AWS: the answers of STS are given here."""

    @pytest.fixture
    def aws(self, monkeypatch: pytest.MonkeyPatch) -> DynamoDBClient:
        monkeypatch.delenv("AWS_ENDPOINT_URL")
        client: DynamoDBClient = boto3.session.Session().client("dynamodb", region_name="eu-west-1")
        assert descriptions.is_aws(client)
        return client

    @pytest.fixture
    def sts(self, monkeypatch: pytest.MonkeyPatch) -> STSClient:
        client: STSClient = boto3.session.Session().client("sts", region_name="eu-west-1")
        monkeypatch.setattr(console, "aws_client", lambda service, region: client)
        return client

    def test_prints_the_account_on_aws(self, aws: DynamoDBClient, sts: STSClient) -> None:
        with answering(sts, "GetCallerIdentity", {"Account": "111122223333"}):
            assert console.location(aws) == "region eu-west-1, account 111122223333"

    def test_goes_on_where_only_dynamodb_can_be_reached(
        self, aws: DynamoDBClient, sts: STSClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        once = Config(retries={"total_max_attempts": 1})
        nowhere = boto3.session.Session().client(
            "sts", region_name="eu-west-1", endpoint_url="http://127.0.0.1:9", config=once
        )
        monkeypatch.setattr(console, "aws_client", lambda service, region: nowhere)

        assert console.location(aws) == "region eu-west-1, account unknown (STS cannot be reached)"
