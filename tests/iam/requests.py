"""A recorded call as the requests that AWS authorizes: an action on a resource, and what it needs beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

ACCOUNT: Final = "111122223333"
DEPLOYED: Final = ("mcp-sessions", "mcp-session-events")

REFERENCE: Final = "https://docs.aws.amazon.com/service-authorization/latest/reference/"
GLOBAL_TABLES: Final = "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/V2gt_IAM.html"
ENCRYPTION: Final = "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/encryption.usagenotes.html"
SCALING: Final = (
    "https://docs.aws.amazon.com/autoscaling/application/userguide/security_iam_id-based-policy-examples.html"
)

UNRESOURCED: Final = frozenset(
    {
        "dynamodb:ListBackups",
        "dynamodb:ListTables",
        "application-autoscaling:DescribeScalableTargets",
        "application-autoscaling:DescribeScalingPolicies",
        "cloudwatch:GetMetricData",
        "cloudwatch:PutMetricData",
    }
)
"""Actions that AWS authorizes on ``*`` alone. Source: ``REFERENCE``, the column of resource types."""

FREE: Final = frozenset({"sts:GetCallerIdentity"})
"""What AWS asks no permission for: https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html"""


@dataclass(frozen=True, slots=True)
class Request:
    """What AWS authorizes. ``needed_by`` is the called action, where this one is only checked beside it."""

    action: str
    resource: str
    context: Mapping[str, str] = field(default_factory=dict, hash=False)
    needed_by: str = ""


@dataclass(frozen=True, slots=True)
class Dependent:
    """Actions that AWS checks beside a called one, and where AWS says so."""

    actions: tuple[str, ...]
    source: str


_ITEMS: Final = ("BatchWriteItem", "DeleteItem", "GetItem", "PutItem", "Query", "Scan", "UpdateItem")
_ALL_ITEMS: Final = tuple(f"dynamodb:{name}" for name in _ITEMS)

TAGS: Final = Dependent(("dynamodb:TagResource",), f"{REFERENCE}list_amazondynamodb.html")
"""A table that is created with tags."""
RESTORE: Final = Dependent(_ALL_ITEMS, f"{REFERENCE}list_amazondynamodb.html")
"""On the restored table."""
CREATE_REPLICA: Final = Dependent(("dynamodb:CreateTable", "dynamodb:CreateTableReplica", *_ALL_ITEMS), GLOBAL_TABLES)
"""On the table in the replica's region."""
DELETE_REPLICA: Final = Dependent(("dynamodb:DeleteTable", "dynamodb:DeleteTableReplica"), GLOBAL_TABLES)
"""On the table in the replica's region."""
KEY: Final = Dependent(
    tuple(
        f"kms:{name}"
        for name in (
            "CreateGrant",
            "Decrypt",
            "DescribeKey",
            "Encrypt",
            "GenerateDataKey",
            "ReEncryptFrom",
            "ReEncryptTo",
        )
    ),
    ENCRYPTION,
)
"""For a table under a key of the account, through DynamoDB."""
SCALE: Final = Dependent(
    (
        "cloudwatch:DeleteAlarms",
        "cloudwatch:DescribeAlarms",
        "cloudwatch:PutMetricAlarm",
        "dynamodb:DescribeTable",
        "dynamodb:UpdateTable",
    ),
    SCALING,
)
"""For autoscaling by target tracking."""
LINKED_ROLE: Final = Dependent(
    ("iam:CreateServiceLinkedRole",),
    "https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_create-service-linked-role.html",
)
"""The first time in an account, for replicas and for autoscaling."""

DEPENDENTS: Final = (TAGS, RESTORE, CREATE_REPLICA, DELETE_REPLICA, KEY, SCALE, LINKED_ROLE)


def requests(call: Mapping[str, Any]) -> Iterator[Request]:
    """Every request that AWS authorizes for a recorded call."""
    region, named = call["region"], call["named"]
    action = f"{call['service']}:{call['operation']}"
    if action in FREE:
        return
    if action in UNRESOURCED:
        context = {"cloudwatch:namespace": named["Namespace"]} if "Namespace" in named else {}
        yield Request(action, "*", context)
    elif call["service"] == "dynamodb":
        yield from _of_dynamodb(action, region, named)
    elif call["service"] == "application-autoscaling":
        yield from _of_autoscaling(action, region, named)
    elif call["service"] == "kms":
        yield Request(action, f"arn:aws:kms:{region}:{ACCOUNT}:key/00000000-0000-0000-0000-000000000000")
    else:
        raise LookupError(f"tests/iam/requests.py does not say which resource {action} is authorized on")


def _of_dynamodb(action: str, region: str, named: Mapping[str, Any]) -> Iterator[Request]:
    if transaction := named.get("Transaction"):
        # A transaction has no action of its own, but one for each kind of item in it.
        for kind, table in transaction:
            yield Request(f"dynamodb:{kind}Item", _table(region, table))
        return
    resources = list(_resources(region, named))
    if not resources:
        raise LookupError(f"tests/iam/requests.py does not say which resource {action} is authorized on")
    for resource in resources:
        yield Request(action, resource)
    if named.get("Tags") and action == "dynamodb:CreateTable":
        yield from _beside(action, TAGS, resources[0])
    if named.get("Key"):
        yield from _with_key(action, region)
    if target := named.get("TargetTableName"):
        yield from _beside(action, RESTORE, _table(region, target))
    for kind, where, *_ in named.get("Replicas", ()):
        there = _table(where, named["TableName"])
        if kind == "Create":
            yield from _beside(action, CREATE_REPLICA, there)
            yield from _linked_role(action, "replication.dynamodb.amazonaws.com")
        elif kind == "Delete":
            yield from _beside(action, DELETE_REPLICA, there)


def _resources(region: str, named: Mapping[str, Any]) -> Iterator[str]:
    if "IndexName" in named:
        yield f"{_table(region, named['TableName'])}/index/{named['IndexName']}"
        return
    for name in ("TableName", "SourceTableName", "TargetTableName"):
        if name in named:
            yield _table(region, named[name])
    for table in named.get("Tables", ()):
        yield _table(region, table)
    for name in ("ResourceArn", "BackupArn"):
        if name in named:
            table, slash, rest = named[name].partition(":table/")[2].partition("/")
            yield _table(region, table) + slash + rest


def _of_autoscaling(action: str, region: str, named: Mapping[str, Any]) -> Iterator[Request]:
    context = {"application-autoscaling:service-namespace": named["ServiceNamespace"]}
    target = f"arn:aws:application-autoscaling:{region}:{ACCOUNT}:scalable-target/0000"
    yield Request(action, target, context)
    table, *index = named["ResourceId"].removeprefix("table/").split("/index/")
    resource = "table/" + "/index/".join([_deployed(table), *index])
    for needed in SCALE.actions:
        if needed.startswith("cloudwatch:"):
            alarm = f"arn:aws:cloudwatch:{region}:{ACCOUNT}:alarm:TargetTracking-{resource}-AlarmHigh-0000"
            yield Request(needed, alarm, needed_by=action)
        else:
            yield Request(needed, _table(region, table), needed_by=action)
    if action.endswith(":RegisterScalableTarget"):
        yield from _linked_role(action, "dynamodb.application-autoscaling.amazonaws.com")


def _beside(action: str, dependent: Dependent, resource: str) -> Iterator[Request]:
    for needed in dependent.actions:
        yield Request(needed, resource, needed_by=action)


def _with_key(action: str, region: str) -> Iterator[Request]:
    key = f"arn:aws:kms:{region}:{ACCOUNT}:key/00000000-0000-0000-0000-000000000000"
    for needed in KEY.actions:
        yield Request(needed, key, {"kms:ViaService": f"dynamodb.{region}.amazonaws.com"}, action)


def _linked_role(action: str, service: str) -> Iterator[Request]:
    role = f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/{service}/AWSServiceRole"
    for needed in LINKED_ROLE.actions:
        yield Request(needed, role, {"iam:AWSServiceName": service}, action)


def _table(region: str, name: str) -> str:
    return f"arn:aws:dynamodb:{region}:{ACCOUNT}:table/{_deployed(name)}"


def _deployed(name: str) -> str:
    """A name that somebody chose, in a command or a form, stands for one of the policy's: there it has to be added."""
    return name if name.startswith(DEPLOYED) else DEPLOYED[0]
