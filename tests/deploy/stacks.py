"""Stacks of ``deploy/ecs`` on moto's CloudFormation, which makes most of what they declare."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final
from unittest import mock

import boto3

ROOT: Final = Path(__file__).resolve().parents[2]
ECS: Final = ROOT / "deploy" / "ecs"
TEMPLATE: Final = ECS / "template.yaml"
REGION: Final = "eu-west-1"
IMAGE: Final = "111122223333.dkr.ecr.eu-west-1.amazonaws.com/mcp-sessions:1"

LEFT_OUT: Final = {
    "AWS::ApplicationAutoScaling::ScalableTarget",
    "AWS::ApplicationAutoScaling::ScalingPolicy",
    "AWS::CloudTrail::Trail",
    "AWS::CloudWatch::Alarm",
    "AWS::CloudWatch::Dashboard",
    "AWS::S3::BucketPolicy",
    "AWS::Scheduler::Schedule",
    "AWS::SecretsManager::Secret",
}
"""What moto's CloudFormation has no form of, or does not list; cfn-lint alone has seen these."""


@cache
def load_cloudformation() -> None:
    """Import moto's CloudFormation, without the validator of OpenAPI that API Gateway wants and no stack needs."""
    names = [f"openapi_spec_validator{rest}" for rest in ("", ".validation", ".validation.exceptions")]
    absent = {name: mock.MagicMock() for name in names if name not in sys.modules and not find_spec(names[0])}
    sys.modules.update(absent)
    importlib.import_module("moto.cloudformation")
    for name in absent:
        del sys.modules[name]


@dataclass(frozen=True, slots=True)
class Account:
    """An account on moto, by the URL of its server."""

    url: str

    def client(self, service: str) -> Any:
        """A client of a service there."""
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )

    def network(self) -> dict[str, str]:
        """The parameters that name the account's own network."""
        ec2 = self.client("ec2")
        subnets = ",".join(subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"])
        return {
            "VpcId": ec2.describe_vpcs()["Vpcs"][0]["VpcId"],
            "LoadBalancerSubnets": subnets,
            "TaskSubnets": subnets,
            "DatabaseSubnets": subnets,
        }


@dataclass(frozen=True, slots=True)
class Stack:
    """A stack that was made."""

    account: Account
    outputs: Mapping[str, str]
    resources: Mapping[str, tuple[str, str]] = field(repr=False)
    """Type and physical id, by logical id."""

    def physical(self, logical: str) -> str:
        return self.resources[logical][1]

    def container(self, task: str) -> dict[str, Any]:
        """The one container of a task definition, as ECS has it."""
        described = self.account.client("ecs").describe_task_definition(taskDefinition=self.physical(task))
        (container,) = described["taskDefinition"]["containerDefinitions"]
        return dict(container)


@contextmanager
def stack(account: Account, name: str, **parameters: str) -> Iterator[Stack]:
    """A stack of ``deploy/ecs/template.yaml``; it and its tables are gone afterwards."""
    load_cloudformation()
    cloudformation = account.client("cloudformation")
    given = {"ImageUri": IMAGE, **account.network(), **parameters}
    cloudformation.create_stack(
        StackName=name,
        TemplateBody=TEMPLATE.read_text(),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()],
        Capabilities=["CAPABILITY_IAM"],
    )
    (described,) = cloudformation.describe_stacks(StackName=name)["Stacks"]
    assert described["StackStatus"] == "CREATE_COMPLETE", described
    listed = cloudformation.list_stack_resources(StackName=name)["StackResourceSummaries"]
    made = {
        each["LogicalResourceId"]: (each["ResourceType"], each["PhysicalResourceId"])
        for each in listed
        if each["LogicalResourceId"]
    }
    outputs = {output["OutputKey"]: output["OutputValue"] for output in described["Outputs"] if "OutputValue" in output}
    yield Stack(account, outputs, made)
    dynamodb = account.client("dynamodb")
    for kind, table in made.values():
        if kind == "AWS::DynamoDB::Table":
            dynamodb.update_table(TableName=table, DeletionProtectionEnabled=False)
    # moto knows no RetainExceptOnCreate, and so deletes the tables too.
    cloudformation.delete_stack(StackName=name)
