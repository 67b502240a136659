"""Application Auto Scaling of a table's provisioned capacity and of its indexes': what it keeps, read and changed.

Every function takes the table's own client: the service is asked in that region, and where it is the table's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from botocore.exceptions import ClientError

from sessions_dynamo.client import aws_client, is_aws
from sessions_dynamo.errors import StorageUnavailable, Unsupported, boto_errors, error_code
from sessions_dynamo.tables.desired import CapacityRange

if TYPE_CHECKING:
    from mypy_boto3_application_autoscaling import ApplicationAutoScalingClient
    from mypy_boto3_application_autoscaling.literals import ScalableDimensionType
    from mypy_boto3_application_autoscaling.type_defs import TargetTrackingScalingPolicyConfigurationTypeDef
    from mypy_boto3_dynamodb import DynamoDBClient

TARGET_TRACKING: Final = "TargetTrackingScaling"
_NONE: Final = "This DynamoDB engine has no Application Auto Scaling."


@dataclass(frozen=True, slots=True)
class Target:
    """The read or write capacity of a table or of an index, as the service names it."""

    resource: str
    dimension: ScalableDimensionType


@dataclass(frozen=True, slots=True)
class Policy:
    """A target tracking policy."""

    name: str
    configuration: TargetTrackingScalingPolicyConfigurationTypeDef

    @property
    def metric(self) -> str | None:
        """The predefined metric that it tracks; ``None`` for another."""
        return self.configuration.get("PredefinedMetricSpecification", {}).get("PredefinedMetricType")


def target(table: str, units: str, index: str | None = None) -> Target:
    """The target of ``ReadCapacityUnits`` or ``WriteCapacityUnits`` of a table, or of an index of it."""
    resource = f"table/{table}/index/{index}" if index else f"table/{table}"
    return Target(resource, cast("ScalableDimensionType", f"dynamodb:{'index' if index else 'table'}:{units}"))


def registered(table: str, indexes: Iterable[str], dynamodb: DynamoDBClient) -> dict[Target, CapacityRange]:
    """The registered targets of a table, there or gone, and its indexes. Raises ``Unsupported``, ``AccessDenied``."""
    resources = [f"table/{table}", *(f"table/{table}/index/{index}" for index in indexes)]
    with _service(dynamodb) as service:
        pages = service.get_paginator("describe_scalable_targets").paginate(
            ServiceNamespace="dynamodb", ResourceIds=resources
        )
        return {
            Target(found["ResourceId"], found["ScalableDimension"]): CapacityRange(
                found["MinCapacity"], found["MaxCapacity"]
            )
            for page in pages
            for found in page["ScalableTargets"]
        }


def policies(of: Target, dynamodb: DynamoDBClient) -> list[Policy]:
    """The target tracking policies of a target. Raises as ``registered`` does."""
    with _service(dynamodb) as service:
        pages = service.get_paginator("describe_scaling_policies").paginate(
            ServiceNamespace="dynamodb", ResourceId=of.resource, ScalableDimension=of.dimension
        )
        return [
            Policy(found["PolicyName"], cast("TargetTrackingScalingPolicyConfigurationTypeDef", configuration))
            for page in pages
            for found in page["ScalingPolicies"]
            # moto gives those of resources whose names this one begins with, too.
            if found["ResourceId"] == of.resource
            and (configuration := found.get("TargetTrackingScalingPolicyConfiguration"))
        ]


def register(of: Target, limits: CapacityRange, dynamodb: DynamoDBClient) -> None:
    """Register a target, or move its limits. AWS moves a capacity outside of them at once."""
    with _service(dynamodb) as service:
        service.register_scalable_target(**_named(of), MinCapacity=limits.minimum, MaxCapacity=limits.maximum)


def put_policy(of: Target, policy: Policy, dynamodb: DynamoDBClient) -> None:
    """Make a target's policy, or change the one of this name."""
    with _service(dynamodb) as service:
        service.put_scaling_policy(
            **_named(of),
            PolicyName=policy.name,
            PolicyType=TARGET_TRACKING,
            TargetTrackingScalingPolicyConfiguration=policy.configuration,
        )


def deregister(of: Target, dynamodb: DynamoDBClient) -> None:
    """Remove a target; AWS removes its policies and their alarms with it. One that is gone already is no failure."""
    try:
        with _service(dynamodb) as service:
            service.deregister_scalable_target(**_named(of))
    except StorageUnavailable as exc:
        if _code(exc) != "ObjectNotFoundException":
            raise


def _named(of: Target) -> dict[str, Any]:
    return {"ServiceNamespace": "dynamodb", "ResourceId": of.resource, "ScalableDimension": of.dimension}


@contextmanager
def _service(dynamodb: DynamoDBClient) -> Iterator[ApplicationAutoScalingClient]:
    # Who asks DynamoDB once only, as pages do, waits for no second try here either.
    retries: Mapping[str, Any] = getattr(dynamodb.meta.config, "retries", None) or {}
    once = retries.get("total_max_attempts") == 1
    name, region = "application-autoscaling", dynamodb.meta.region_name
    client = aws_client(name, region, quick=True) if once else aws_client(name, region)
    if is_aws(client) != is_aws(dynamodb):
        # AWS_ENDPOINT_URL_DYNAMODB alone points at an emulator: AWS's own service scales another table of the name.
        raise Unsupported(_NONE)
    try:
        with boto_errors("Application Auto Scaling"):
            yield client
    except StorageUnavailable as exc:
        # DynamoDB Local's word for a service that it is not.
        if _code(exc) == "InvalidAction":
            raise Unsupported(_NONE) from exc
        raise


def _code(exc: StorageUnavailable) -> str:
    return error_code(exc.__cause__) if isinstance(exc.__cause__, ClientError) else ""
