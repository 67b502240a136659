"""The printed template and ``dynamodb_setup`` make the same tables: aspect by aspect, on moto's CloudFormation.

moto makes a table of all properties but ``TimeToLiveSpecification`` and ``PointInTimeRecoverySpecification``, and knows
no ``AWS::ApplicationAutoScaling`` resource. CloudFormation's own handlers send these as they stand to the API of the
same names, and so does ``send_what_moto_leaves_out``; a test holds that this is all that moto leaves out.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from django.core.management import CommandError, call_command

from sessions_dynamo import schema
from sessions_dynamo.client import aws_client
from sessions_dynamo.cloudformation.template import template
from sessions_dynamo.tables import setup
from sessions_dynamo.tables.aspects import encryption
from sessions_dynamo.tables.desired import Billing, CapacityRange, Desired, parse_key
from sessions_dynamo.tables.names import named_tables
from sessions_dynamo.tables.plans import TablePlan
from sessions_dynamo.tables.steps import Outcome
from tests.deploy.templates import lint
from tests.engines import on_moto

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

ROOT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.filterwarnings("ignore:Tried to parse AWS..ApplicationAutoScaling:UserWarning")

ON_DEMAND = Desired("staging", Billing(), recovery=True, deletion_protection=True)
SCALED = Desired("staging", Billing("PROVISIONED", 5, 6, CapacityRange(4, 50)), recovery=True)
OFF = Desired("staging", Billing("PROVISIONED", 5, 6), recovery=False, deletion_protection=False, kms_key="default")
EVERY_DESIRED = {"on demand": ON_DEMAND, "scaled": SCALED, "off": OFF, "undeclared": Desired("staging")}


def document(desired: Desired) -> dict[str, Any]:
    return template(named_tables(), desired)


def to_do(desired: Desired) -> list[set[str]]:
    """What setup would still do, by table."""
    return [{change.aspect for change in planned.to_do} for planned in plans(desired)]


def plans(desired: Desired) -> tuple[TablePlan, ...]:
    return setup.plan(desired=desired)


@pytest.fixture(scope="module", autouse=True)
def _cloudformation_of_moto() -> None:
    """Its other services come with it, and API Gateway's wants a validator of OpenAPI, which no table needs."""
    names = [f"openapi_spec_validator{rest}" for rest in ("", ".validation", ".validation.exceptions")]
    absent = {name: mock.MagicMock() for name in names if name not in sys.modules and not find_spec(names[0])}
    sys.modules.update(absent)
    importlib.import_module("moto.cloudformation")
    for name in absent:
        del sys.modules[name]


@pytest.fixture
def stack(bare_dynamodb: DynamoDBClient) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Create a stack, as far as moto does."""

    def create(body: dict[str, Any]) -> None:
        aws_client("cloudformation").create_stack(StackName="tables", TemplateBody=json.dumps(body))

    yield create
    client = aws_client("application-autoscaling")
    for table in named_tables():
        for found in client.describe_scalable_targets(ServiceNamespace="dynamodb")["ScalableTargets"]:
            if f"table/{table.name}" in (found["ResourceId"], found["ResourceId"].partition("/index/")[0]):
                names = ("ServiceNamespace", "ResourceId", "ScalableDimension")
                client.deregister_scalable_target(**{name: found[name] for name in names})
    unprotect(bare_dynamodb)
    # moto knows no RetainExceptOnCreate, and so deletes the tables, as the rollback of their creation does.
    aws_client("cloudformation").delete_stack(StackName="tables")


def unprotect(dynamodb: DynamoDBClient) -> None:
    """Let both tables, or those of them that are there, be deleted."""
    for table in named_tables():
        with suppress(dynamodb.exceptions.ResourceNotFoundException):
            dynamodb.update_table(TableName=table.name, DeletionProtectionEnabled=False)


def send_what_moto_leaves_out(body: dict[str, Any]) -> None:
    """What CloudFormation sends of these properties and resources, as they stand in the template."""
    dynamodb, scaling = aws_client("dynamodb"), aws_client("application-autoscaling")
    names = dict(zip(("SessionsTable", "EventsTable"), (table.name for table in named_tables()), strict=True))
    resources = body["Resources"]
    for logical, name in names.items():
        properties = resources[logical]["Properties"]
        if "TimeToLiveSpecification" in properties:
            dynamodb.update_time_to_live(TableName=name, TimeToLiveSpecification=properties["TimeToLiveSpecification"])
        if "PointInTimeRecoverySpecification" in properties:
            dynamodb.update_continuous_backups(
                TableName=name, PointInTimeRecoverySpecification=properties["PointInTimeRecoverySpecification"]
            )

    def named(text: dict[str, str]) -> str:
        for logical, name in names.items():
            text = {"Fn::Sub": text["Fn::Sub"].replace(f"${{{logical}}}", name)}
        return text["Fn::Sub"]

    targets = {
        logical: resource["Properties"] | {"ResourceId": named(resource["Properties"]["ResourceId"])}
        for logical, resource in resources.items()
        if resource["Type"] == "AWS::ApplicationAutoScaling::ScalableTarget"
    }
    for target in targets.values():
        scaling.register_scalable_target(**target)
    for resource in resources.values():
        if resource["Type"] == "AWS::ApplicationAutoScaling::ScalingPolicy":
            properties = dict(resource["Properties"])
            target = targets[properties.pop("ScalingTargetId")["Ref"]]
            identity = {name: target[name] for name in ("ServiceNamespace", "ResourceId", "ScalableDimension")}
            scaling.put_scaling_policy(**identity, **(properties | {"PolicyName": named(properties["PolicyName"])}))


@on_moto
@pytest.mark.parametrize("wanted", EVERY_DESIRED.values(), ids=EVERY_DESIRED)
def test_setup_finds_nothing_to_do_after_the_stack(stack: Callable[[dict[str, Any]], None], wanted: Desired) -> None:
    body = document(wanted)

    stack(body)
    send_what_moto_leaves_out(body)

    for planned in plans(wanted):
        outcomes = {change.aspect: change.outcome for change in planned.changes}
        indexes = [f"index {index.name}" for index in planned.table.schema.indexes]
        aspects = ["table", "billing", "stream", "ttl", "tags", "pitr", *indexes, "deletion protection"]
        if wanted.billing:
            aspects.append("autoscaling")
        assert {aspect: outcomes.pop(aspect) for aspect in aspects} == dict.fromkeys(aspects, Outcome.UNCHANGED)
        # moto is not AWS, of which alone setup asks for encryption: see the test of its properties.
        assert outcomes == ({"encryption": Outcome.UNSUPPORTED} if wanted.kms_key else {})
        assert planned.is_converged


@on_moto
def test_moto_itself_leaves_out_what_is_sent_here_and_nothing_else(stack: Callable[[dict[str, Any]], None]) -> None:
    stack(document(SCALED))

    assert to_do(SCALED) == [{"ttl", "pitr", "autoscaling"}] * 2


PROPERTIES = {
    "StreamSpecification": ({"stream"}, {"stream"}),
    "TimeToLiveSpecification": ({"ttl"}, {"ttl"}),
    "Tags": ({"tags"}, {"tags"}),
    "PointInTimeRecoverySpecification": ({"pitr"}, {"pitr"}),
    "DeletionProtectionEnabled": ({"deletion protection"}, {"deletion protection"}),
    "GlobalSecondaryIndexes": (
        {f"index {index.name}" for index in schema.SESSIONS.indexes},
        {f"index {index.name}" for index in schema.EVENTS.indexes},
    ),
}


@on_moto
@pytest.mark.parametrize("left_out", PROPERTIES)
def test_each_property_is_what_its_aspect_needs(stack: Callable[[dict[str, Any]], None], left_out: str) -> None:
    body = document(ON_DEMAND)
    for logical in ("SessionsTable", "EventsTable"):
        del body["Resources"][logical]["Properties"][left_out]

    stack(body)
    send_what_moto_leaves_out(body)

    assert to_do(ON_DEMAND) == list(PROPERTIES[left_out])


@on_moto
def test_the_billing_is_what_its_aspect_needs(stack: Callable[[dict[str, Any]], None]) -> None:
    body = document(SCALED)

    stack(body)
    send_what_moto_leaves_out(body)

    assert to_do(ON_DEMAND) == [{"billing", "autoscaling", "deletion protection"}] * 2
    other = Desired("staging", Billing("PROVISIONED", 5, 6, CapacityRange(4, 51)), recovery=True)
    assert to_do(other) == [{"autoscaling"}] * 2


@pytest.mark.parametrize(
    ("key", "properties"),
    [
        (None, None),
        ("default", {"SSEEnabled": False}),
        ("aws/dynamodb", {"SSEEnabled": True, "SSEType": "KMS"}),
        ("alias/mine", {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": "alias/mine"}),
    ],
)
def test_encryption_is_what_setup_would_ask_for(key: str | None, properties: dict[str, Any] | None) -> None:
    output = StringIO()
    call_command("dynamodb_template", *(["--kms-key", key] if key else []), stdout=output)

    for logical in ("SessionsTable", "EventsTable"):
        table = json.loads(output.getvalue())["Resources"][logical]
        assert table["Properties"].get("SSESpecification") == properties
        if properties:
            renamed = {
                name.removeprefix("SSE") if name == "SSEEnabled" else name: properties[name] for name in properties
            }
            assert renamed == encryption.specification(parse_key(str(key)))


def test_the_tables_stay_and_come_one_after_the_other() -> None:
    resources = document(SCALED)["Resources"]

    for logical in ("SessionsTable", "EventsTable"):
        kept = (resources[logical]["DeletionPolicy"], resources[logical]["UpdateReplacePolicy"])
        assert kept == ("RetainExceptOnCreate", "Retain")
    assert resources["EventsTable"]["DependsOn"] == ["SessionsTable"]
    scaled = [each for each in resources.values() if each["Type"] == "AWS::ApplicationAutoScaling::ScalableTarget"]
    # Read and write of two tables and four indexes.
    assert len(scaled) == 12


@on_moto
def test_a_creation_that_failed_can_be_taken_back_and_tried_again(
    stack: Callable[[dict[str, Any]], None], bare_dynamodb: DynamoDBClient
) -> None:
    body = json.loads((ROOT / "deploy" / "cloudformation" / "tables.json").read_text())
    for parameter, table in zip(("SessionsTableName", "EventsTableName"), named_tables(), strict=True):
        body["Parameters"][parameter]["Default"] = table.name

    stack(body)

    described = [bare_dynamodb.describe_table(TableName=table.name)["Table"] for table in named_tables()]
    assert [table["DeletionProtectionEnabled"] for table in described] == [False, False]
    policies = [body["Resources"][name]["DeletionPolicy"] for name in ("SessionsTable", "EventsTable")]
    assert policies == ["RetainExceptOnCreate"] * 2


def test_protection_is_a_parameter_where_it_is_declared() -> None:
    for declared, default in ((True, "true"), (False, "false")):
        body = document(Desired("staging", deletion_protection=declared))
        assert body["Parameters"]["DeletionProtection"]["Default"] == default
    assert document(Desired("staging")).keys() == {
        "AWSTemplateFormatVersion",
        "Description",
        "Parameters",
        "Resources",
        "Outputs",
    }


@pytest.mark.parametrize("wanted", EVERY_DESIRED.values(), ids=EVERY_DESIRED)
def test_the_linter_of_cloudformation_has_no_word_to_say(wanted: Desired) -> None:
    assert lint(json.dumps(document(wanted))) == []


def test_the_linter_would_have_said_it() -> None:
    body = document(ON_DEMAND)
    body["Resources"]["EventsTable"]["Properties"]["StreamSpecification"] = {"StreamEnabled": True}

    assert any("StreamEnabled" in finding for finding in lint(json.dumps(body)))


class TestCommand:
    def test_is_as_the_page_says(self, tmp_path: Path) -> None:
        page = (ROOT / "docs" / "cloudformation.md").read_text()
        command = page.partition("<!-- run by tests/sessions_dynamo/cloudformation/test_tables.py -->\n```bash\n")[2]
        command = command.partition("\n```")[0].replace("python manage.py", f"{sys.executable} {ROOT / 'manage.py'}")
        environment = os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings", "PYTHONPATH": str(ROOT)}

        subprocess.run(command, shell=True, cwd=tmp_path, check=True, env=environment)

        wanted = Desired("production", recovery=True, deletion_protection=True)
        assert json.loads((tmp_path / "tables.json").read_text()) == template(named_tables(), wanted)

    def test_takes_the_options_of_setup(self) -> None:
        options = ("--billing", "provisioned", "--read", "5", "--write", "6", "--autoscale", "4:50", "--pitr")
        output = StringIO()

        call_command("dynamodb_template", *options, "--environment", "staging", stdout=output)

        assert json.loads(output.getvalue()) == document(SCALED)

    def test_takes_what_the_environment_declares(self, settings: Any) -> None:
        settings.ENVIRONMENT, settings.DYNAMODB_BILLING = "staging", "on-demand"
        settings.DYNAMODB_PITR = settings.DYNAMODB_DELETION_PROTECTION = "true"
        output = StringIO()

        call_command("dynamodb_template", stdout=output)

        assert json.loads(output.getvalue()) == document(ON_DEMAND)

    def test_names_the_tables_it_is_given(self) -> None:
        output = StringIO()

        call_command("dynamodb_template", "--sessions-table", "one", "--events-table", "two", stdout=output)

        parameters = json.loads(output.getvalue())["Parameters"]
        assert [parameters[name]["Default"] for name in ("SessionsTableName", "EventsTableName")] == ["one", "two"]

    def test_refuses_replicas_and_says_how_they_are_made(self) -> None:
        with pytest.raises(CommandError, match="dynamodb_setup --regions us-west-2"):
            call_command("dynamodb_template", "--regions", "us-west-2")

    def test_refuses_what_setup_refuses(self) -> None:
        with pytest.raises(CommandError, match="--read, --write and --autoscale need --billing provisioned"):
            call_command("dynamodb_template", "--read", "5")
