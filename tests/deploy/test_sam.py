"""``deploy/sam/template.yaml``: its own linter and translator take it, and what they make of it is what was meant."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from django.core.management import load_command_class

from mcpsite.aws_lambda.scheduled import asked
from sessions_dynamo.cloudformation.alarms import ALARMS
from tests.deploy.templates import DEPLOY, lint, load, of_type, references, resolved, translated
from tests.docs.sites import documented_variables
from tests.iam import policies

TEMPLATE = "sam/template.yaml"
KEY = "arn:aws:kms:eu-west-1:111122223333:key/00000000-0000-0000-0000-000000000000"


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    """As it is written."""
    return load(TEMPLATE)


@pytest.fixture(scope="module")
def stack(template: dict[str, Any]) -> dict[str, Any]:
    """What CloudFormation is given."""
    return translated(copy.deepcopy(template))


@pytest.fixture(scope="module")
def resources(stack: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = stack["Resources"]
    return found


def test_the_linter_has_no_word_to_say() -> None:
    """It translates the template itself, and looks at what came of it."""
    assert lint((DEPLOY / TEMPLATE).read_text()) == []


def test_every_name_is_there_and_every_parameter_is_used(stack: dict[str, Any], template: dict[str, Any]) -> None:
    used = references(stack["Resources"]) | references(stack["Conditions"]) | references(stack["Outputs"])

    assert used <= stack["Parameters"].keys() | stack["Resources"].keys()
    assert template["Parameters"].keys() <= used
    conditions = {resource.get("Condition") for resource in stack["Resources"].values()} - {None}
    assert conditions <= stack["Conditions"].keys()


def test_a_version_is_published_with_its_snapshot_and_only_the_alias_is_called(resources: dict[str, Any]) -> None:
    function = resources["Function"]["Properties"]
    ((name, alias),) = of_type(resources, "AWS::Lambda::Alias").items()
    ((version, _),) = of_type(resources, "AWS::Lambda::Version").items()

    assert function["SnapStart"] == {"ApplyOn": "PublishedVersions"}
    assert (function["Runtime"], function["Handler"]) == ("python3.13", "mcpsite.lambda_handler.handler")
    assert alias["FunctionVersion"] == {"Fn::GetAtt": [version, "Version"]}
    called = {"Ref": name}
    assert [rule["Targets"][0]["Arn"] for rule in of_type(resources, "AWS::Events::Rule").values()] == [called] * 3
    permissions = of_type(resources, "AWS::Lambda::Permission").values()
    assert [permission["FunctionName"] for permission in permissions] == [called] * 6
    assert resources["HttpApi"]["Properties"]["Target"] == called
    assert resources["FunctionUrl"]["Properties"]["Qualifier"] == alias["Name"]
    assert resources["FunctionUrl"]["DependsOn"] == name


def test_a_change_of_the_environment_is_a_version_of_its_own(template: dict[str, Any]) -> None:
    def version(**variables: str) -> str:
        changed = copy.deepcopy(template)
        changed["Resources"]["Function"]["Properties"]["Environment"]["Variables"] |= variables
        return next(iter(of_type(translated(changed)["Resources"], "AWS::Lambda::Version")))

    assert version() == version()
    assert version() != version(LOG_LEVEL="DEBUG")


def test_schedules_run_the_commands_that_the_function_allows(stack: dict[str, Any]) -> None:
    rules = resolved(list(of_type(stack["Resources"], "AWS::Events::Rule").values()), stack, {})

    assert {rule["ScheduleExpression"]: json.loads(rule["Targets"][0]["Input"]) for rule in rules} == {
        "rate(1 hour)": {"command": "sessions_expire", "arguments": []},
        "rate(1 day)": {"command": "dynamodb_status", "arguments": ["--emf"]},
        "cron(15 3 * * ? *)": {"command": "dynamodb_backup", "arguments": ["daily", "--keep", "7"]},
    }
    for rule in rules:
        what = asked(json.loads(rule["Targets"][0]["Input"]))
        assert what is not None
        call = load_command_class("sessions_dynamo", what.command).create_parser("manage.py", what.command)
        call.parse_args(list(what.arguments))


@pytest.mark.parametrize(("backups", "state"), [("true", "ENABLED"), ("false", "DISABLED")])
def test_backups_are_made_unless_something_else_makes_them(stack: dict[str, Any], backups: str, state: str) -> None:
    given = {"Backups": backups, "BackupSchedule": "rate(2 days)", "BackupDays": "30"}
    rules = resolved(list(of_type(stack["Resources"], "AWS::Events::Rule").values()), stack, given)

    (rule,) = (rule for rule in rules if "dynamodb_backup" in rule["Targets"][0]["Input"])
    assert (rule["ScheduleExpression"], rule["State"]) == ("rate(2 days)", state)
    assert json.loads(rule["Targets"][0]["Input"])["arguments"] == ["daily", "--keep", "30"]


def test_each_front_door_is_open_by_itself(resources: dict[str, Any]) -> None:
    doors = {
        name: resource["Condition"]
        for name, resource in resources.items()
        if name.startswith(("FunctionUrl", "HttpApi"))
    }

    assert doors == {
        "FunctionUrl": "HasFunctionUrl",
        "FunctionUrlPermission": "HasFunctionUrl",
        "FunctionUrlInvokePermission": "HasFunctionUrl",
        "HttpApi": "HasHttpApi",
        "HttpApiPermission": "HasHttpApi",
    }
    # Since October 2025 a function URL needs both.
    actions = [resources[f"FunctionUrl{what}Permission"]["Properties"]["Action"] for what in ("", "Invoke")]
    assert actions == ["lambda:InvokeFunctionUrl", "lambda:InvokeFunction"]


def test_the_role_may_do_what_serving_and_the_schedules_do_and_nothing_else(resources: dict[str, Any]) -> None:
    role = resources["FunctionRole"]["Properties"]
    log, *always, of_backups, of_looking, of_the_key = role["Policies"]
    condition, backup, otherwise = of_backups["Fn::If"]
    assert (condition, otherwise) == ("MakesBackups", {"Ref": "AWS::NoValue"})
    allowed = {
        (statement["Sid"], action)
        for policy in (*always, backup)
        for statement in policy["PolicyDocument"]["Statement"]
        for action in statement["Action"]
    }

    wanted = {
        (statement.sid, action)
        for name in ("serve", "schedule", "backup")
        for statement in policies.statements(name)
        for action in statement.actions
    }
    assert allowed == wanted
    for given, expected in ((of_looking, ("StaffMayLook", "read-only")), (of_the_key, ("HasTablesKey", "kms-key"))):
        condition, policy, otherwise = given["Fn::If"]
        assert (condition, policy["PolicyName"], otherwise) == (*expected, {"Ref": "AWS::NoValue"})
    # What IAM takes of all inline policies of a role, without their blanks.
    assert len(json.dumps(role["Policies"], separators=(",", ":"))) < 10_240
    (of_the_log,) = log["PolicyDocument"]["Statement"]
    # It makes no group: one that came back after its stack would be in the next one's way.
    assert of_the_log["Action"] == ["logs:CreateLogStream", "logs:PutLogEvents"]
    assert of_the_log["Resource"] == {"Fn::GetAtt": ["LogGroup", "Arn"]}
    (in_a_vpc,) = role["ManagedPolicyArns"]
    assert in_a_vpc["Fn::If"][0] == "IsInVpc"
    assert in_a_vpc["Fn::If"][1]["Fn::Sub"].endswith("AWSLambdaVPCAccessExecutionRole")
    assert in_a_vpc["Fn::If"][2] == {"Ref": "AWS::NoValue"}


def test_tables_and_alarms_are_those_of_the_code(stack: dict[str, Any], resources: dict[str, Any]) -> None:
    printed = load("cloudformation/tables.json")
    monitored = load("cloudformation/monitoring.json")["Resources"]

    for name, table in printed["Resources"].items():
        made = resources[name]
        assert made.pop("Condition") == "MakesTables"
        assert resolved(made, stack, {}) == resolved(table, printed, {})
        assert resolved(made, stack, {"TablesKeyArn": KEY})["Properties"]["SSESpecification"]["KMSMasterKeyId"] == KEY
    assert {name: resources[name] for name in monitored} == monitored
    assert {alarm.logical_id for alarm in ALARMS} | {"FunctionErrorsAlarm"} == of_type(
        resources, "AWS::CloudWatch::Alarm"
    ).keys()


def test_the_function_is_in_a_vpc_where_it_is_given_subnets(stack: dict[str, Any], resources: dict[str, Any]) -> None:
    function = resources["Function"]["Properties"]

    assert "VpcConfig" not in resolved(function, stack, {})
    there = resolved(function, stack, {"SubnetIds": "subnet-1,subnet-2", "SecurityGroupIds": "sg-1"})
    assert there["VpcConfig"] == {"SubnetIds": "subnet-1,subnet-2", "SecurityGroupIds": "sg-1"}


def test_a_region_that_has_its_tables_and_its_key_makes_neither(template: dict[str, Any]) -> None:
    made = {name: each.get("Condition") for name, each in template["Resources"].items()}
    assert (made["SessionsTable"], made["EventsTable"], made["SecretKey"]) == (
        "MakesTables",
        "MakesTables",
        "MakesSecretKey",
    )
    variables = template["Resources"]["Function"]["Properties"]["Environment"]["Variables"]
    assert resolved(variables["SECRET_KEY"], template, {"SecretKeySecret": "mcp/key"}) == (
        "{{resolve:secretsmanager:mcp/key:SecretString}}"
    )


def test_the_environment_is_of_variables_that_the_site_reads(template: dict[str, Any]) -> None:
    variables = template["Resources"]["Function"]["Properties"]["Environment"]["Variables"]

    assert set(variables) <= documented_variables()


def test_only_the_tables_outlive_the_stack(resources: dict[str, Any]) -> None:
    kept = {name for name, resource in resources.items() if resource.get("DeletionPolicy", "").startswith("Retain")}

    # A version that CloudFormation keeps goes with its function.
    assert {name for name in kept if not name.startswith("FunctionVersion")} == {"SessionsTable", "EventsTable"}
