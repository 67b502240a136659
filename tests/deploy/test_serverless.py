"""``deploy/serverless/serverless.yml``: the framework takes it, every key of it, and packs what was meant. Offline."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import NOT_TESTED
from tests.deploy.templates import DEPLOY, lint, load, of_type
from tests.iam import policies

SOURCE = DEPLOY / "serverless"
PACKAGE = ("package.json", "package-lock.json")
STAGE = "staging"
SECRET = {"Fn::If": ["MakesSecretKey", {"Ref": "SecretKey"}, {"Ref": "SecretKeySecret"}]}


@pytest.fixture(scope="module")
def osls() -> Path:
    """The framework at its locked release: installed by hand, or in a folder that is kept until the lock changes."""
    digest = hashlib.sha256((SOURCE / PACKAGE[1]).read_bytes()).hexdigest()[:16]
    places = [SOURCE, DEPLOY.parent / ".osls" / digest]
    program = Path("node_modules") / ".bin" / "osls"
    for place in places:
        if (place / program).exists():
            return place / program
    places[-1].mkdir(parents=True, exist_ok=True)
    for name in PACKAGE:
        shutil.copy(SOURCE / name, places[-1])
    reason = "npm is not on PATH"
    if npm := shutil.which("npm"):
        installed = subprocess.run(
            [npm, "ci", "--no-audit", "--no-fund", "--loglevel=error"], cwd=places[-1], capture_output=True, text=True
        )
        if installed.returncode == 0:
            return places[-1] / program
        reason = f"'npm ci' failed: {installed.stderr.strip()[:300]}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(f"{NOT_TESTED} with the Serverless Framework: {reason}")


def run(osls: Path, folder: Path, text: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Pack a service of this text, with no account and no credentials."""
    (folder / "serverless.yml").write_text(text)
    with zipfile.ZipFile(folder / "function.zip", "w") as archive:
        archive.writestr("mcpsite/lambda_handler.py", "")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SLS_"))}
    return subprocess.run(
        [osls, "package", "--stage", STAGE, "--region", "eu-west-1", *options],
        cwd=folder,
        env=environment | {"SLS_TELEMETRY_DISABLED": "1", "HOME": str(folder)},
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def packed(osls: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The CloudFormation that the framework would deploy."""
    given = ("--param=server=theirs.server:mcp", "--param=hosts=,mcp.example.com")
    return pack(osls, tmp_path_factory.mktemp("serverless"), *given)


def pack(osls: Path, folder: Path, *options: str, text: str = "") -> dict[str, Any]:
    """The CloudFormation of the service as it is, or of this text, with these options."""
    ended = run(osls, folder, text or (SOURCE / "serverless.yml").read_text(), *options)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    made: dict[str, Any] = json.loads((folder / ".serverless/cloudformation-template-update-stack.json").read_text())
    return made


def defaults(packed: dict[str, Any]) -> dict[str, Any]:
    """The stack's parameters, which the framework gives no other values."""
    return {name: parameter["Default"] for name, parameter in packed["Parameters"].items()}


def test_an_unknown_key_would_be_refused(osls: Path, tmp_path: Path) -> None:
    text = (SOURCE / "serverless.yml").read_text().replace("  memorySize: 1024\n", "  memorySise: 1024\n")

    ended = run(osls, tmp_path, text)

    assert ended.returncode != 0
    assert "memorySise" in ended.stdout + ended.stderr


def test_the_function_has_what_a_start_needs(packed: dict[str, Any]) -> None:
    function = packed["Resources"]["McpServerLambdaFunction"]["Properties"]
    of_sam = load("sam/template.yaml")["Resources"]["Function"]["Properties"]

    assert {name: function[name] for name in ("Handler", "Runtime", "Architectures")} == {
        name: of_sam[name] for name in ("Handler", "Runtime", "Architectures")
    }
    variables = function["Environment"]["Variables"]
    assert variables == {
        "MCP_SERVER": "theirs.server:mcp",
        "MCP_AUTH": "",
        "MCP_ALLOW_PUBLIC": "false",
        "DATABASE_URL": "sqlite:////tmp/mcp-sessions.sqlite3",
        "SECRET_KEY": {"Fn::Join": ["", ["{{resolve:secretsmanager:", SECRET, ":SecretString}}"]]},
        "ALLOWED_HOSTS": ".lambda-url.eu-west-1.on.aws,.execute-api.eu-west-1.amazonaws.com,mcp.example.com",
        "BEHIND_TLS_PROXY": "true",
        "DYNAMODB_TABLE": "mcp-sessions-staging",
        "DYNAMODB_EVENTS_TABLE": "mcp-session-events-staging",
        "ENVIRONMENT": STAGE,
        "EVENT_TTL_HOURS": "6",
        "LOG_LEVEL": "INFO",
        "MCP_ALLOWED_ORIGINS": "",
        "METRICS": "emf",
        "RECORD_BODIES": "false",
        "SESSION_TTL_HOURS": "24",
    }
    # By the names that SAM's has, but for the seed's own alias.
    renamed = {"DYNAMODB_SESSIONS_TABLE" if name == "DYNAMODB_TABLE" else name for name in variables}
    assert renamed == of_sam["Environment"]["Variables"].keys()


def test_schedules_run_the_commands_that_the_function_allows(packed: dict[str, Any]) -> None:
    rules = [each["Properties"] for each in packed["Resources"].values() if each["Type"] == "AWS::Events::Rule"]

    assert {rule["ScheduleExpression"]: json.loads(rule["Targets"][0]["Input"]) for rule in rules} == {
        "rate(1 hour)": {"command": "sessions_expire", "arguments": []},
        "rate(1 day)": {"command": "dynamodb_status", "arguments": ["--emf"]},
        "cron(15 3 * * ? *)": {"command": "dynamodb_backup", "arguments": ["daily", "--keep", "7"]},
    }


def test_backups_are_made_unless_something_else_makes_them(osls: Path, tmp_path: Path) -> None:
    given = ("--param=backups=false", "--param=backupSchedule=rate(2 days)", "--param=backupDays=30")
    ended = run(osls, tmp_path, (SOURCE / "serverless.yml").read_text(), *given)

    assert ended.returncode == 0, ended.stdout + ended.stderr
    made = json.loads((tmp_path / ".serverless/cloudformation-template-update-stack.json").read_text())["Resources"]
    rules = {
        each["Properties"]["ScheduleExpression"]: each["Properties"]
        for each in made.values()
        if each["Type"] == "AWS::Events::Rule"
    }
    assert rules["rate(2 days)"]["State"] == "DISABLED"
    assert json.loads(rules["rate(2 days)"]["Targets"][0]["Input"])["arguments"] == ["daily", "--keep", "30"]


def test_the_role_may_do_what_serving_and_the_schedules_do_on_the_stages_tables(packed: dict[str, Any]) -> None:
    (policy,) = packed["Resources"]["IamRoleLambdaExecution"]["Properties"]["Policies"]
    statements = [each for each in policy["PolicyDocument"]["Statement"] if "Sid" in each]

    wanted = [
        (f"{name.capitalize()}{each.sid}", list(each.actions))
        for name in ("serve", "schedule", "backup")
        for each in policies.statements(name)
    ]
    assert [(each["Sid"], each["Action"]) for each in statements] == wanted
    text = json.dumps(statements)
    assert "table/${SessionsTableName}" in text
    assert "table/mcp-sessions" not in text


def test_tables_alarms_and_dashboard_are_those_of_the_sam_template(packed: dict[str, Any]) -> None:
    of_sam = load("sam/template.yaml")
    kinds = ("AWS::DynamoDB::Table", "AWS::CloudWatch::Alarm", "AWS::CloudWatch::Dashboard")
    shared = {name: resource for name, resource in of_sam["Resources"].items() if resource["Type"] in kinds}
    own = shared.pop("FunctionErrorsAlarm")["Properties"]

    assert len(shared) > 10
    assert {name: packed["Resources"][name] for name in shared} == shared
    assert packed["Conditions"].items() <= of_sam["Conditions"].items()
    alarm = packed["Resources"]["FunctionErrorsAlarm"]["Properties"]
    assert alarm.pop("Dimensions") == [{"Name": "FunctionName", "Value": {"Ref": "McpServerLambdaFunction"}}]
    assert {name: own[name] for name in alarm if name != "AlarmDescription"} == {
        name: value for name, value in alarm.items() if name != "AlarmDescription"
    }


def test_a_stack_is_asked_what_sam_asks_and_a_stages_tables_have_its_name(
    osls: Path, tmp_path: Path, packed: dict[str, Any]
) -> None:
    named = {
        "SessionsTableName": "mcp-sessions-staging",
        "EventsTableName": "mcp-session-events-staging",
        "Environment": STAGE,
    }
    of_sam = load("sam/template.yaml")["Parameters"]
    assert defaults(packed) == {name: str(of_sam[name]["Default"]) for name in packed["Parameters"]} | named

    asked = {"createTables": "false", "deletionProtection": "true", "slowRequestMilliseconds": "100"}
    given = pack(osls, tmp_path, *(f"--param={name}={value}" for name, value in asked.items()))

    assert defaults(given) == defaults(packed) | {f"{name[0].upper()}{name[1:]}": asked[name] for name in asked}


def test_what_the_page_writes_under_params_stays(osls: Path, tmp_path: Path, packed: dict[str, Any]) -> None:
    page = (DEPLOY.parent / "docs" / "sam.md").read_text()
    params = page.partition("```yaml\nparams:")[2].partition("```")[0]
    text = f"{(SOURCE / 'serverless.yml').read_text()}\nparams:{params}"

    given = pack(osls, tmp_path, text=text)

    assert defaults(given) == defaults(packed) | {"DeletionProtection": "true"}
    variables = given["Resources"]["McpServerLambdaFunction"]["Properties"]["Environment"]["Variables"]
    assert variables["MCP_AUTH"] == "django_mcpz.bearer_tokens.auth.token_auth"


def test_a_version_has_its_snapshot_and_only_its_alias_is_called(packed: dict[str, Any]) -> None:
    resources = packed["Resources"]
    ((name, alias),) = of_type(resources, "AWS::Lambda::Alias").items()
    called = {"Fn::Join": [":", [{"Fn::GetAtt": ["McpServerLambdaFunction", "Arn"]}, alias["Name"]]]}

    function = resources["McpServerLambdaFunction"]["Properties"]
    assert function["SnapStart"] == {"ApplyOn": "PublishedVersions"}
    rules = of_type(resources, "AWS::Events::Rule").values()
    assert [rule["Targets"][0]["Arn"] for rule in rules] == [called] * 3
    permissions = of_type(resources, "AWS::Lambda::Permission").values()
    assert [permission["FunctionName"] for permission in permissions] == [called] * 5
    (url,) = of_type(resources, "AWS::Lambda::Url").values()
    assert url["TargetFunctionArn"] == called
    assert resources["McpServerLambdaFunctionUrl"]["DependsOn"] == name


@pytest.mark.parametrize(
    ("logical", "condition", "name"),
    [("LookPolicy", "StaffMayLook", "read-only"), ("TablesKeyPolicy", "HasTablesKey", "kms-key")],
)
def test_the_role_may_do_more_where_it_is_asked_for(
    packed: dict[str, Any], logical: str, condition: str, name: str
) -> None:
    policy = packed["Resources"][logical]

    assert policy["Condition"] == condition
    assert policy["Properties"]["Roles"] == [{"Ref": "IamRoleLambdaExecution"}]
    allowed = [each["Action"] for each in policy["Properties"]["PolicyDocument"]["Statement"]]
    assert allowed == [list(each.actions) for each in policies.statements(name)]


def test_the_linter_of_cloudformation_has_no_word_to_say(packed: dict[str, Any]) -> None:
    # The framework says twice that its alias comes after its function.
    assert [found for found in lint(json.dumps(packed)) if "SnapStartLambdaAlias" not in found] == []
