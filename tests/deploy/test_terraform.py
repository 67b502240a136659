"""``deploy/terraform`` by Terraform and its AWS provider: formatted, valid, and planned against moto.

Both tables and all policies are made there and looked at; the rest the provider plans, with moto's answers to what it
asks. Nothing is downloaded: the provider is one that the machine has.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from cfnlint.decode import cfn_yaml
from pytest_django import Settings

from deploy.narrowing import DIRECTORY, Narrowing, document
from sessions_dynamo.cloudformation import alarms
from sessions_dynamo.tables import setup
from sessions_dynamo.tables.desired import ON_DEMAND, Desired
from tests.conftest import NOT_TESTED
from tests.deploy.stacks import IMAGE, REGION, ROOT, TEMPLATE, Account, Stack, stack

MODULE: Final = ROOT / "deploy" / "terraform"
PROVIDERS: Final = Path(os.environ.get("TF_PLUGIN_DIR", "/opt/tf-plugins"))
KEY: Final = f"arn:aws:kms:{REGION}:123456789012:key/00000000-0000-0000-0000-000000000000"
BY_ENVIRONMENT: Final = {
    *("EVENT_TTL_HOURS", "LOG_LEVEL", "MCP_ALLOWED_ORIGINS", "MCP_ALLOW_PUBLIC", "RECORD_BODIES", "SESSION_TTL_HOURS"),
}
"""What the CloudFormation template has parameters for, and the module its one variable of further variables."""
TOPIC: Final = f"arn:aws:sns:{REGION}:123456789012:alarms"

pytestmark = pytest.mark.filterwarnings("ignore:Tried to parse AWS:UserWarning")


def _terraform() -> str:
    """Terraform; skips without it or its provider, in CI too: neither is in Debian, nor in a registry that CI has."""
    found = shutil.which("terraform")
    if not found:
        pytest.skip(f"{NOT_TESTED} with Terraform: it is not on PATH")
    if not list(PROVIDERS.glob("registry.terraform.io/hashicorp/aws/*/*/terraform-provider-aws_*")):
        pytest.skip(f"{NOT_TESTED} with Terraform: there is no AWS provider below {PROVIDERS} (TF_PLUGIN_DIR)")
    return found


@dataclass(frozen=True, slots=True)
class Workspace:
    """A root configuration that Terraform was initialised for."""

    program: str
    directory: Path
    environment: Mapping[str, str]

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run Terraform here."""
        return subprocess.run(
            [self.program, *arguments],
            cwd=self.directory,
            env=dict(self.environment),
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def done(self, *arguments: str, stdin: str = "") -> str:
        """What it prints, once it succeeded."""
        result = self.run(*arguments, stdin=stdin)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def given(self, **variables: Any) -> None:
        """Give variables from now on, and no others."""
        (self.directory / "terraform.tfvars.json").write_text(json.dumps(variables))

    def addresses(self) -> set[str]:
        """The address of each resource that would be made."""
        lines = self.done("plan", "-input=false", "-lock=false", "-json").splitlines()
        messages = [json.loads(line) for line in lines]
        changes = [message["change"] for message in messages if message["type"] == "planned_change"]
        return {change["resource"]["addr"] for change in changes if change["action"] == "create"}

    def planned(self) -> dict[str, Any]:
        """The same, with the values that are planned."""
        self.done("plan", "-input=false", "-lock=false", "-out=plan")
        plan = json.loads(self.done("show", "-json", "plan"))
        changes = [change for change in plan["resource_changes"] if change["change"]["actions"] == ["create"]]
        return {change["address"]: change["change"]["after"] for change in changes}


def _workspace(directory: Path, url: str) -> Workspace:
    program = _terraform()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(directory),
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_REGION": REGION,
        "AWS_ENDPOINT_URL": url,
        "CHECKPOINT_DISABLE": "1",
        "TF_CLI_ARGS": "-no-color",
    }
    found = Workspace(program, directory, environment)
    found.done("init", f"-plugin-dir={PROVIDERS}", "-input=false")
    return found


@pytest.fixture(scope="module")
def workspace(account: Account, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The module as a root of its own, its provider pointed at moto."""
    directory = tmp_path_factory.mktemp("terraform") / "root"
    shutil.copytree(MODULE, directory, ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*"))
    (directory / "provider.tf").write_text(
        'provider "aws" {\n  skip_credentials_validation = true\n  skip_metadata_api_check     = true\n}\n'
    )
    return _workspace(directory, account.url)


def _network(account: Account) -> dict[str, Any]:
    network = account.network()
    subnets = network["TaskSubnets"].split(",")
    return {
        "image": IMAGE,
        "vpc_id": network["VpcId"],
        "load_balancer_subnet_ids": subnets,
        "task_subnet_ids": subnets,
        "database_subnet_ids": subnets,
    }


def _least(account: Account) -> dict[str, Any]:
    secret = f"arn:aws:secretsmanager:{REGION}:123456789012:secret:mcp/url-AbCdEf"
    return _network(account) | {
        "backups": False,
        "create_tables": False,
        "database": "existing",
        "database_url_secret_arn": secret,
        "secret_key_secret_arn": secret,
        "staff_may": "serve",
    }


def _everything(account: Account) -> dict[str, Any]:
    return _network(account) | {
        "alarm_topic_arn": TOPIC,
        "audit_trail": True,
        "backup_days": 30,
        "backup_schedule": "rate(2 days)",
        "certificate_arn": f"arn:aws:acm:{REGION}:123456789012:certificate/1",
        "database": "aurora",
        "database_multi_az": True,
        "domain_name": "mcp.example.com",
        "events_table": "tf-events",
        "gateway_route_table_ids": ["rtb-1"],
        "hosted_zone_id": "Z1",
        "sessions_table": "tf-sessions",
        "staff_may": "operate",
        "tables_key_arn": KEY,
    }


def _counts(addresses: Iterable[str]) -> Counter[str]:
    return Counter(address.partition(".")[0] for address in addresses)


def test_it_is_formatted(workspace: Workspace) -> None:
    assert workspace.run("fmt", "-check", "-recursive", str(MODULE)).stdout == ""


def test_the_example_and_with_it_the_module_are_valid(tmp_path: Path) -> None:
    copied = shutil.copytree(MODULE, tmp_path / "module", ignore=shutil.ignore_patterns(".terraform*"))
    _workspace(copied / "examples" / "minimal", "http://127.0.0.1:9").done("validate")


def test_its_constraint_admits_the_provider_that_proved_it() -> None:
    assert 'version = ">= 5.100, < 7"' in (MODULE / "versions.tf").read_text()


def test_every_variable_and_output_says_what_it_is() -> None:
    for name in ("variables.tf", "outputs.tf"):
        blocks = (MODULE / name).read_text().split("\n}\n")[:-1]
        assert len(blocks) > 5
        assert [block for block in blocks if "  description = " not in block] == []


def test_nothing_is_made_that_was_not_asked_for(workspace: Workspace, account: Account) -> None:
    workspace.given(**_least(account))
    planned = workspace.addresses()
    counts = _counts(planned)

    for kind in (
        *("aws_dynamodb_table", "aws_db_instance", "aws_rds_cluster", "aws_cloudtrail", "aws_s3_bucket"),
        *("aws_route53_record", "aws_vpc_endpoint", "aws_db_subnet_group"),
    ):
        assert counts[kind] == 0, kind
    assert counts["aws_lb_listener"] == 1
    # The password of the first staff account.
    assert counts["aws_secretsmanager_secret"] == 1
    roles = {address for address in planned if address.startswith("aws_iam_role_policy.task")}
    assert roles == {
        f'aws_iam_role_policy.task["{name}"]'
        for name in ("serve serve", "operate read-only", "operate operate", "scheduled schedule")
    }
    # Those of the code, and that no task is healthy.
    assert counts["aws_cloudwatch_metric_alarm"] == len(alarms.ALARMS) + 1
    schedules = {address for address in planned if address.startswith("aws_scheduler_schedule")}
    assert schedules == {f'aws_scheduler_schedule.this["{name}"]' for name in ("expire", "status")}


def test_everything_is_made_that_was_asked_for(workspace: Workspace, account: Account) -> None:
    workspace.given(**_everything(account))
    planned = workspace.planned()
    counts = _counts(planned)

    assert (counts["aws_rds_cluster"], counts["aws_rds_cluster_instance"], counts["aws_db_instance"]) == (1, 2, 0)
    assert (counts["aws_dynamodb_table"], counts["aws_cloudtrail"], counts["aws_vpc_endpoint"]) == (2, 1, 1)
    assert (counts["aws_lb_listener"], counts["aws_route53_record"]) == (2, 1)
    assert planned["aws_lb_listener.http"]["default_action"][0]["redirect"][0]["protocol"] == "HTTPS"
    for table in ("sessions", "events"):
        assert planned[f"aws_dynamodb_table.{table}[0]"]["server_side_encryption"][0]["kms_key_arn"] == KEY
    assert planned["aws_lb_target_group.this"]["stickiness"][0]["enabled"] is False
    assert planned["aws_lb.this"]["idle_timeout"] == 60
    assert counts["aws_scheduler_schedule"] == 3
    backup = planned['aws_scheduler_schedule.this["backup"]']
    assert (backup["schedule_expression"], backup["flexible_time_window"][0]["mode"]) == ("rate(2 days)", "OFF")
    (override,) = json.loads(backup["target"][0]["input"])["containerOverrides"]
    assert override["command"][2:] == ["dynamodb_backup", "daily", "--keep", "30"]
    for alarm in alarms.ALARMS:
        made = planned[f"aws_cloudwatch_metric_alarm.{alarm.name.replace('-', '_')}"]
        assert made["alarm_description"] == alarm.description
        assert made["alarm_actions"] == made["ok_actions"] == [TOPIC]
        assert bool(made["insufficient_data_actions"]) is alarm.tells_silence
    silent = planned["aws_cloudwatch_metric_alarm.no_healthy_task"]
    of_the_stack = cfn_yaml.load(str(TEMPLATE))["Resources"]["NoHealthyTaskAlarm"]["Properties"]
    same = ("AlarmDescription", "ComparisonOperator", "DatapointsToAlarm", "EvaluationPeriods", "MetricName")
    for name in (*same, "Namespace", "Period", "Statistic", "Threshold", "TreatMissingData"):
        assert silent[re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower()] == of_the_stack[name], name
    assert silent["alarm_actions"] == silent["ok_actions"] == [TOPIC]
    body = json.loads(planned["aws_cloudwatch_dashboard.this"]["dashboard_body"])
    assert planned["aws_cloudwatch_dashboard.this"]["dashboard_name"] == f"mcp-sessions-{REGION}"
    assert "tf-sessions" in json.dumps(body)
    assert "${" not in json.dumps(body)
    # Written once, kept nowhere.
    text = (workspace.directory / "plan").read_bytes()
    assert b"postgres://" not in text


def test_its_containers_are_those_of_the_cloudformation_template(workspace: Workspace, account: Account) -> None:
    certificate = account.client("acm").request_certificate(DomainName="mcp.example.com")["CertificateArn"]
    workspace.given(**_everything(account))
    known = "{for role, task in local.tasks : role => {more = task.more, names = keys(task.environment)}}"
    asked = f"jsonencode([keys(local.common), {known}])"
    common, written = json.loads(json.loads(workspace.done("console", stdin=asked)))

    def same(of: Stack, logical: str, role: str) -> None:
        container = of.container(logical)
        for name, value in written[role]["more"].items():
            if name != "portMappings":
                assert container[name] == value, (role, name)
        names = {*common, *written[role]["names"]}
        assert {each["name"] for each in container["environment"]} - BY_ENVIRONMENT == names, role

    with stack(account, "beside", DomainName="mcp.example.com", CertificateArn=certificate) as made:
        for logical, role in (("ServeTask", "serve"), ("OperateTask", "operate"), ("ScheduledTask", "scheduled")):
            same(made, logical, role)


def test_what_cannot_work_is_refused_with_what_to_do(workspace: Workspace, account: Account) -> None:
    wrong: dict[str, Any] = {
        "backup_days": 0,
        "backup_schedule": "daily",
        "certificate_arn": "arn:aws:acm:x",
        "database": "existing",
        "environment_name": "pro duction",
        "image": "mcp-sessions",
        "mcp_auth": "mcpsite.endpoint.access.auth.public",
        "name": "A",
        "secret_key_secret_arn": "mcp/key",
    }
    workspace.given(**(_network(account) | wrong))

    refused = workspace.run("plan", "-input=false", "-lock=false")

    assert refused.returncode != 0
    said = " ".join(refused.stderr.replace("│", " ").split())
    for sentence in (
        "database_url_secret_arn is for database",
        "environment_name is 1 to 64 letters",
        "image needs a tag or a digest",
        "secret_key_secret_arn is the whole ARN of a secret",
        "name is 2 to 24 lower-case letters and digits",
        "certificate_arn needs domain_name",
        'MCP_ALLOW_PUBLIC = "true" in environment',
        "backup_schedule is a schedule of EventBridge",
        "backup_days is a whole number over 0",
    ):
        assert sentence in said


def test_a_name_is_what_load_balancers_and_databases_take(workspace: Workspace) -> None:
    (condition,) = re.findall(r"condition     = (.*var\.name.*)", (MODULE / "variables.tf").read_text())
    taken = ["mcp-sessions", "m2", "a" * 24]
    refused = ["m", "a" * 25, "mcp-", "mcp--two", "internal-mcp", "2mcp", "Mcp"]
    asked = ", ".join(condition.replace("var.name", json.dumps(name)) for name in (*taken, *refused))

    answer = workspace.done("console", stdin=f"jsonencode([{asked}])").splitlines()[-1]

    assert json.loads(json.loads(answer)) == [True] * len(taken) + [False] * len(refused)


def test_the_tables_and_policies_that_it_makes(
    workspace: Workspace, account: Account, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {"sessions_table": "tf-own-sessions", "events_table": "tf-own-events"}
    workspace.given(**_network(account), **names, name="tf-own", deletion_protection=False, staff_may="operate")
    wanted = ["aws_dynamodb_table.sessions", "aws_dynamodb_table.events", "aws_iam_role_policy.task"]
    targets = [f"-target={address}" for address in wanted]
    workspace.done("apply", "-auto-approve", "-input=false", *targets)
    again = workspace.run("plan", "-input=false", "-detailed-exitcode", *targets)
    assert again.returncode == 0, again.stdout

    monkeypatch.setenv("AWS_ENDPOINT_URL", account.url)
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    settings.AWS_REGION = REGION
    settings.DYNAMODB_SESSIONS_TABLE, settings.DYNAMODB_EVENTS_TABLE = names.values()
    desired = Desired("production", ON_DEMAND, recovery=True, deletion_protection=False)
    assert [list(planned.to_do) for planned in setup.plan(desired=desired)] == [[], []]

    iam = account.client("iam")
    own = Narrowing("aws", REGION, "123456789012", names["sessions_table"], names["events_table"], KEY)
    held: Counter[str] = Counter()
    for role in (each["RoleName"] for each in iam.list_roles()["Roles"]):
        for policy in iam.list_role_policies(RoleName=role)["PolicyNames"] if role.startswith("tf-own-") else ():
            stands = iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]
            assert stands == document(policy, own)
            written = json.loads((DIRECTORY / f"{policy}.json").read_text())
            assert [it["Action"] for it in stands["Statement"]] == [it["Action"] for it in written["Statement"]]
            held[policy] += 1
    assert held == {"serve": 1, "read-only": 2, "operate": 2, "schedule": 1, "backup": 1}
    for name in names.values():
        account.client("dynamodb").delete_table(TableName=name)
