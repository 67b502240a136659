"""``deploy/ecs``: what cfn-lint says of it, what moto makes of it, and that its parts fit each other and the site."""

from __future__ import annotations

import ast
import json
import re
import runpy
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from cfnlint import api as cfnlint
from cfnlint.config import ManualArgs
from cfnlint.decode import cfn_yaml
from django.core.management import load_command_class

from deploy.narrowing import DIRECTORY, Narrowing, document
from mcpsite.endpoint.conf import EndpointSettings
from sessions_dynamo import schema
from sessions_dynamo.conf import AppSettings
from sessions_dynamo.tables import setup
from sessions_dynamo.tables.desired import ON_DEMAND, Desired
from tests.deploy.stacks import ECS, LEFT_OUT, REGION, ROOT, TEMPLATE, Account, Stack, stack
from tests.deploy.templates import resolved

pytestmark = pytest.mark.filterwarnings("ignore:Tried to parse AWS:UserWarning")

TASKS = ("ServeTask", "OperateTask", "ScheduledTask")
KEY = f"arn:aws:kms:{REGION}:123456789012:key/00000000-0000-0000-0000-000000000000"
EVERYTHING = {
    "AuditTrail": "true",
    "Database": "rds",
    "DatabaseMultiAz": "true",
    "DeletionProtection": "true",
    "AllowPublic": "true",
    "EnvironmentFileArn": "arn:aws:s3:::settings/services/mcp.env",
    "SessionTtlHours": "1",
    "DomainName": "mcp.example.com",
    "EventsTableName": "all-events",
    "SessionsTableName": "all-sessions",
    "StaffMay": "operate",
    "TablesKeyArn": KEY,
}


@pytest.fixture(scope="module")
def template() -> Mapping[str, Any]:
    return dict(cfn_yaml.load(str(TEMPLATE)))


@pytest.fixture(scope="module")
def least(account: Account) -> Iterator[Stack]:
    """A stack of the defaults, over tables, a database and secrets that are there already."""
    own = {"DatabaseUrlSecret": "mcp/url", "SecretKeySecret": "mcp/key"}
    with stack(account, "least", CreateTables="false", Database="existing", **own) as made:
        yield made


@pytest.fixture(scope="module")
def everything(account: Account) -> Iterator[Stack]:
    """A stack of all that there is to choose."""
    certificate = account.client("acm").request_certificate(DomainName="mcp.example.com")["CertificateArn"]
    zone = account.client("route53").create_hosted_zone(Name="example.com", CallerReference="1")["HostedZone"]["Id"]
    routes = account.client("ec2").describe_route_tables()["RouteTables"][0]["RouteTableId"]
    chosen = {"CertificateArn": certificate, "HostedZoneId": zone.rpartition("/")[2], "GatewayRouteTables": routes}
    with stack(account, "everything", **EVERYTHING, **chosen) as made:
        yield made


def _types(template: Mapping[str, Any], *conditions: str) -> dict[str, str]:
    """Type of each resource that has one of these conditions, or none at all."""
    return {
        logical: resource["Type"]
        for logical, resource in template["Resources"].items()
        if resource.get("Condition") in (None, *conditions)
    }


@pytest.mark.parametrize("name", ["template.yaml", "network.yaml"])
def test_cfn_lint_finds_nothing(name: str) -> None:
    # In one region: in all of them it takes minutes.
    found = cfnlint.lint((ECS / name).read_text(), config=ManualArgs(regions=[REGION]))
    assert [str(each) for each in found] == []


def test_moto_makes_all_that_it_knows(template: Mapping[str, Any], least: Stack, everything: Stack) -> None:
    wanted = {logical for logical, kind in _types(template).items() if kind not in LEFT_OUT}
    assert {logical for logical, (kind, _) in least.resources.items() if kind not in LEFT_OUT} == wanted

    every = {logical for logical, resource in template["Resources"].items() if resource["Type"] not in LEFT_OUT}
    made = {logical for logical, (kind, _) in everything.resources.items() if kind not in LEFT_OUT}
    # moto makes no instance of Aurora.
    assert made == {name for name in every if "Aurora" not in name}


def test_every_parameter_says_what_it_is_and_has_its_place(template: Mapping[str, Any]) -> None:
    groups = template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    grouped = [name for group in groups for name in group["Parameters"]]
    assert sorted(grouped) == sorted(template["Parameters"])
    for name in template["Parameters"]:
        assert template["Parameters"][name]["Description"], name


def test_the_networks_outputs_are_parameters_of_the_service(template: Mapping[str, Any]) -> None:
    network = dict(cfn_yaml.load(str(ECS / "network.yaml")))
    outputs = set(network["Outputs"])
    assert outputs <= set(template["Parameters"])
    # Whoever has a network of that template gives nothing else of it.
    needed = {name for name, parameter in template["Parameters"].items() if "Default" not in parameter}
    assert needed - outputs == {"ImageUri"}


def test_a_task_starts_after_its_tables_and_its_listener(template: Mapping[str, Any]) -> None:
    """By references: DependsOn on what a condition leaves out would leave the service out, too."""
    tags = {each["Key"]: each["Value"]["Fn::If"] for each in template["Resources"]["Service"]["Properties"]["Tags"]}

    assert tags["Listener"] == ["HasCertificate", {"Ref": "HttpsListener"}, {"Ref": "HttpListener"}]
    assert tags["Events"] == ["MakesTables", {"Ref": "EventsTable"}, {"Ref": "EventsTableName"}]
    assert template["Resources"]["EventsTable"]["DependsOn"] == ["SessionsTable"]


@pytest.mark.parametrize(
    ("addresses", "taken"),
    [("0.0.0.0/0", True), ("203.0.113.7/32", True), ("203.0.113.7", False), ("mine", False), ("", False)],
)
def test_addresses_are_a_network(template: Mapping[str, Any], addresses: str, taken: bool) -> None:
    pattern = template["Parameters"]["ClientCidr"]["AllowedPattern"]

    assert bool(re.fullmatch(pattern, addresses)) is taken


def test_somebody_is_told_where_no_task_is_left_to_say_so(template: Mapping[str, Any]) -> None:
    alarm = template["Resources"]["NoHealthyTaskAlarm"]
    properties = alarm["Properties"]

    assert alarm["DependsOn"] == "Service"
    assert properties["TreatMissingData"] == "breaching"
    assert {each["Name"]: each["Value"] for each in properties["Dimensions"]} == {
        "LoadBalancer": {"Fn::GetAtt": ["LoadBalancer", "LoadBalancerFullName"]},
        "TargetGroup": {"Fn::GetAtt": ["TargetGroup", "TargetGroupFullName"]},
    }


# --- The balancer, the server and ECS wait for each other -----------------------------------------------------


def _attributes(template: Mapping[str, Any], logical: str, name: str) -> dict[str, str]:
    """As written: moto leaves them out."""
    return {each["Key"]: each["Value"] for each in template["Resources"][logical]["Properties"][name]}


def test_the_idle_time_lies_between_keep_alives_and_gunicorns_own(
    template: Mapping[str, Any], everything: Stack
) -> None:
    attributes = _attributes(template, "LoadBalancer", "LoadBalancerAttributes")
    gunicorn = runpy.run_path(str(ROOT / "gunicorn.conf.py"))

    silence = float(EndpointSettings.STREAM_KEEPALIVE_SECONDS.of(object()))
    assert 2 * silence < int(attributes["idle_timeout.timeout_seconds"]) < gunicorn["keepalive"]
    assert {each["name"] for each in everything.container("ServeTask")["environment"]}.isdisjoint(
        {"STREAM_KEEPALIVE_SECONDS"}
    )


def test_no_session_sticks_to_a_task(template: Mapping[str, Any]) -> None:
    attributes = _attributes(template, "TargetGroup", "TargetGroupAttributes")

    assert attributes["stickiness.enabled"] == "false"
    # A release waits for it with each task, and every open stream sits it out.
    assert int(attributes["deregistration_delay.timeout_seconds"]) < 60


def test_secrets_that_are_there_are_named_as_ecs_takes_them(least: Stack) -> None:
    place = f"arn:aws:secretsmanager:{REGION}:123456789012:secret"
    given = {each["name"]: each.get("valueFrom") for each in least.container("ServeTask")["secrets"]}
    assert given == {"SECRET_KEY": f"{place}:mcp/key", "DATABASE_URL": f"{place}:mcp/url"}


def test_http_goes_to_https_where_there_is_a_certificate(least: Stack, everything: Stack) -> None:
    def actions(of: Stack) -> dict[int, str]:
        listeners = of.account.client("elbv2").describe_listeners(LoadBalancerArn=of.physical("LoadBalancer"))
        return {each["Port"]: each["DefaultActions"][0]["Type"] for each in listeners["Listeners"]}

    assert actions(everything) == {80: "redirect", 443: "forward"}
    assert actions(least) == {80: "forward"}
    assert everything.outputs["Url"] == "https://mcp.example.com/mcp"
    assert least.outputs["Url"] == f"http://{least.outputs['LoadBalancerName']}/mcp"


def test_https_is_believed_only_where_there_is_some(least: Stack, everything: Stack) -> None:
    def environment(of: Stack) -> dict[str, str]:
        return {each["name"]: each["value"] for each in of.container("ServeTask")["environment"]}

    assert environment(everything)["BEHIND_TLS_PROXY"] == "true"
    assert environment(everything)["ALLOWED_HOSTS"] == "mcp.example.com"
    assert environment(least)["BEHIND_TLS_PROXY"] == "false"
    assert environment(least)["ALLOWED_HOSTS"] == least.outputs["LoadBalancerName"]


def test_nobody_but_the_balancer_reaches_the_tasks(everything: Stack) -> None:
    ec2 = everything.account.client("ec2")

    def let_in(group: str) -> list[tuple[int, list[str], list[str]]]:
        (found,) = ec2.describe_security_groups(GroupIds=[everything.physical(group)])["SecurityGroups"]
        return [
            (
                rule["FromPort"],
                [each["GroupId"] for each in rule["UserIdGroupPairs"]],
                [each["CidrIp"] for each in rule["IpRanges"]],
            )
            for rule in found["IpPermissions"]
        ]

    assert let_in("TaskSecurityGroup") == [(8062, [everything.physical("LoadBalancerSecurityGroup")], [])]
    assert let_in("DatabaseSecurityGroup") == [(5432, [everything.physical("TaskSecurityGroup")], [])]


def test_a_process_for_each_half_processor_at_least(template: Mapping[str, Any]) -> None:
    for size in template["Mappings"]["Size"].values():
        assert int(size["Cpu"]) / int(size["Processes"]) >= 512
        assert int(size["Memory"]) / int(size["Processes"]) >= 1024


def test_the_environment_is_of_variables_that_the_site_reads(everything: Stack) -> None:
    documented = (ROOT / "docs" / "settings.md").read_text() + (ROOT / "docs" / "server.md").read_text()
    settings = {
        variable for each in (AppSettings, EndpointSettings) for it in each.declared() for variable in it.variables
    }
    for task in TASKS:
        container = everything.container(task)
        for variable in (*container["environment"], *container["secrets"]):
            name = variable["name"]
            assert name in settings or f"`{name}`" in documented or name.startswith("DJANGO_SUPERUSER_"), name


def test_every_task_has_what_one_is_told_of_sessions(template: Mapping[str, Any], everything: Stack) -> None:
    for task in TASKS:
        environment = {each["name"]: each["value"] for each in everything.container(task)["environment"]}
        # What expires sessions counts by the same hours as what serves them.
        assert (environment["SESSION_TTL_HOURS"], environment["EVENT_TTL_HOURS"]) == ("1", "6")
        # As written: moto leaves it out.
        (container,) = template["Resources"][task]["Properties"]["ContainerDefinitions"]
        condition, files, otherwise = container["EnvironmentFiles"]["Fn::If"]
        assert (condition, otherwise) == ("HasEnvironmentFile", {"Ref": "AWS::NoValue"})
        assert files == [{"Type": "s3", "Value": {"Ref": "EnvironmentFileArn"}}]
    served = {each["name"]: each["value"] for each in everything.container("ServeTask")["environment"]}
    assert served["MCP_ALLOW_PUBLIC"] == "true"


def test_ecs_reads_the_file_of_variables_where_there_is_one(template: Mapping[str, Any], everything: Stack) -> None:
    iam = everything.account.client("iam")
    arn = everything.physical("EnvironmentFilePolicy")
    version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    held = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]

    assert [(each["Action"], each["Resource"]) for each in held["Statement"]] == [
        ("s3:GetObject", EVERYTHING["EnvironmentFileArn"]),
        ("s3:GetBucketLocation", "arn:aws:s3:::settings"),
    ]
    attached = template["Resources"]["ExecutionRole"]["Properties"]["ManagedPolicyArns"][-1]
    assert attached == {"Fn::If": ["HasEnvironmentFile", {"Ref": "EnvironmentFilePolicy"}, {"Ref": "AWS::NoValue"}]}


# --- Roles ----------------------------------------------------------------------------------------------------


FILES = {
    "ServePolicy": "serve",
    "LookPolicy": "read-only",
    "OperatePolicy": "operate",
    "SchedulePolicy": "schedule",
    "BackupPolicy": "backup",
    "TablesKeyPolicy": "kms-key",
}
ROLES: dict[str, dict[str, str | None]] = {
    "ServeRole": {"ServePolicy": None, "LookPolicy": "StaffMayLook", "OperatePolicy": "StaffMayOperate"},
    "OperateRole": {"LookPolicy": None, "OperatePolicy": None},
    "ScheduledRole": {"SchedulePolicy": None, "BackupPolicy": "MakesBackups"},
}
"""What each role attaches, and under which condition."""


@pytest.mark.parametrize("logical", FILES)
def test_a_policy_is_that_of_deploy_iam_for_the_tables_of_the_stack(everything: Stack, logical: str) -> None:
    iam = everything.account.client("iam")
    arn = everything.physical(logical)
    version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    held = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]

    assert held == document(FILES[logical], Narrowing("aws", REGION, "123456789012", "all-sessions", "all-events", KEY))
    written = json.loads((DIRECTORY / f"{FILES[logical]}.json").read_text())
    assert [each["Action"] for each in held["Statement"]] == [each["Action"] for each in written["Statement"]]
    text = json.dumps(held)
    assert "mcp-session" not in text
    assert ":*:*:" not in text


@pytest.mark.parametrize("role", ROLES)
def test_a_role_has_its_policies_and_no_other(template: Mapping[str, Any], role: str) -> None:
    """As written: moto attaches none of a role's."""
    properties = template["Resources"][role]["Properties"]
    attached = {}
    for arn in properties["ManagedPolicyArns"]:
        condition, reference, otherwise = arn.get("Fn::If", (None, arn, {"Ref": "AWS::NoValue"}))
        assert otherwise == {"Ref": "AWS::NoValue"}
        attached[reference["Ref"]] = condition

    assert attached == {**ROLES[role], "TablesKeyPolicy": "HasTablesKey"}
    assert "Policies" not in properties


def test_the_schedules_run_commands_that_there_are(template: Mapping[str, Any]) -> None:
    """As written: moto makes none of them."""
    found = {}
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Scheduler::Schedule":
            properties = resolved(resource["Properties"]["Target"]["Input"], dict(template), {"BackupDays": "30"})
            (override,) = json.loads(properties)["containerOverrides"]
            python, manage, command, *arguments = override["command"]
            assert (override["name"], python, manage) == ("site", "python", "manage.py")
            load_command_class("sessions_dynamo", command).create_parser(manage, command).parse_args(arguments)
            found[command] = (arguments, resource.get("Condition"))

    assert found == {
        "sessions_expire": ([], None),
        "dynamodb_status": (["--emf"], None),
        "dynamodb_backup": (["daily", "--keep", "30"], "MakesBackups"),
    }


def test_the_schedules_may_start_their_own_task_alone(everything: Stack) -> None:
    iam = everything.account.client("iam")
    role = everything.physical("SchedulerRole")
    (name,) = iam.list_role_policies(RoleName=role)["PolicyNames"]
    held = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
    run, give = ast.literal_eval(held)["Statement"]

    assert (run["Action"], run["Resource"]) == ("ecs:RunTask", everything.physical("ScheduledTask"))
    assert give["Action"] == "iam:PassRole"
    assert [arn.rpartition("/")[2] for arn in give["Resource"]] == [
        everything.physical("ExecutionRole"),
        everything.physical("ScheduledRole"),
    ]


def test_ecs_reads_the_secrets_that_a_task_is_given(template: Mapping[str, Any]) -> None:
    (allowed,) = template["Resources"]["ExecutionRole"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]
    readable = [json.dumps(each).replace("-??????", "") for each in allowed["Resource"]]
    for task in TASKS:
        (container,) = template["Resources"][task]["Properties"]["ContainerDefinitions"]
        for secret in container["Secrets"]:
            assert json.dumps(secret["ValueFrom"]) in readable, secret["Name"]


# --- Tables ---------------------------------------------------------------------------------------------------


def test_the_tables_are_those_of_setup(everything: Stack, monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", everything.account.url)
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    settings.AWS_REGION = REGION
    settings.DYNAMODB_SESSIONS_TABLE, settings.DYNAMODB_EVENTS_TABLE = "all-sessions", "all-events"

    desired = Desired("production", ON_DEMAND, recovery=True, deletion_protection=True)
    to_do = [{change.aspect for change in planned.to_do} for planned in setup.plan(desired=desired)]

    # moto's CloudFormation leaves these two out; tests/sessions_dynamo/cloudformation sends them.
    assert to_do == [{"ttl", "pitr"}] * 2


def test_tables_that_were_there_are_left_alone(least: Stack) -> None:
    assert not [kind for kind, _ in least.resources.values() if kind == "AWS::DynamoDB::Table"]


def test_a_stack_takes_no_table_with_it_but_one_whose_creation_failed(template: Mapping[str, Any]) -> None:
    tables = [each for each in template["Resources"].values() if each["Type"] == "AWS::DynamoDB::Table"]
    assert len(tables) == len([schema.SESSIONS, schema.EVENTS])
    for table in tables:
        assert (table["DeletionPolicy"], table["UpdateReplacePolicy"]) == ("RetainExceptOnCreate", "Retain")
