from __future__ import annotations

import io
import itertools
import json
import re
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from django.core.management import CommandError, call_command
from pytest_django import Settings

from sessions_dynamo import schema
from sessions_dynamo.client import is_aws
from sessions_dynamo.management import console
from sessions_dynamo.tables import describing
from tests.engines import MOTO, on_dynamodb_local, on_moto
from tests.sessions_dynamo.tables.test_setup import create_by_hand
from tests.sessions_dynamo.wire import answering, error, operations, writes

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_sts import STSClient


def setup(*arguments: str) -> str:
    """Run the command and return what it prints, runs of spaces made one."""
    out = io.StringIO()
    call_command("dynamodb_setup", *arguments, stdout=out, stderr=io.StringIO(), no_color=True)
    return re.sub(" +", " ", out.getvalue())


def status(*arguments: str) -> tuple[int, str]:
    """Run the command, which ends the process itself; its exit status, and what it prints."""
    out = io.StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("dynamodb_setup", *arguments, stdout=out, stderr=io.StringIO(), no_color=True)
    return ended.value.code, re.sub(" +", " ", out.getvalue())  # type: ignore[return-value]


def section(printed: str, name: str) -> list[str]:
    """The lines under ``Plan``, ``Steps`` or ``Now``."""
    lines = printed.splitlines()
    begin = next(at for at, line in enumerate(lines) if line.startswith(f"{name}:"))
    heads = ("Steps:", "Now:", "Next:", "Some of it")
    return list(itertools.takewhile(lambda line: not line.startswith(heads), lines[begin + 1 :]))


def test_prints_where_it_works_the_plan_every_step_what_stands_and_the_next_command(
    engine: tuple[str, str], bare_dynamodb: DynamoDBClient, settings: Settings
) -> None:
    settings.DEBUG = True
    sessions, events = settings.DYNAMODB_SESSIONS_TABLE, settings.DYNAMODB_EVENTS_TABLE

    printed = setup()

    assert printed.splitlines()[0] == f"DynamoDB: region eu-west-1, endpoint {engine[1]}"
    plan, steps, now = (section(printed, name) for name in ("Plan", "Steps", "Now"))
    for made, lines in (("create", plan), ("created", steps)):
        assert f"{sessions} table {made} key session_id (S)" in lines
        assert f"{sessions} billing {made} PAY_PER_REQUEST" in lines
        assert f"{sessions} index LastActivityIndex {made} key shard (S), last_activity (N)" in lines
        assert f"{sessions} stream {made} NEW_AND_OLD_IMAGES" in lines
        assert f"{sessions} ttl {made} on attribute ttl" in lines
    if engine[0] == MOTO:
        tags = "Environment=test, Application=mcp-sessions, Purpose=MCP session events"
        assert f"{events} tags created {tags}" in steps
    else:
        unsupported = "unsupported This DynamoDB engine does not support"
        assert f"{events} tags {unsupported} ListTagsOfResource." in steps
        assert f"{events} pitr {unsupported} DescribeContinuousBackups." in steps
    stands = f"{sessions} ACTIVE, PAY_PER_REQUEST, indexes 3, stream NEW_AND_OLD_IMAGES, TTL ENABLED on ttl"
    assert now[0].startswith(stands)
    assert printed.splitlines()[-2:] == [f"{sessions} and {events} are ready.", "Next: python manage.py runserver"]


def test_a_second_run_writes_nothing_and_says_unchanged(dynamodb: DynamoDBClient, settings: Settings) -> None:
    with operations(dynamodb) as sent:
        printed = setup()

    assert writes(sent) == []
    assert f"Plan: table {settings.DYNAMODB_SESSIONS_TABLE} exists, nothing to change" in printed
    assert f"{settings.DYNAMODB_SESSIONS_TABLE} stream unchanged NEW_AND_OLD_IMAGES" in section(printed, "Plan")
    assert not re.search(r" (create|created|changed) ", printed)
    assert "Steps: none" in printed.splitlines()


def test_plans_only_what_a_hand_made_table_lacks(bare_dynamodb: DynamoDBClient, settings: Settings) -> None:
    sessions = settings.DYNAMODB_SESSIONS_TABLE
    create_by_hand(bare_dynamodb, sessions)

    printed = setup()

    plan = section(printed, "Plan")
    assert f"Plan: table {sessions} exists, change stream, ttl, " in printed
    ours = [line.removeprefix(f"{sessions} ") for line in plan if line.startswith(sessions)]
    created = {line.partition(" create ")[0] for line in ours if " create " in line}
    assert created - {"tags"} == {f"index {index.name}" for index in schema.SESSIONS.indexes} | {"stream", "ttl"}
    assert "billing unchanged PAY_PER_REQUEST" in ours


class TestPlan:
    """``--plan`` changes nothing, and its exit status says whether something would change."""

    def test_exits_2_when_something_would_change(self, bare_dynamodb: DynamoDBClient, settings: Settings) -> None:
        with operations(bare_dynamodb) as sent:
            code, printed = status("--plan", "--pitr", "--no-deletion-protection", "--regions", "us-west-2,us-east-2")

        assert code == 2
        assert writes(sent) == []
        assert f"{settings.DYNAMODB_SESSIONS_TABLE} table create key session_id (S)" in printed
        assert f"{settings.DYNAMODB_SESSIONS_TABLE} does not exist" in section(printed, "Now")
        again = "--regions us-west-2,us-east-2 --pitr --no-deletion-protection"
        assert printed.splitlines()[-1] == f"Next: python manage.py dynamodb_setup {again}"

    def test_exits_0_when_all_stands(self, dynamodb: DynamoDBClient) -> None:
        assert status("--plan")[0] == 0

    @on_moto
    def test_exits_1_when_all_that_differs_cannot_be_changed(
        self, dynamodb: DynamoDBClient, settings: Settings
    ) -> None:
        dynamodb.delete_table(TableName=settings.DYNAMODB_EVENTS_TABLE)
        create_by_hand(dynamodb, settings.DYNAMODB_EVENTS_TABLE)

        code, printed = status("--plan")

        assert code == 1
        assert f"{settings.DYNAMODB_EVENTS_TABLE} table cannot change Table" in printed
        assert f"Plan: table {settings.DYNAMODB_EVENTS_TABLE} stays as it is: cannot change table" in printed


class TestJson:
    """``--json`` prints one document and nothing else."""

    def test_tells_the_plan_the_steps_and_the_tables(self, bare_dynamodb: DynamoDBClient, settings: Settings) -> None:
        document = json.loads(setup("--json"))

        sessions = settings.DYNAMODB_SESSIONS_TABLE
        planned, steps = document["plan"][0], document["steps"]
        assert planned["table"] == sessions
        assert planned["converged"] is False
        change = {"aspect": "ttl", "outcome": "create", "detail": "on attribute ttl"}
        assert change in planned["changes"]
        assert change | {"table": sessions, "outcome": "created"} in steps
        assert document["tables"][0]["time_to_live"] == {"status": "ENABLED", "attribute": "ttl"}
        assert document["pending"] is False
        assert document["location"].startswith("region eu-west-1, endpoint")

    def test_goes_with_plan(self, dynamodb: DynamoDBClient) -> None:
        code, printed = status("--plan", "--json")

        document = json.loads(printed)
        assert code == 0
        assert [table["converged"] for table in document["plan"]] == [True, True]
        assert document["steps"] == []
        assert len(document["tables"]) == 2

    @on_moto
    def test_tells_what_was_done_before_an_error(self, bare_dynamodb: DynamoDBClient, settings: Settings) -> None:
        out = io.StringIO()
        broken = error("InternalServerError", "it broke")

        with answering(bare_dynamodb, "UpdateTimeToLive", broken), pytest.raises(CommandError, match="it broke"):
            call_command("dynamodb_setup", "--json", stdout=out, stderr=io.StringIO())

        document = json.loads(out.getvalue())
        assert "it broke" in document["error"]
        assert document["steps"][0]["outcome"] == "created"

    @on_moto
    def test_tells_an_error_of_the_first_look(self, bare_dynamodb: DynamoDBClient) -> None:
        out = io.StringIO()
        broken = error("InternalServerError", "it broke")

        with answering(bare_dynamodb, "DescribeTable", broken), pytest.raises(CommandError, match="it broke"):
            call_command("dynamodb_setup", "--json", stdout=out, stderr=io.StringIO())

        document = json.loads(out.getvalue())
        assert "it broke" in document["error"]
        assert document["plan"] == document["steps"] == []


def test_changes_all_that_the_options_ask_for(
    engine: tuple[str, str], dynamodb: DynamoDBClient, settings: Settings
) -> None:
    options = ["--billing", "provisioned", "--read", "4", "--write", "3", "--autoscale", "2:20", "--pitr"]

    printed = setup(*options, "--deletion-protection", "--environment", "staging", "--kms-key", "default")

    steps = section(printed, "Steps")
    sessions = settings.DYNAMODB_SESSIONS_TABLE
    assert f"{sessions} billing changed PROVISIONED, 4 read, 3 write, was PAY_PER_REQUEST" in steps
    assert f"{sessions} deletion protection changed on, was off" in steps
    assert f"{sessions} encryption unsupported This DynamoDB engine does not encrypt." in section(printed, "Plan")
    live = describing.describe(sessions)
    assert (live.read_capacity, live.write_capacity) == (4, 3)
    assert [(index.read_capacity, index.write_capacity) for index in live.indexes] == [(4, 3)] * 3
    if engine[0] == MOTO:
        assert f"{sessions} autoscaling created 2 to 20 units at 70 %, for the table and each index" in steps
        assert live.point_in_time_recovery
        assert live.point_in_time_recovery.status == "ENABLED"
        assert live.tags
        assert live.tags["Environment"] == "staging"
    else:
        assert f"{sessions} autoscaling unsupported This DynamoDB engine has no Application Auto Scaling." in printed


def test_an_option_wins_over_a_declaration_and_a_declaration_over_what_stands(
    dynamodb: DynamoDBClient, settings: Settings
) -> None:
    settings.DYNAMODB_DELETION_PROTECTION = "true"
    settings.DYNAMODB_BILLING = "provisioned:5:5"

    setup("--billing", "on-demand")

    live = describing.describe(settings.DYNAMODB_SESSIONS_TABLE)
    assert (live.billing_mode, live.deletion_protection) == ("PAY_PER_REQUEST", True)
    setup()
    assert describing.describe(settings.DYNAMODB_SESSIONS_TABLE).billing_mode == "PROVISIONED"


def test_replicas_are_aws_s_alone(dynamodb: DynamoDBClient, settings: Settings) -> None:
    with operations(dynamodb) as sent:
        printed = setup("--regions", "us-west-2,eu-west-1")

    assert writes(sent) == []
    unsupported = "replica us-west-2 unsupported This DynamoDB engine has no global tables."
    assert f"{settings.DYNAMODB_SESSIONS_TABLE} {unsupported}" in section(printed, "Plan")
    assert "replica eu-west-1" not in printed
    assert "tags us-west-2" not in printed


@pytest.mark.parametrize(
    ("options", "right"),
    [
        (["--read", "5"], "need --billing provisioned"),
        (["--billing", "provisioned", "--read", "5"], "needs --read N and --write N"),
        (["--billing", "provisioned", "--read", "5", "--write", "0"], "at least 1 read unit and 1 write unit"),
        (["--billing", "provisioned", "--read", "5", "--write", "5", "--autoscale", "5-50"], "give MIN:MAX"),
        (["--billing", "provisioned", "--read", "5", "--write", "5", "--autoscale", "6:50"], "lie outside"),
        (["--billing", "cheap"], "invalid choice: 'cheap'"),
        (["--kms-key", ""], "give alias/NAME"),
        (["--regions", "Oregon"], "'Oregon' is no AWS region"),
        (["--sessions-table", "my sessions"], "'my sessions' is no table name: 3 to 255 letters"),
        (["--sessions-table", "one", "--events-table", "one"], "cannot share the table one"),
    ],
)
def test_says_how_an_option_is_written(options: list[str], right: str) -> None:
    with pytest.raises(CommandError, match=right):
        setup(*options)


@on_moto
def test_ctrl_c_ends_with_the_command_that_completes_it(bare_dynamodb: DynamoDBClient, settings: Settings) -> None:
    settings.DEBUG = True
    err = io.StringIO()

    def interrupt(**_: Any) -> None:
        raise KeyboardInterrupt

    bare_dynamodb.meta.events.register("before-call.dynamodb.UpdateTimeToLive", interrupt)
    with pytest.raises(SystemExit) as ended:
        call_command("dynamodb_setup", "--pitr", stdout=io.StringIO(), stderr=err, no_color=True)
    bare_dynamodb.meta.events.unregister("before-call.dynamodb.UpdateTimeToLive", interrupt)

    assert ended.value.code == 130
    assert err.getvalue() == "\nInterrupted. To complete it, run again: python manage.py dynamodb_setup --pitr\n"
    assert setup("--pitr").splitlines()[-2].endswith("are ready.")


@on_moto
def test_what_aws_delays_is_pending_with_the_command_to_run_again(
    bare_dynamodb: DynamoDBClient, settings: Settings
) -> None:
    locked = error("ValidationException", "Time to live has been modified multiple times within a fixed interval")

    with answering(bare_dynamodb, "UpdateTimeToLive", locked):
        printed = setup("--deletion-protection")

    assert "ttl pending AWS locks Time to Live for up to an hour after a change: run 'manage.py dynamodb_setup'" in (
        printed
    )
    assert printed.splitlines()[-2:] == [
        "Some of it is pending.",
        "Next: python manage.py dynamodb_setup --deletion-protection",
    ]


@on_dynamodb_local
def test_says_what_it_waits_for_and_how_long_it_has_been(
    bare_dynamodb: DynamoDBClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console.Waiting, "QUIET_SECONDS", 0.0)
    create_by_hand(bare_dynamodb, settings.DYNAMODB_SESSIONS_TABLE)

    printed = setup()

    waited = f"waiting for {settings.DYNAMODB_SESSIONS_TABLE}: index LastActivityIndex CREATING, 0 s"
    assert waited in printed.splitlines()


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
    assert printed.splitlines()[-1] == f"Next: {variables} gunicorn mcpsite.asgi"
    if engine[0] == MOTO:
        assert "Environment=staging" in printed


def test_without_debug_the_next_command_is_gunicorn(dynamodb: DynamoDBClient) -> None:
    assert setup().splitlines()[-1] == "Next: gunicorn mcpsite.asgi"


@on_dynamodb_local
def test_no_wait_says_what_is_pending_and_to_run_again(bare_dynamodb: DynamoDBClient, settings: Settings) -> None:
    create_by_hand(bare_dynamodb, settings.DYNAMODB_SESSIONS_TABLE)

    printed = setup("--no-wait")

    assert "index CreatedAtIndex pending" in printed
    assert printed.splitlines()[-1] == "Next: python manage.py dynamodb_setup --no-wait"
    assert setup().splitlines()[-1] == "Next: gunicorn mcpsite.asgi"


@on_moto
def test_refuses_a_table_with_another_key_and_makes_the_other(
    bare_dynamodb: DynamoDBClient, settings: Settings
) -> None:
    create_by_hand(bare_dynamodb, settings.DYNAMODB_EVENTS_TABLE)

    with pytest.raises(
        CommandError, match=r"needs the key session_id \(S\), event_id \(S\).*choose another name"
    ) as no:
        setup()

    assert f"Nothing of {settings.DYNAMODB_EVENTS_TABLE} was changed." in str(no.value)
    assert no.value.returncode == 1
    assert not describing.describe(settings.DYNAMODB_EVENTS_TABLE).stream.enabled
    assert describing.describe(settings.DYNAMODB_SESSIONS_TABLE).stream.enabled


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
        assert is_aws(client)
        return client

    @pytest.fixture
    def sts(self, monkeypatch: pytest.MonkeyPatch) -> STSClient:
        client: STSClient = boto3.session.Session().client("sts", region_name="eu-west-1")
        monkeypatch.setattr(console, "aws_client", lambda service, region, quick: client)
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
        monkeypatch.setattr(console, "aws_client", lambda service, region, quick: nowhere)

        assert console.location(aws) == "region eu-west-1, account unknown (STS cannot be reached)"


@on_moto
@pytest.mark.parametrize(
    ("debug", "variable", "option", "warned"),
    [
        (False, "", [], True),
        (True, "", [], False),
        (False, "production", [], False),
        (False, "development", [], False),
        (False, "", ["--environment", "staging"], False),
    ],
)
def test_what_looks_like_production_is_told_of_a_tag_that_nobody_has_said(
    bare_dynamodb: DynamoDBClient,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    debug: bool,
    variable: str,
    option: list[str],
    warned: bool,
) -> None:
    settings.DEBUG, settings.ENVIRONMENT = debug, variable or "development"
    monkeypatch.setenv("ENVIRONMENT", variable)
    err = io.StringIO()

    with pytest.raises(SystemExit):
        call_command("dynamodb_setup", "--plan", *option, stdout=io.StringIO(), stderr=err, no_color=True)

    said = err.getvalue()
    assert ("Warning: DEBUG is off, and ENVIRONMENT is not set" in said) == warned
    assert ("give --environment production" in said) == warned
